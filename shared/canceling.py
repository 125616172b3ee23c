"""Canceling a job for its owner, wherever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.job import CancelRequested, Job, Millis, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.job_store import JobStore
    from shared.starting import Starter


class Canceler:
    """Cancels at once what was never claimed, and through Replicate what was."""

    def __init__(self, *, jobs: JobStore, starter: Starter, now: Callable[[], Millis]) -> None:
        """Work with what ends jobs without a prediction."""
        self._jobs = jobs
        self._starter = starter
        self._now = now

    def cancel(self, job: Job) -> Job:
        """Cancel as far as that is possible, and give the job as it is then.

        A job that has ended, or whose result is being stored, stays as it is: what is paid for is kept.
        """
        if job.status is Status.QUEUED:
            job = self._starter.abandon(job, Status.CANCELED, None)
        if job.ended or job.status is Status.STORING:
            return job
        now = self._now()
        requested = self._jobs.record(job.id, CancelRequested(at=now, due_at=now))
        current = requested if isinstance(requested, Job) else requested.job or job
        if current.status is Status.QUEUED:
            # It went back to the queue in between; nothing can claim it any more.
            return self._starter.abandon(current, Status.CANCELED, None)
        if current.prediction_id is not None and not current.ended and current.status is not Status.STORING:
            self._starter.cancel(current.id, current.prediction_id, current.kind)
        return current


def cancel_warnings(job: Job) -> tuple[str, ...]:
    """Warn whoever has canceled a job that other requests were given too."""
    is_canceled = job.status is Status.CANCELED or (not job.ended and job.cancel_requested_at is not None)
    if not job.joined or not is_canceled:
        return ()
    return (f"This job is shared by {job.joined + 1} requests; it is canceled for all of them.",)
