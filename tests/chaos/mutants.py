"""Broken copies of parts: each breaks a promise in the way that its promise is usually broken, and must be caught."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, override
from unittest.mock import patch

from shared import archiving, dispatching, job_store, ledger, replicate_api
from shared.accounts import account_pk
from shared.dynamo import Expression
from shared.errors import UpstreamUnclear
from shared.job import Archived, Event, Ignored, Job, Reason, Settled, Settling, Status, apply
from shared.manifest import manifest_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shared.archive_queue import ArchiveOrder
    from shared.dispatch_queue import DispatchOrder
    from shared.job import Outcome
    from shared.prediction import Prediction


class RepeatsUnclear(replicate_api.ReplicateApi):
    """Sends a create again that was not answered."""

    @override
    def create(self, order: replicate_api.Creation) -> Prediction:
        try:
            return super().create(order)
        except UpstreamUnclear:
            return super().create(order)


class SavesUnconditionally(job_store.JobStore):
    """Reads, decides, and writes what it decided, whatever has happened since."""

    @override
    def record(self, job_id: str, event: Event) -> Job | Ignored:
        found = self.get(job_id)
        outcome = apply(found, event) if found else Ignored(Reason.MISSING)
        if isinstance(outcome, Job):
            self._dynamo.client.put_item(TableName=self.table, Item=job_store.encode(outcome))
        return outcome


class WritesManifestEarly(archiving.Archiver):
    """Writes the manifest as soon as the outcome is known, before it is saved."""

    @override
    def _store(self, job: Job, order: ArchiveOrder) -> Outcome:
        outcome = super()._store(job, order)
        ended = apply(job, Settled(outcome=outcome, due_at=self._now(), lease=job.lease or ""))
        if isinstance(ended, Job):
            self._files.put_manifest(ended, manifest_of(ended))
        return outcome


class LeavesTheIndexEarly(archiving.Archiver):
    """Takes the job out of the due index before its manifest is written."""

    @override
    def _finish(self, job: Job) -> None:
        self._jobs.record(job.id, Archived(at=self._now()))
        self._files.put_manifest(job, manifest_of(job))


class ReleasesWithoutHold(ledger.Ledger):
    """Gives place and money back in a write of its own, which nothing keeps from being repeated."""

    @override
    def settle(self, job: Job, event: Settling) -> Job | Ignored:
        assert job.hold is not None
        account = Expression()
        account.add("inflight", -1)
        account.add(ledger.committed(job.hold.day), event.outcome.cost - job.hold.amount)
        self._dynamo.update(self._accounts, account_pk(job.tenant), account)
        return job_store.JobStore(self._dynamo, self._jobs).record(job.id, event)


class DispatchesWithoutClaim(dispatching.Dispatcher):
    """Posts what it finds in the queue."""

    @override
    def dispatch(self, order: DispatchOrder) -> None:
        job = self._jobs.get(order.job_id)
        if job is not None and job.status is Status.QUEUED:
            self._starter.start(replace(job, attempt=order.attempt + 1, claimed_at=self._now()))


@dataclass(frozen=True)
class Mutant:
    """A class of a module, what stands in its place, and where that shows: in which calls of which scenario."""

    module: Any
    name: str
    broken: type
    scenario: str
    function: str

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Let processes that start in the meantime be broken."""
        with patch.object(self.module, self.name, self.broken):
            yield


MUTANTS: Mapping[str, Mutant] = {
    mutant.broken.__name__: mutant
    for mutant in (
        Mutant(replicate_api, "ReplicateApi", RepeatsUnclear, "success", "submit"),
        Mutant(job_store, "JobStore", SavesUnconditionally, "success", "webhook"),
        Mutant(archiving, "Archiver", WritesManifestEarly, "success", "archive"),
        Mutant(archiving, "Archiver", LeavesTheIndexEarly, "success", "archive"),
        Mutant(ledger, "Ledger", ReleasesWithoutHold, "success", "archive"),
        Mutant(dispatching, "Dispatcher", DispatchesWithoutClaim, "queued", "dispatch"),
    )
}
