"""Admission and settlement: the two transactions that keep a tenant's limits, and its money, exact.

A job takes its place, its share of the minute and its money in the transaction that creates it, and gives them
back in the one that ends it. Both happen once, whatever is repeated: the first because the job must not exist, the
second because it needs the job's `hold` and removes it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.accounts import CLOSED_AT, COMMITTED, account_pk
from shared.dynamo import Expression, TransactionFailed, plain, put_action, typed, update_action
from shared.errors import Code, Contended, InvalidField, Refusal
from shared.job import Ignored, Job, JobId, Millis, Reason, apply
from shared.job_store import compile_event, decode, encode, job_pk
from shared.logs import log_measured, log_unexpected
from shared.metrics import Metric
from shared.pricing import percent, usd
from shared.trained_models import claim, registration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from shared.accounts import Limits
    from shared.dynamo import Dynamo, Item
    from shared.job import Settling, TenantId

WINDOW_MS = 60_000
_SPENDING = "spending#"
_UNFIT = frozenset({"ValidationException", "TransactionCanceledException"})
TRIES = 4  # between the two forms of the admission, should the minute end in the middle
IN_FLIGHT_RETRY_S = 5.0
POINTER_VALID_MS = 24 * 3600 * 1000
POINTER_KEPT_MS = 7 * POINTER_VALID_MS  # TTL; what counts is `valid_until`, and a job may outlast a day


@dataclass(frozen=True, kw_only=True)
class Pointer:
    """Leads a repeated request to the job of the first: by its idempotency key, or by its fingerprint.

    It counts until `valid_until`, and is kept until `kept_until` (None: for good). `instead_of` names the job of a
    pointer that this one may replace.
    """

    pk: str
    fingerprint: str
    valid_until: Millis
    kept_until: Millis | None
    instead_of: str = ""


@dataclass(frozen=True)
class Met:
    """The request has been made before: this job answers it, if `fingerprint` is that of the same request."""

    pk: str  # of the pointer
    job_id: JobId
    fingerprint: str
    valid_until: Millis


@dataclass(frozen=True)
class Spent:
    """A tenant's day, in micro-USD: `committed` is reserved or spent, `by_model` spent. `in_flight` counts jobs."""

    committed: int
    by_model: Mapping[str, int]
    in_flight: int


def idempotency_pointer(tenant: TenantId, key_digest: str, fingerprint: str, now: Millis) -> Pointer:
    """Give the pointer of an `Idempotency-Key`."""
    return Pointer(
        pk=f"pointer#{tenant}#key#{key_digest}",
        fingerprint=fingerprint,
        valid_until=Millis(now + POINTER_VALID_MS),
        kept_until=Millis(now + POINTER_KEPT_MS),
    )


def reuse_pointer(tenant: TenantId, fingerprint: str, valid_until: Millis | None) -> Pointer:
    """Give the pointer of a request that may be answered by the job of an equal one; None: for ever."""
    return Pointer(
        pk=f"pointer#{tenant}#reuse#{fingerprint}",
        fingerprint=fingerprint,
        valid_until=Millis(2**53) if valid_until is None else valid_until,
        kept_until=valid_until,
    )


def day_of(at: Millis) -> str:
    """Give the UTC day (YYYYMMDD) whose budget a time belongs to."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y%m%d")


def spending_pk(tenant: str, day: str) -> str:
    """Give the primary key of the item that says what was spent on a day, for each model in micro-USD."""
    return f"{_SPENDING}{tenant}#{day}"


def committed(day: str) -> str:
    """Name the attribute that holds a day's reserved and spent money, as one number in micro-USD."""
    return f"{COMMITTED}{day}"


class Ledger:
    """Admits and settles jobs."""

    def __init__(self, dynamo: Dynamo, *, jobs: str, accounts: str, now: Callable[[], Millis]) -> None:
        """Work on the two tables."""
        self._dynamo = dynamo
        self._jobs = jobs
        self._accounts = accounts
        self._now = now
        self._window_starts: dict[str, int] = {}  # as last seen: a guess at which form will pass

    def admit(self, job: Job, limits: Limits, *pointers: Pointer, counts: bool = True) -> Met | None:
        """Create the job, within the tenant's limits; None says that it was done.

        With pointers, a request that was made before gives what it met instead, and consumes nothing; the first one
        that met something speaks. A job that does not count (`counts`) is one of a request that has been counted.

        Raises:
            Refusal: `rate_limited`, `too_many_in_flight` or `budget_exceeded`; nothing was consumed.
        """
        if job.hold is None:
            raise ValueError("a job is admitted with its hold")
        create = Expression()
        create.when(create.is_absent("pk"))
        rest = [put_action(self._jobs, encode(job), create)]
        rest += [self._point(pointer, job.id) for pointer in pointers]
        if (claimed := claim(self._accounts, job)) is not None:
            rest.append(claimed)
        for _ in range(TRIES):
            now = self._now()
            is_open = self._window_starts.get(job.tenant, 0) > now - WINDOW_MS
            take = self._take(job, limits, now, is_open=is_open, counts=counts)
            try:
                self._dynamo.transact([update_action(self._accounts, account_pk(job.tenant), take), *rest])
            except TransactionFailed as failed:
                # If the job exists, an earlier try took effect: only this call knows its id.
                if failed.met[1] is None:
                    if (met := self._why_not(failed, job, limits, now, is_open=is_open, counts=counts)) is not None:
                        return met
                    continue
            except (Contended, BotoCoreError, ClientError) as error:
                self._require_admitted(job, error)
            if counts and not is_open:
                self._window_starts[job.tenant] = now
            return None
        raise _busy()

    def point(self, pointer: Pointer, job_id: str) -> Met | None:
        """Let a pointer lead to a job that exists; None says that it does, else another request was faster."""
        try:
            self._dynamo.transact([self._point(pointer, job_id)])
        except TransactionFailed as failed:
            (item,) = failed.met
            return _met(item) if item else None
        return None

    def find(self, pointer_pk: str) -> Met | None:
        """Read where a pointer leads."""
        item = self._dynamo.get(self._jobs, pointer_pk)
        return _met(item) if item else None

    def _require_admitted(self, job: Job, error: Exception) -> None:
        """Go on only if the admission took effect, and merely its answer was lost."""
        if self._dynamo.get(self._jobs, job_pk(job.id)) is None:
            raise _busy() if isinstance(error, Contended) else error

    def settle(self, job: Job, event: Settling) -> Job | Ignored:
        """End the job, give back its place, and correct its money to what it really cost.

        Gives the finished job, or why it was not this call that ended it.
        """
        if job.hold is None:
            return Ignored(Reason.ENDED, job)
        account = Expression()
        account.when(account.is_present("pk"))
        account.add("inflight", -1)
        account.add(committed(job.hold.day), event.outcome.cost - job.hold.amount)
        actions = [
            update_action(self._jobs, job_pk(job.id), compile_event(event)),
            update_action(self._accounts, account_pk(job.tenant), account),
        ]
        if event.outcome.cost:
            actions.append(self._spend(job, event.outcome.cost))
        trained = registration(self._accounts, job, event.outcome)
        try:
            return self._settle(job, event, [*actions, trained] if trained else actions)
        except ClientError as error:
            if trained is None or error.response["Error"]["Code"] not in _UNFIT:
                raise
            # A tenant with more models than an item holds: the training has ended all the same.
            log_unexpected("model_not_registered", error)
            return self._settle(job, event, actions)

    def _settle(self, job: Job, event: Settling, actions: Sequence[Mapping[str, Any]]) -> Job | Ignored:
        try:
            self._dynamo.transact(actions)
        except TransactionFailed as failed:
            met, missing, *_ = failed.met
            if met:
                found = decode(met)
                outcome = apply(found, event)
                return outcome if isinstance(outcome, Ignored) else Ignored(Reason.BUSY, found)
            if missing is None:
                return Ignored(Reason.MISSING)
            raise  # a tenant's account is removed only after its jobs
        return apply(job, event)

    def spent(self, tenant: TenantId, day: str) -> Spent:
        """Read what a tenant has committed and spent on a UTC day (YYYYMMDD)."""
        items = self._dynamo.get_many(self._accounts, [account_pk(tenant), spending_pk(tenant, day)])
        account, spending = items.get(account_pk(tenant), {}), items.get(spending_pk(tenant, day), {})
        by_model = {name: int(plain(value)) for name, value in spending.items() if name != "pk"}
        amount = account.get(committed(day))
        return Spent(
            committed=int(plain(amount)) if amount else 0,
            by_model=by_model,
            in_flight=int(plain(account["inflight"])) if account else 0,
        )

    def books(self, *, since: str) -> Iterator[tuple[str, str, Mapping[str, int]]]:
        """Give what every tenant spent on each UTC day from `since` (YYYYMMDD) on: tenant, day, micro-USD by model.

        Tenants that are no more are there too.
        """
        entries = Expression()
        entries.when(entries.begins_with("pk", _SPENDING))
        for item in self._dynamo.scan(self._accounts, entries):
            tenant, _, day = str(plain(item["pk"])).removeprefix(_SPENDING).rpartition("#")
            if day >= since:
                yield tenant, day, {name: int(plain(value)) for name, value in item.items() if name != "pk"}

    def _spend(self, job: Job, cost: int) -> dict[str, object]:
        assert job.hold is not None  # noqa: S101 - told to the type checker; `settle` has looked
        spending = Expression()
        spending.add(job.model, cost)
        return update_action(self._accounts, spending_pk(job.tenant, job.hold.day), spending)

    def _why_not(
        self, failed: TransactionFailed, job: Job, limits: Limits, now: Millis, *, is_open: bool, counts: bool
    ) -> Met | None:
        """Read a failed admission: the pointer first, then the account. None: the other form may pass."""
        account, _, *others = failed.met
        for other in others:
            if other and "job_id" in other:
                return _met(other)
        if any(others):
            detail = f"Another tenant trains under {job.destination}."
            raise Refusal(Code.INVALID_INPUT, f"- destination: {detail}", (InvalidField("destination", detail),))
        if not account or CLOSED_AT in account:
            raise Refusal(Code.FORBIDDEN, "The account of this API key no longer exists.") from failed
        self._window_starts[job.tenant] = int(plain(account["win"]))
        if (refusal := _refusal(account, job, limits, now, is_open=is_open, counts=counts)) is not None:
            raise refusal from failed
        return None

    def _point(self, pointer: Pointer, job_id: str) -> dict[str, Any]:
        item = {
            "pk": typed(pointer.pk),
            "job_id": typed(job_id),
            "fingerprint": typed(pointer.fingerprint),
            "valid_until": typed(pointer.valid_until),
        }
        if pointer.kept_until is not None:
            item["expires_at"] = typed(pointer.kept_until // 1000)
        expression = Expression()
        replaced = [expression.compare("job_id", "=", pointer.instead_of)] if pointer.instead_of else []
        expression.when(expression.is_absent("pk"), *replaced)
        return put_action(self._jobs, item, expression)

    def _take(self, job: Job, limits: Limits, now: Millis, *, is_open: bool, counts: bool) -> Expression:
        """Take a place, a request of the minute, and the money, in the form for an open or an ended minute."""
        assert job.hold is not None  # noqa: S101 - told to the type checker; `admit` has looked
        day = committed(job.hold.day)
        take = Expression()
        if not counts:
            take.when(take.is_present("pk"))
        elif is_open:
            take.add("n", 1)
            take.when(take.compare("win", ">", now - WINDOW_MS))
            take.when(take.compare("n", "<", limits.rate_per_minute))
        else:
            take.set("win", now)
            take.set("n", 1)
            take.when(take.compare("win", "<=", now - WINDOW_MS))
        take.when(take.is_absent(CLOSED_AT))
        take.add("inflight", 1)
        take.add(day, job.hold.amount)
        take.when(take.compare("inflight", "<", limits.max_in_flight))
        left = limits.daily_budget - job.hold.amount
        # A day without any spending has nothing to compare with: it lets pass what a whole budget has room for.
        fresh = [take.is_absent(day)] if left >= 0 else []
        take.when(take.compare(day, "<=", left), *fresh)
        return take


def _met(pointer: Item) -> Met:
    return Met(
        pk=str(plain(pointer["pk"])),
        job_id=JobId(str(plain(pointer["job_id"]))),
        fingerprint=str(plain(pointer["fingerprint"])),
        valid_until=Millis(int(plain(pointer["valid_until"]))),
    )


def _refusal(account: Item, job: Job, limits: Limits, now: Millis, *, is_open: bool, counts: bool) -> Refusal | None:
    """Say which limit the account as it was had reached; None if only the wrong form was tried."""
    assert job.hold is not None  # noqa: S101
    figures = {name: int(plain(value)) for name, value in account.items() if "N" in value}
    started = figures["win"]
    was_open = started > now - WINDOW_MS
    if counts and was_open and figures["n"] >= limits.rate_per_minute:
        detail = f"The limit of {limits.rate_per_minute} requests a minute is reached."
        wait = (started + WINDOW_MS - now) / 1000
        return Refusal(
            Code.RATE_LIMITED,
            detail,
            retry_after=wait,
            headers=_limit_headers("requests", limits.rate_per_minute, window_s=60, wait_s=wait),
        )
    if figures["inflight"] >= limits.max_in_flight:
        detail = f"{figures['inflight']} jobs are unfinished, and {limits.max_in_flight} may be. Wait for one to end."
        headers = _limit_headers("in-flight", limits.max_in_flight, window_s=None, wait_s=IN_FLIGHT_RETRY_S)
        return Refusal(Code.TOO_MANY_IN_FLIGHT, detail, retry_after=IN_FLIGHT_RETRY_S, headers=headers)
    spent = figures.get(committed(job.hold.day), 0)
    if spent + job.hold.amount > limits.daily_budget:
        log_measured("over_budget", {Metric.BUDGET_USED: percent(spent, limits.daily_budget)}, tenant=job.tenant)
        return _over_budget(limits, spent=spent, cost=job.hold.amount, now=now)
    return None if counts and was_open != is_open else _busy()


def _limit_headers(name: str, quota: int, *, window_s: int | None, wait_s: float) -> dict[str, str]:
    """Name the limit that bound, in the form of the IETF's draft on rate limit headers."""
    window = f";w={window_s}" if window_s else ""
    return {
        "ratelimit-policy": f'"{name}";q={quota}{window}',
        "ratelimit": f'"{name}";r=0;t={math.ceil(wait_s)}',
    }


def _busy() -> Refusal:
    return Refusal(Code.RATE_LIMITED, "Too many requests of this tenant at the same instant.", retry_after=1)


def _over_budget(limits: Limits, *, spent: int, cost: int, now: Millis) -> Refusal:
    today = datetime.fromtimestamp(now / 1000, UTC)
    midnight = (today + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    detail = (
        f"This request would cost {usd(cost)} USD; of the budget of {usd(limits.daily_budget)} USD a day, "
        f"{usd(spent)} USD are spent or reserved. The budget is renewed at midnight UTC."
    )
    never = cost > limits.daily_budget
    return Refusal(Code.BUDGET_EXCEEDED, detail, retry_after=None if never else (midnight - today).total_seconds())
