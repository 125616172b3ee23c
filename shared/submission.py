"""Submitting: from orders to jobs that have been started or queued, or that met earlier ones."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from shared import schedule
from shared.errors import Code, InvalidField, Refusal
from shared.file_inputs import LONGEST_NAME
from shared.identifiers import canonical, fingerprint, new_job_id
from shared.input_check import check_input
from shared.inputs.fields import LARGEST_SEED
from shared.job import Claimed, Hold, Job, Joined, Kind, Millis, Retried, Status, apply
from shared.job_store import shard_of
from shared.ledger import day_of, idempotency_pointer, reuse_pointer
from shared.logs import get_logger, log_measured, log_unexpected
from shared.metrics import Metric
from shared.pricing import percent
from shared.registry import family_of
from shared.secret_inputs import TooLarge
from shared.starting import latest
from shared.validation import MOST_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shared.accounts import Account
    from shared.file_inputs import FileInputs, TakenInput
    from shared.input_check import ValidInput
    from shared.job import JobId, TenantId
    from shared.job_store import JobStore
    from shared.ledger import Ledger, Met, Pointer
    from shared.ordering import Order
    from shared.secret_inputs import SecretInputs
    from shared.starting import Starter
    from shared.upstream_limit import UpstreamLimit

LARGEST_INPUT = 200_000  # bytes of JSON; an item of DynamoDB holds 400 KB in all
LONGEST_KEY = 255
TRIES = 5  # to meet a job, while others replace the one that was met
LONGEST_ADMISSION_MS = 15_000  # of a batch; the function runs 29 s at most
LATEST_START_MS = 8_000  # after the request came in: a create may take 20 s
INTERRUPTED_RETRY_S = 2.0
LARGEST_NUMBER = 2**63 - 1  # that is kept as a number: an item holds no number of more than 38 digits
DAY_MS = 86_400_000
INDEX_LAGS_S = 1.0  # behind the table, mostly less
RETRIED_MS = 120_000  # clients give up long before
_REFUSED = frozenset({Code.UPSTREAM_REJECTED, Code.MODEL_NOT_FOUND})
_LIMITS = frozenset({Code.RATE_LIMITED, Code.TOO_MANY_IN_FLIGHT})
_OF_ALL = frozenset({Code.RATE_LIMITED, Code.IDEMPOTENCY_KEY_REUSED})  # what refuses a batch as a whole


@dataclass(frozen=True)
class Submitted:
    """The job that answers an order; `is_reused` says that it is another request's."""

    job: Job
    is_reused: bool = False


@dataclass(frozen=True)
class _Draft:
    """A job that has not been admitted yet, and what goes with it."""

    job: Job
    taken: TakenInput
    pointers: Sequence[Pointer]
    reuse_pk: str | None = None


@dataclass
class _Batch:
    """What the parts of a batch share, and how far it is.

    A repeat with the same `key` has the same `id`. `limited` is the limit of the tenant's that was reached; nothing
    more is tried after `until`. No job of the batch is made before it has `begun`, nor is its id.
    """

    caller: Account
    body: str
    key: str | None
    begun: Millis
    until: int
    id: str = ""
    has_begun: bool = False  # something was accepted
    limited: Refusal | None = None
    admitted: list[Job] = field(default_factory=list)
    twins: Counter[str] = field(default_factory=Counter)


class Submission:
    """Turns orders into jobs, at most one for each idempotency key."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        ledger: Ledger,
        limit: UpstreamLimit,
        starter: Starter,
        file_inputs: FileInputs,
        secret_inputs: SecretInputs,
        retention_days: int,
        now: Callable[[], Millis],
        sleep: Callable[[float], None],
    ) -> None:
        """`retention_days` is how long files are kept (0: for good), and so how long a job can be reused.

        `sleep` (seconds) is what waits for the index of a tenant's jobs.
        """
        self._jobs = jobs
        self._ledger = ledger
        self._limit = limit
        self._starter = starter
        self._file_inputs = file_inputs
        self._secret_inputs = secret_inputs
        self._retention_days = retention_days
        self._now = now
        self._sleep = sleep

    def submit(
        self, order: Order, caller: Account, *, body: str, key: str | None, received_at: Millis, retry: int = 0
    ) -> Submitted:
        """Validate, admit and start; or give the job of the same request made before.

        `body` is the fingerprint of the request as the caller wrote it, `key` its idempotency key. Without one, a
        client's own `retry` (counted from 1) is given the job of the request that it repeats, if that was accepted.

        Raises:
            Refusal: the request is refused; nothing was consumed, unless the refusal is Replicate's own.
        """
        parts_of_key = None if key is None else [_checked(key)]
        if retry and key is None and (repeated := self._repeated(caller.tenant, body, retry)) is not None:
            return Submitted(repeated, is_reused=True)
        draft = self._draft(order, caller, body=body, key=parts_of_key, twins=Counter())
        # What may take too long for an answer in time is started by `dispatch`, as is what Replicate has no room for.
        is_late = order.destination is not None or self._now() - received_at > LATEST_START_MS
        wait = 0.0 if is_late else self._limit.take()
        job = self._queued(draft.job, wait) if is_late or wait else self._claimed(draft.job)
        is_admitted = False
        try:
            met = self._admit(replace(draft, job=job), caller)
            is_admitted = met is None
            get_logger().append_keys(job_id=met.job.id if met else job.id)
        finally:
            if job.status is Status.STARTING and not is_admitted:
                self._limit.give_back()
        return met or Submitted(self._start(job, wait))

    def submit_batch(
        self,
        parts: Sequence[Order | Refusal],
        caller: Account,
        *,
        body: str,
        key: str | None,
        received_at: Millis,
    ) -> tuple[str, list[Submitted | Refusal]]:
        """Admit many jobs as one request, to be started by `dispatch`, and say of each what became of it, in order.

        Once one is accepted, whatever goes wrong is told of each of the others. The id is empty if none was valid.

        Raises:
            Refusal: `rate_limited`, or the key belongs to another request: then nothing was consumed.
        """
        key = None if key is None else _checked(key)
        batch = _Batch(caller, body, key, self._now(), received_at + LONGEST_ADMISSION_MS)
        results: list[Submitted | Refusal] = []
        for n, part in enumerate(parts):
            result: Submitted | Refusal
            try:
                result = self._submit_part(batch, n, part)
                batch.has_begun = True
            except Refusal as refusal:
                if refusal.code in _OF_ALL and not batch.has_begun:
                    raise
                if refusal.code in _LIMITS:
                    batch.limited = refusal
                result = refusal
            except Exception as error:
                if not batch.has_begun:
                    raise
                log_unexpected("batch_interrupted", error)
                batch.until = 0
                result = _interrupted()
            results.append(result)
        self._enqueue(batch.admitted)
        get_logger().info("batch_admitted", batch_id=batch.id, parts=len(parts), admitted=len(batch.admitted))
        return batch.id, results

    def _submit_part(self, batch: _Batch, n: int, part: Order | Refusal) -> Submitted:
        if isinstance(part, Refusal):
            raise part
        if self._now() > batch.until:
            raise _interrupted()
        if batch.limited is not None and batch.key is None and not part.reuse:
            raise batch.limited  # there is no earlier job that could be met all the same
        key: list[str | int] | None = None if batch.key is None else [batch.key, n]
        draft = self._draft(part, batch.caller, body=batch.body, key=key, twins=batch.twins)
        batch.id = batch.id or self._batch_id(batch)
        job = self._queued(replace(draft.job, batch_id=batch.id), 0)
        met = self._admit(replace(draft, job=job), batch.caller, counts=not batch.admitted)
        if met is None:
            batch.admitted.append(job)
        return met or Submitted(job)

    def _repeated(self, tenant: TenantId, body: str, retry: int) -> Job | None:
        """Find the job of a request whose answer a client has not seen, and which it now repeats.

        The index that tells may be behind, and the client quick: where it tells nothing, it is asked once more.
        """
        for is_last in (False, True):
            now = self._now()
            for job_id in self._jobs.alike(tenant, body, since=Millis(now - RETRIED_MS), now=now):
                job = self._jobs.record(job_id, Retried(retry))
                if isinstance(job, Job):
                    get_logger().info("retry_met", job_id=job.id, count=retry)
                    return job
            if not is_last:
                self._sleep(INDEX_LAGS_S)
        return None

    def _batch_id(self, batch: _Batch) -> str:
        """Give the id of a batch: the same when the same request comes again with its key."""
        now = batch.begun
        batch_id = new_job_id(now)
        if batch.key is None:
            return batch_id
        pointer = idempotency_pointer(batch.caller.tenant, fingerprint(batch.key), batch.body, now)
        for _ in range(TRIES):
            met = self._ledger.point(pointer, batch_id)
            if met is None:
                return batch_id
            if met.valid_until > now:
                _require_same(met, batch.body)
                return met.job_id
            pointer = replace(pointer, instead_of=met.job_id)
        raise _busy()

    def _draft(
        self, order: Order, caller: Account, *, body: str, key: Sequence[str | int] | None, twins: Counter[str]
    ) -> _Draft:
        """Make the job of an order; `twins` counts the orders of the same request that mean the same."""
        target = order.target
        valid = check_input(
            target.model,
            order.input,
            drop_unknown=order.drop_unknown,
            preset=order.preset,
            trigger_word=order.trigger_word,
        )
        now = self._now()
        job_id = new_job_id(now)
        taken = self._file_inputs.take(valid.fields, file_fields=valid.files, job_id=job_id, tenant=caller.tenant)
        if len(canonical([taken.fields, taken.stored])) > LARGEST_INPUT:
            raise Refusal(Code.PAYLOAD_TOO_LARGE, f"The input has more than {LARGEST_INPUT} bytes.")
        # A seed that nobody else has drawn makes the prediction recognizable in Replicate's list.
        drawn = secrets.randbelow(LARGEST_SEED) if valid.takes_seed and "seed" not in valid.fields else None
        given = dict(taken.fields) if drawn is None else {**taken.fields, "seed": drawn}
        tariff, most_s = target.model.tariff, target.model.deadline_s
        cost = tariff.estimate(valid.effort, images=valid.images, most_seconds=most_s)
        seed = given.get("seed")
        job = Job(
            id=job_id,
            tenant=caller.tenant,
            kind=target.model.kind,
            status=Status.QUEUED,
            model=target.model.name,
            version=target.version,
            deployment=target.deployment,
            destination=order.destination,
            family=family_of(target.model),
            makes=target.model.makes,
            input=given,
            stored_inputs=taken.stored,
            sealed=self._seal(valid, job_id, caller.tenant),
            altered=(*valid.secrets, *taken.altered),
            fingerprint=body,
            warnings=(*order.warnings, *valid.warnings, *_unused_wishes(order)),
            webhook=order.webhook,
            webhook_events=tuple(order.webhook_events),
            created_at=now,
            cancel_after_at=None if order.cancel_after_s is None else schedule.after(now, order.cancel_after_s),
            deadline_s=target.model.deadline_s,
            seed=seed if _is_number(seed) else None,
            drawn_seed=drawn,
            price=target.model.tariff.price,
            estimate=cost,
            hold=Hold(day_of(now), cost),
            due_shard=shard_of(job_id),
        )
        pointers = []
        if key is not None:
            pointers.append(idempotency_pointer(caller.tenant, fingerprint(*key), body, now))
        reuse = self._reuse_pointer(order, job, valid, taken, twins) if order.reuse else None
        pointers += [reuse] if reuse else []
        return _Draft(job, taken, pointers, reuse.pk if reuse else None)

    def _seal(self, valid: ValidInput, job_id: JobId, tenant: TenantId) -> str | None:
        try:
            return self._secret_inputs.seal(valid.secrets, job_id=job_id, tenant=tenant)
        except TooLarge as error:
            names = [f"input.{name[:LONGEST_NAME]}" for name in valid.secrets][:MOST_FIELDS]
            found = tuple(InvalidField(name, "All secrets together are too long for tokens.") for name in names)
            detail = "\n".join(f"- {one.field}: {one.description}" for one in found)
            raise Refusal(Code.INVALID_INPUT, detail, found) from error

    def _reuse_pointer(
        self, order: Order, job: Job, valid: ValidInput, taken: TakenInput, twins: Counter[str]
    ) -> Pointer | None:
        """Give the pointer that equal requests meet at: the same model, version and input, however written.

        Of equal parts of one request, which is to have all of them, the second meets only another's second.
        """
        is_known = order.target.model.input is not None
        # What only its name makes a secret may well decide what is made.
        if job.kind is Kind.TRAINING or (valid.secrets and not is_known):
            return None
        meant = {**valid.canonical, **{name: taken.fields[name] for name in taken.altered}}
        digest = fingerprint(job.model, job.version, job.deployment, is_known, meant)
        twins[digest] += 1
        digest = fingerprint(digest, twins[digest])
        lives_ms = self._retention_days * DAY_MS
        # A day before the files go, so that who is given the job can use them; of a single day half of it.
        valid_until = Millis(job.created_at + max(lives_ms - DAY_MS, lives_ms // 2)) if lives_ms else None
        return reuse_pointer(job.tenant, digest, valid_until)

    def _claimed(self, job: Job) -> Job:
        """Let the job be born with its first claim: one write less, and nobody else can start it."""
        claim = Claimed(1, at=job.created_at, due_at=schedule.after(job.created_at, schedule.CLAIM_S))
        return latest(job, apply(job, claim))

    def _queued(self, job: Job, wait: float) -> Job:
        due_at = schedule.after(job.created_at, wait + schedule.QUEUED_S)
        return replace(job, due_at=schedule.by_deadline(job, due_at, job.created_at))

    def _admit(self, draft: _Draft, caller: Account, *, counts: bool = True) -> Submitted | None:
        """Admit the job, or give the earlier one that one of its pointers leads to."""
        job, pointers = draft.job, {pointer.pk: pointer for pointer in draft.pointers}
        self._file_inputs.keep(draft.taken)
        for _ in range(TRIES):
            met = self._ledger.admit(job, caller.limits, *pointers.values(), counts=counts)
            if met is None:
                values = {Metric.SUBMITTED: 1.0, Metric.BUDGET_USED: _budget_used(job, caller)}
                log_measured("admitted", values, job_id=job.id, status=job.status, model=job.family, runs=job.model)
                return None
            answer = self._meet(met, job, list(pointers.values()), is_reuse=met.pk == draft.reuse_pk)
            if answer is not None:
                return answer
            pointers[met.pk] = replace(pointers[met.pk], instead_of=met.job_id)
        raise _busy()

    def _meet(self, met: Met, job: Job, pointers: Sequence[Pointer], *, is_reuse: bool) -> Submitted | None:
        """Give the earlier job, if it may answer this request; None says that its pointer is to be replaced."""
        earlier = self._jobs.get(met.job_id)
        is_outdated = met.valid_until <= self._now()
        if not is_reuse:
            if is_outdated and (earlier is None or earlier.ended):
                return None
            return Submitted(_same_request(met, earlier, job))
        if is_outdated or earlier is None or self._has_lost_its_files(earlier):
            return None
        joined = self._jobs.record(earlier.id, Joined())
        if not isinstance(joined, Job):
            return None
        for pointer in pointers:
            # The key leads to this job from now on, whatever may be reused by the time that it is sent again.
            if pointer.pk != met.pk and (by_key := self._ledger.point(pointer, joined.id)) is not None:
                return Submitted(_same_request(by_key, self._jobs.get(by_key.job_id), job))
        get_logger().info("reused", job_id=joined.id)
        return Submitted(joined, is_reused=True)

    def _has_lost_its_files(self, job: Job) -> bool:
        """Say whether the files are gone, which they may be sooner than was thought when the job was made."""
        lives_ms = self._retention_days * DAY_MS
        return bool(lives_ms) and job.completed_at is not None and self._now() >= job.completed_at + lives_ms

    def _start(self, job: Job, wait: float) -> Job:
        try:
            if job.status is Status.STARTING:
                return self._starter.start(job)
            self._starter.enqueue(job, delay_s=wait)
        except Exception as error:  # noqa: BLE001
            # The job is written, and in the due index: whatever went wrong, it is found again, and the caller is
            # better served with its id than with an error.
            log_unexpected("start_interrupted", error, job_id=job.id)
        return job

    def _enqueue(self, jobs: Sequence[Job]) -> None:
        try:
            self._starter.enqueue_all(jobs)
        except Exception as error:  # noqa: BLE001 - as in `_start`
            log_unexpected("start_interrupted", error)


def _budget_used(job: Job, caller: Account) -> float:
    """Give the part of a tenant's day that is committed with a job, in percent, as far as this process knows."""
    day = day_of(job.created_at)
    caller.committed[day] = caller.committed.get(day, 0) + job.estimate
    return percent(caller.committed[day], caller.limits.daily_budget)


def _unused_wishes(order: Order) -> Sequence[str]:
    if order.reuse and order.target.model.kind is Kind.TRAINING:
        return ("reuse: a training is never reused",)
    return ()


def refusal_of(job: Job, url: str) -> Refusal | None:
    """Give the refusal with which Replicate's own definite no is passed on, also when the request is repeated."""
    if job.problem is None or job.problem.code not in _REFUSED:
        return None
    fields = job.problem.invalid_fields
    return Refusal(job.problem.code, job.problem.detail, fields, headers={"location": url})


def all_refused(refusals: Sequence[Refusal]) -> Refusal:
    """Give the one refusal of a request none of whose parts was accepted: the first, with the fields of all."""
    first = refusals[0]
    alike = [one for one in refusals if one.code is first.code]
    found = [field for one in alike for field in one.invalid_fields][:MOST_FIELDS]
    if not found:
        return first
    return replace(first, detail="\n".join(f"- {one.field}: {one.description}" for one in found), invalid_fields=found)


def _checked(key: str) -> str:
    if not 0 < len(key) <= LONGEST_KEY:
        raise Refusal(Code.INVALID_INPUT, f"Idempotency-Key has 1 to {LONGEST_KEY} characters.")
    return key


def _require_same(met: Met, body: str) -> None:
    if met.fingerprint != body:
        detail = "This Idempotency-Key was used for a request with another body. Use a new key for a new request."
        raise Refusal(Code.IDEMPOTENCY_KEY_REUSED, detail)


def _same_request(met: Met, earlier: Job | None, job: Job) -> Job:
    _require_same(met, job.fingerprint)
    if earlier is None or earlier.deleted_at is not None:
        raise Refusal(Code.NOT_FOUND, "The job of this Idempotency-Key has been deleted. Use a new key.")
    return earlier


def _is_number(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER


def _interrupted() -> Refusal:
    detail = "There was no time for this part, or something failed here. Send the request again, with its key."
    return Refusal(Code.UPSTREAM_UNAVAILABLE, detail, retry_after=INTERRUPTED_RETRY_S)


def _busy() -> Refusal:
    return Refusal(Code.RATE_LIMITED, "Too many equal requests at the same instant.", retry_after=1)
