"""Removing a tenant: nothing new from then on, then its jobs, as their owner would delete them, then all the rest.

It is done in sweeps. Each does what can be done by then, and says what is left; each may be interrupted anywhere, and
what is to be done is read anew from what is there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from shared.accounts import KEPT_MS
from shared.deleting import delete
from shared.job import Job, JobId, Millis, Status, TenantId

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.archive_queue import ArchiveQueue
    from shared.canceling import Canceler
    from shared.file_store import FileStore
    from shared.job_store import JobStore
    from shared.tenants import Tenants
    from shared.trained_models import TrainedModels
    from shared.uploads import Uploads

QUIET_MS = KEPT_MS + 30_000  # after closing: a key that was just read, and the longest request made with it


class Stage(StrEnum):
    """How far a job is from being gone."""

    UNFINISHED = "unfinished"
    DELETED = "deleted"  # but what it held is still to be removed
    GONE = "gone"


@dataclass(frozen=True)
class Sweep:
    """What a sweep has found: the jobs by their stages, and until when (if at all) something new can still come.

    `models` are the names of what the tenant had trained, once it is gone (`is_done`).
    """

    jobs: Mapping[Stage, int]
    until: Millis | None = None
    is_done: bool = False
    models: Sequence[str] = field(default_factory=list)


class Remover:
    """Removes one tenant."""

    def __init__(
        self,
        tenant: TenantId,
        *,
        tenants: Tenants,
        jobs: JobStore,
        canceler: Canceler,
        archive: ArchiveQueue,
        uploads: Uploads,
        files: FileStore,
        trained: TrainedModels,
        now: Callable[[], Millis],
    ) -> None:
        """Work with everything that holds something of a tenant's."""
        self._tenant = tenant
        self._tenants = tenants
        self._jobs = jobs
        self._canceler = canceler
        self._archive = archive
        self._uploads = uploads
        self._files = files
        self._trained = trained
        self._now = now
        self._gone: set[JobId] = set()

    def sweep(self) -> Sweep:
        """Go through everything once.

        Raises:
            Unknown: there is no such tenant, or no more.
        """
        # First, so that the list of jobs can only become shorter.
        closed_at = self._tenants.close(self._tenant)
        jobs: Counter[Stage] = Counter()
        for job in self._jobs.each(self._tenant):
            jobs[self._further(job)] += 1
        if jobs[Stage.UNFINISHED] or jobs[Stage.DELETED]:
            return Sweep(jobs)
        quiet_from = Millis(closed_at + QUIET_MS)
        if self._now() < quiet_from:
            return Sweep(jobs, until=quiet_from)
        if (open_until := self._uploads.forget(self._tenant)) is not None:
            return Sweep(jobs, until=open_until)
        # What requests left that came to nothing, and uploads.
        self._files.purge_tenant(self._tenant)
        models = self._trained.retire(self._tenant)
        self._tenants.forget(self._tenant)
        return Sweep(jobs, is_done=True, models=models)

    def _further(self, job: Job) -> Stage:
        """Bring a job as close to its end as is possible now."""
        if job.id in self._gone or job.purged_at is not None:
            self._gone.add(job.id)
            return Stage.GONE
        if job.deleted_at is not None:
            return Stage.DELETED
        if job.archived_at is not None:
            delete(self._jobs, self._archive, job, self._now())
            return Stage.DELETED
        if not job.ended and job.status is not Status.STORING and job.cancel_requested_at is None:
            self._canceler.cancel(job)
        return Stage.UNFINISHED
