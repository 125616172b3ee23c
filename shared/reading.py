"""Reading a job for its owner: at once, or held until it has ended, within what the gateway allows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from shared.errors import Code, Refusal
from shared.identifiers import is_job_id
from shared.job import Kind
from shared.outages import is_outage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shared.job import Job, Millis, TenantId
    from shared.job_store import JobStore
    from shared.preferences import Preference

MARGIN_S = 1.0  # for the way back
FIRST_STEP_S = 0.15
LONGEST_STEP_S = 1.0


def find_own(jobs: JobStore, job_id: str, tenant: TenantId, kind: Kind | None = None) -> Job:
    """Read a tenant's own job, of any kind or of one; another tenant's looks as if it did not exist.

    Raises:
        Refusal: `not_found`.
    """
    job = jobs.get(job_id) if is_job_id(job_id) else None
    if job is None or job.tenant != tenant or job.deleted_at is not None or kind not in {None, job.kind}:
        raise Refusal(Code.NOT_FOUND, f"There is no {kind or Kind.PREDICTION} {job_id[:64]!r}.")
    return job


class Waiter:
    """Waits for the end of jobs."""

    def __init__(
        self,
        jobs: JobStore,
        *,
        most_seconds: int,
        now: Callable[[], Millis],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`most_seconds` is the longest that a request may be held."""
        self._jobs = jobs
        self._most = most_seconds
        self._now = now
        self._sleep = sleep

    def wait_for_all(self, jobs: Sequence[Job], preference: Preference, received_at: Millis) -> dict[str, Job]:
        """Give all of these jobs as they are when they have ended, or when the time is over, by their ids."""
        found: dict[str, Job] = {job.id: job for job in jobs}
        until = received_at + (min(preference.seconds, self._most) - MARGIN_S) * 1000
        step = FIRST_STEP_S
        while (unfinished := [job_id for job_id, job in found.items() if not job.ended]) and (
            self._now() + step * 1000 < until
        ):
            self._sleep(step)
            step = min(step * 1.25, LONGEST_STEP_S)
            try:
                found |= {job.id: job for job in self._jobs.get_many(unfinished)}
            except Exception as error:
                if not is_outage(error):
                    raise
        return found

    def wait(self, job: Job, preference: Preference, received_at: Millis) -> Job:
        """Give the job as soon as it has ended, or as it is when the time is over."""
        until = received_at + (min(preference.seconds, self._most) - MARGIN_S) * 1000
        step = FIRST_STEP_S
        while not job.ended and self._now() + step * 1000 < until:
            self._sleep(step)
            step = min(step * 1.25, LONGEST_STEP_S)
            try:
                job = self._jobs.get(job.id) or job
            except Exception as error:
                # The job is there, and so is an answer: a table that is busy is no reason to give none.
                if not is_outage(error):
                    raise
        return job
