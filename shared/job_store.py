"""Jobs in DynamoDB: one conditional write for each event, compiled from the rules in `shared.job`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from shared.dynamo import ConditionFailed, Expression, TransactionFailed, plain, put_action, typed, update_action
from shared.errors import Code, Contended, InvalidField, Problem
from shared.identifiers import ids_between, time_of
from shared.job import (
    AdoptedToCancel,
    Hold,
    Ignored,
    Job,
    JobId,
    Kind,
    Makes,
    Millis,
    Reason,
    Shape,
    Status,
    StoredFile,
    apply,
)
from shared.logs import log_unexpected
from shared.pricing import Price, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from shared.dynamo import Dynamo, Item
    from shared.job import Adopted, Event, TenantId, Test

SHARDS = 8  # of the due index: one partition takes 1,000 writes a second, far above what they need together
PAGES = 20  # of the index, for one listing: a filter that matches little gives a short page
BATCH = 100  # items that DynamoDB reads at once
BATCH_MS = 25 * 3_600_000  # in which the jobs of a batch are made: a repeat with its key may come within a day
RACES = 5  # how often an event that lost a race is tried again before the sender is asked to

_JSON = frozenset(
    {
        "input",
        "stored_inputs",
        "altered",
        "warnings",
        "webhook_events",
        "metrics",
        "problem",
        "text",
        "files",
        "hold",
        "price",
    }
)
_TUPLES = ("altered", "warnings", "webhook_events")
_ENUMS = {"status": Status, "kind": Kind, "makes": Makes, "files_shape": Shape}
_FIELDS = frozenset(spec.name for spec in fields(Job))
_OPERATORS = {"equal": "=", "below": "<"}


@dataclass(frozen=True)
class Listed:
    """One page of a tenant's jobs, newest first; `cursor` is the id to go on after, if there is more."""

    jobs: Sequence[Job]
    cursor: JobId | None


def job_pk(job_id: str) -> str:
    """Give the primary key of a job."""
    return f"job#{job_id}"


def prediction_pk(prediction_id: str) -> str:
    """Give the primary key of the item that says which job owns a prediction."""
    return f"prediction#{prediction_id}"


def shard_name(number: int) -> str:
    """Give the name of a partition of the due index."""
    return f"due#{number}"


def shard_of(job_id: str) -> str:
    """Give the partition of the due index that a job belongs to; the last characters of an id are random."""
    return shard_name(int(job_id[-2:], 36) % SHARDS)


def encode(job: Job) -> dict[str, Mapping[str, Any]]:
    """Give the job as an item; what is empty is left out."""
    item: dict[str, Mapping[str, Any]] = {"pk": typed(job_pk(job.id))}
    for name in _FIELDS:
        value = getattr(job, name)
        if value is not None and value != () and (value or name != "stored_inputs"):
            item[name] = typed(_stored(name, value))
    return item


def decode(item: Item) -> Job:
    """Read a job from its item."""
    known: dict[str, Any] = {
        name: json.loads(attribute["S"]) if name in _JSON else plain(attribute)
        for name, attribute in item.items()
        if name in _FIELDS
    }
    for name, enum in _ENUMS.items():
        if name in known:
            known[name] = enum(known[name])
    for name in _TUPLES:
        known[name] = tuple(known.get(name, ()))
    known["files"] = tuple(StoredFile(**file) for file in known.get("files", ()))
    if "hold" in known:
        known["hold"] = Hold(**known["hold"])
    if "problem" in known:
        known["problem"] = _problem(**known["problem"])
    known["price"] = Price(known["price"]["micro_usd"], Unit(known["price"]["unit"]))
    return Job(**known)


def _problem(code: str, detail: str, invalid_fields: Sequence[Mapping[str, str]]) -> Problem:
    return Problem(Code(code), detail, tuple(InvalidField(**field) for field in invalid_fields))


def _stored(name: str, value: Any) -> str | int:  # noqa: ANN401
    if name not in _JSON:
        return value if isinstance(value, int) else str(value)
    if name == "files":
        value = [asdict(file) for file in value]
    elif name in {"hold", "price", "problem"}:
        value = asdict(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def compile_event(event: Event) -> Expression:
    """Turn an event into the one write that does what `apply` does, under the same conditions."""
    expression = Expression()
    expression.when(expression.is_in("status", sorted(event.legal_from)))
    for requirement in event.requires():
        expression.when(*(_condition(expression, test) for test in requirement.tests))
    if (target := event.target()) is not None:
        expression.set("status", target)
    for name, value in event.changes().items():
        if value is None:
            expression.remove(name)
        else:
            expression.set(name, _stored(name, value))
    if (counted := event.counts()) is not None:
        expression.add(counted, 1)
    return expression


def _condition(expression: Expression, test: Test) -> str:
    match test.operator, test.value:
        case "absent", _:
            return expression.is_absent(test.field)
        case "present", _:
            return expression.is_present(test.field)
        case "equal", str() | int() as value:
            return expression.compare(test.field, "=", value)
        case "below", int() as value:
            return expression.compare(test.field, "<", value)
    raise ValueError(test)


def _times_of(batch: JobId) -> tuple[JobId, JobId]:
    """Give the ids between which those of a batch are."""
    made_at = time_of(batch)
    return ids_between(made_at, Millis(made_at + BATCH_MS))


def _cursor(tenant: str, job_id: str) -> dict[str, Mapping[str, Any]]:
    return {"pk": typed(job_pk(job_id)), "tenant": typed(tenant), "id": typed(job_id)}


class JobStore:
    """Reads jobs and records what happens to them."""

    def __init__(self, dynamo: Dynamo, table: str) -> None:
        """Work on one table."""
        self.table = table
        self._dynamo = dynamo

    def get(self, job_id: str) -> Job | None:
        """Read one job."""
        item = self._dynamo.get(self.table, job_pk(job_id))
        return decode(item) if item else None

    def page(
        self,
        tenant: TenantId,
        *,
        limit: int,
        after: str | None = None,
        among: Mapping[str, Sequence[str]],
        batch: JobId | None = None,
        between: tuple[JobId, JobId] | None = None,
    ) -> Listed:
        """Read a page of a tenant's jobs, newest first.

        `among` narrows by attributes that the index carries (`kind`, `status`, `batch_id`), each with the values it
        may have; `batch` by the time in which the jobs of a batch are made, and `between` by ids. A page can be
        shorter than `limit` and still have a cursor.
        """
        found: list[str] = []
        between = _times_of(batch) if batch else between
        if between and not between[0] <= (after or between[0]) <= between[1]:
            return Listed([], None)  # an empty time, or a page of another list: DynamoDB would refuse both
        start: Any = _cursor(tenant, after) if after else None
        for _ in range(PAGES):
            items, start = self._query(tenant, among, between, limit=limit - len(found), start=start)
            found += [str(plain(item["id"])) for item in items]
            if not start or len(found) == limit:
                break
        jobs = [job for job in self.get_many(found) if job.deleted_at is None]
        return Listed(jobs, JobId(start["id"]["S"]) if start else None)

    def each(
        self,
        tenant: TenantId,
        *,
        between: tuple[JobId, JobId] | None = None,
        among: Mapping[str, Sequence[str]] | None = None,
    ) -> Iterator[Job]:
        """Give all of a tenant's jobs, newest first, deleted ones too; `between` are ids, `among` is as for `page`."""
        start: Any = None
        while True:
            items, start = self._query(tenant, among or {}, between, limit=BATCH, start=start)
            yield from self.get_many([str(plain(item["id"])) for item in items])
            if not start:
                return

    def owners(self, prediction_ids: Sequence[str]) -> dict[str, JobId]:
        """Give the jobs that up to 100 predictions belong to; those that nobody owns are left out."""
        items = self._dynamo.get_many(self.table, [prediction_pk(one) for one in dict.fromkeys(prediction_ids)])
        found = {pk.removeprefix(prediction_pk("")): item for pk, item in items.items()}
        return {prediction_id: JobId(str(plain(item["job_id"]))) for prediction_id, item in found.items()}

    def alike(self, tenant: TenantId, fingerprint: str, *, since: Millis, now: Millis) -> list[JobId]:
        """Give the ids of a tenant's jobs of the same body since a time, newest first; the index may be behind."""
        among = {"fingerprint": [fingerprint]}
        items, _ = self._query(tenant, among, ids_between(since, now), limit=None, start=None)
        return [JobId(str(plain(item["id"]))) for item in items]

    def statuses(self, tenant: TenantId, batch: JobId) -> list[Status]:
        """Give the status of each job of a batch, from the index, which may be behind by a moment."""
        found: list[Status] = []
        start: Any = None
        for _ in range(PAGES):
            items, start = self._query(tenant, {"batch_id": [batch]}, _times_of(batch), limit=None, start=start)
            found += [Status(str(plain(item["status"]))) for item in items]
            if not start:
                break
        return found

    def _query(
        self,
        tenant: TenantId,
        among: Mapping[str, Sequence[str]],
        between: tuple[JobId, JobId] | None,
        *,
        limit: int | None,
        start: Any,  # noqa: ANN401
    ) -> tuple[Sequence[Item], Any]:
        """Query a page of the index by tenant, newest first; also gives where the next one starts."""
        filters = Expression()
        for name, allowed in among.items():
            filters.when(filters.is_in(name, allowed))
        keys = filters.compare("tenant", "=", tenant)
        if between is not None:
            keys += f" AND {filters.is_between('id', *between)}"
        parameters = filters.parameters()
        optional: Any = {
            "FilterExpression": parameters.get("ConditionExpression"),
            "Limit": limit,
            "ExclusiveStartKey": start,
        }
        page = self._dynamo.client.query(
            TableName=self.table,
            IndexName="by_tenant",
            KeyConditionExpression=keys,
            ExpressionAttributeNames=parameters["ExpressionAttributeNames"],
            ExpressionAttributeValues=parameters["ExpressionAttributeValues"],
            ScanIndexForward=False,
            **{name: value for name, value in optional.items() if value},
        )
        return page["Items"], page.get("LastEvaluatedKey")

    def record(self, job_id: str, event: Event) -> Job | Ignored:
        """Save what happened, or say why it changes nothing.

        Nothing is read first: the write carries the event's conditions, and what it met decides.

        Raises:
            Contended: it kept losing races; sending the same event again is safe.
        """
        for _ in range(RACES):
            try:
                return decode(self._dynamo.update(self.table, job_pk(job_id), compile_event(event)))
            except ConditionFailed as failed:
                if failed.item is None:
                    return Ignored(Reason.MISSING)
                outcome = apply(decode(failed.item), event)
                if isinstance(outcome, Ignored):
                    return outcome
        raise Contended(job_id)

    def adopt(self, job_id: str, event: Adopted) -> Ignored | None:
        """Make a prediction the job's own, exclusively on both sides; None says that it was done just now.

        `CANCEL_REQUESTED`: it was done, and whoever asked is to have it canceled with Replicate. `DUPLICATE`: it is
        the job's own already. `STRAY`: the job has another prediction, or the prediction another job.
        """
        met = self._try_to_adopt(job_id, event)
        if met is None or met.reason is not Reason.CANCEL_REQUESTED:
            return met
        again = self._try_to_adopt(job_id, AdoptedToCancel(event.prediction_id, event.due_at))
        return met if again is None else again

    def _try_to_adopt(self, job_id: str, event: Adopted) -> Ignored | None:
        owner = Expression()
        owner.when(owner.is_absent("pk"), owner.compare("job_id", "=", job_id))
        item = {"pk": typed(prediction_pk(event.prediction_id)), "job_id": typed(job_id)}
        actions = [
            update_action(self.table, job_pk(job_id), compile_event(event)),
            put_action(self.table, item, owner),
        ]
        for _ in range(RACES):
            try:
                self._dynamo.transact(actions)
            except TransactionFailed as failed:
                met, owned = failed.met
                if owned is not None:
                    return Ignored(Reason.STRAY)
                if not met:
                    return Ignored(Reason.MISSING)
                outcome = apply(decode(met), event)
                if isinstance(outcome, Ignored):
                    own = outcome.job.prediction_id if outcome.job else None
                    other = own not in {None, event.prediction_id}
                    return Ignored(Reason.STRAY, outcome.job) if other else outcome
            else:
                return None
        raise Contended(job_id)

    def due(self, shard: str, *, now: int, limit: int) -> list[JobId]:
        """Give the ids of jobs of one shard of the due index that were to be looked at by now, oldest first."""
        due = Expression()
        condition = f"{due.compare('due_shard', '=', shard)} AND {due.compare('due_at', '<=', now)}"
        parameters = due.parameters()
        page = self._dynamo.client.query(
            TableName=self.table,
            IndexName="due",
            KeyConditionExpression=condition,
            ExpressionAttributeNames=parameters["ExpressionAttributeNames"],
            ExpressionAttributeValues=parameters["ExpressionAttributeValues"],
            Limit=limit,
        )
        return [JobId(str(plain(item["pk"])).removeprefix("job#")) for item in page["Items"]]

    def get_many(self, job_ids: Sequence[str]) -> list[Job]:
        """Read up to 100 jobs at once; those that do not exist, or cannot be read, are left out."""
        pks = list(dict.fromkeys(job_pk(job_id) for job_id in job_ids))
        items = self._dynamo.get_many(self.table, pks)
        found = []
        for pk in pks:
            if pk in items:
                try:
                    found.append(decode(items[pk]))
                except (KeyError, TypeError, ValueError) as error:
                    # Such as one of a newer release: it must not hide the others.
                    log_unexpected("job_unreadable", error)
        return found
