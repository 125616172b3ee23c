"""Dispatching: starting queued jobs, at the pace that Replicate allows."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from shared import schedule
from shared.job import Claimed, Ignored, Job, Millis, Reason, Status, deadline_problem
from shared.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.dispatch_queue import DispatchOrder, DispatchQueue
    from shared.job_store import JobStore
    from shared.starting import Starter
    from shared.upstream_limit import UpstreamLimit

SPREAD_S = 2.0  # so that what waits for the same moment does not come all at once


class Dispatcher:
    """Carries out orders to start a job."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        queue: DispatchQueue,
        limit: UpstreamLimit,
        starter: Starter,
        now: Callable[[], Millis],
    ) -> None:
        """Work with the limit that all processes share."""
        self._jobs = jobs
        self._queue = queue
        self._limit = limit
        self._starter = starter
        self._now = now

    def dispatch(self, order: DispatchOrder) -> None:
        """Start a job if it is its turn; else send the order again, so that no waiting looks like a failure."""
        if (wait := self._limit.take()) > 0:
            spread = random.SystemRandom().uniform(0, SPREAD_S)
            self._queue.send(order, delay_s=wait + spread)
            return
        now = self._now()
        claim = Claimed(order.attempt + 1, at=now, due_at=schedule.after(now, schedule.CLAIM_S))
        claimed = self._jobs.record(order.job_id, claim)
        if isinstance(claimed, Job):
            self._starter.start(claimed)
            return
        self._limit.give_back()
        self._end_canceled(claimed)

    def _end_canceled(self, ignored: Ignored) -> None:
        job = ignored.job
        get_logger().info("dispatch_ignored", job_id=job.id if job else None, reason=ignored.reason)
        if ignored.reason is Reason.CANCEL_REQUESTED and job is not None and job.status is Status.QUEUED:
            self._starter.abandon(job, Status.CANCELED, deadline_problem(job))
