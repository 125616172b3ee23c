"""What is said of a job's end, wherever it ends: one line, by which outcomes, money and time are counted too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.job import Status
from shared.logs import log_measured
from shared.metrics import Metric
from shared.pricing import MICRO

if TYPE_CHECKING:
    from shared.job import Job, Millis

_OUTCOMES = {Status.SUCCEEDED: Metric.SUCCEEDED, Status.FAILED: Metric.FAILED, Status.CANCELED: Metric.CANCELED}


def log_end(event: str, job: Job, now: Millis) -> None:
    """Log that a job has just ended; what it cost counts as spent, also where nothing came of it."""
    values: dict[Metric, float] = {_OUTCOMES[job.status]: 1}
    if job.cost:
        values[Metric.SPENT] = job.cost / MICRO
    if job.status is Status.SUCCEEDED:
        values |= _stages(job, now)
    log_measured(
        event,
        values,
        job_id=job.id,
        tenant=job.tenant,
        status=job.status,
        code=job.problem.code if job.problem else "none",
        model=job.family,
        runs=job.model,
    )


def _stages(job: Job, now: Millis) -> dict[Metric, float]:
    """Give how many seconds each stage took, of those that are known; two clocks may disagree about a moment."""
    moments = (job.created_at, job.claimed_at, job.started_at, job.completed_at, now)
    stages = (Metric.QUEUED, Metric.STARTING, Metric.RUNNING, Metric.STORING)
    return {
        stage: max(0, end - start) / 1000
        for stage, start, end in zip(stages, moments, moments[1:], strict=False)
        if start is not None and end is not None
    }
