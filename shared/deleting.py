"""Deleting a job for its owner: a tombstone first, and then `archive` removes all that it held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.errors import Code, Refusal
from shared.job import Deleted, Job, Millis, Reason
from shared.job_store import shard_of

if TYPE_CHECKING:
    from shared.archive_queue import ArchiveQueue
    from shared.job_store import JobStore

UNFINISHED_RETRY_S = 5.0


def delete(jobs: JobStore, archive: ArchiveQueue, job: Job, now: Millis) -> None:
    """Delete a finished job for its owner: from now on it is not there, and soon nothing is left of it.

    Raises:
        Refusal: `not_finished`.
    """
    deleted = jobs.record(job.id, Deleted(at=now, due_shard=shard_of(job.id)))
    if isinstance(deleted, Job):
        archive.send_ended(job.id)
    elif deleted.reason is Reason.EARLY:
        detail = "It has not ended, or its result is still being stored. Cancel it first, or come back."
        raise Refusal(Code.NOT_FINISHED, detail, retry_after=UNFINISHED_RETRY_S)
