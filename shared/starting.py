"""Starting a job with Replicate, for whoever owns its claim."""

from __future__ import annotations

from logging import WARNING
from math import ceil
from typing import TYPE_CHECKING, Any

from shared import schedule
from shared.dispatch_queue import order_for
from shared.ending import log_end
from shared.errors import Cause, Code, InvalidField, Problem, UpstreamError, UpstreamNotTaken, UpstreamRefused
from shared.job import (
    Abandoned,
    Adopted,
    Ignored,
    Job,
    Kind,
    Millis,
    Outcome,
    Reason,
    Returned,
    Status,
    Unclear,
    apply,
    deadline_problem,
)
from shared.logs import get_logger, log_measured, log_unexpected
from shared.metrics import Metric
from shared.preferences import SHORTEST_DEADLINE_S
from shared.replicate_api import Creation
from shared.reports import is_foreign
from shared.signatures import sign_callback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.archive_queue import ArchiveQueue
    from shared.dispatch_queue import DispatchQueue
    from shared.job import PredictionId
    from shared.job_store import JobStore
    from shared.ledger import Ledger
    from shared.replicate_api import ReplicateApi
    from shared.upstream_limit import UpstreamLimit

EVENTS = ("start", "logs", "completed")
OUTPUT_EVENT = "output"  # of no use to us, but to a caller who wants to hear of it
NOT_FOUND = 404
UNPROCESSABLE = 422
PAUSES_S = {Cause.NO_CONNECTION: 5.0, Cause.NO_CREDIT: 60.0, Cause.CREDENTIALS: 60.0, Cause.THROTTLED: 10.0}
"""How long nothing is started after Replicate did not take a request, unless it says so itself."""
METRICS = {
    Cause.NO_CREDIT: Metric.NO_CREDIT,
    Cause.CREDENTIALS: Metric.CREDENTIALS_REFUSED,
    Cause.FORBIDDEN: Metric.CREDENTIALS_REFUSED,
}
"""What only the operator can repair, and is alarmed about."""


class Starter:
    """Makes the one POST of a claim, and records what came of it."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        ledger: Ledger,
        archive: ArchiveQueue,
        queue: DispatchQueue,
        limit: UpstreamLimit,
        replicate: ReplicateApi,
        callback_key: str,
        public_url: str,
        has_webhooks: bool,
        poll_s: int,
        most_queued_s: int,
        outgoing: Callable[[Job], Mapping[str, Any]],
        username: str | None,
        now: Callable[[], Millis],
    ) -> None:
        """`outgoing` gives the input as Replicate is sent it; models are made for the account `username`.

        `public_url` is where Replicate reaches us, if it does (`has_webhooks`).

        A job that nothing is heard of is polled after `poll_s`, and one that waits to be started fails after
        `most_queued_s`.
        """
        self._jobs = jobs
        self._ledger = ledger
        self._archive = archive
        self._queue = queue
        self._limit = limit
        self._replicate = replicate
        self._callback_key = callback_key
        self._public_url = public_url
        self._has_webhooks = has_webhooks
        self._poll_s = poll_s
        self._most_queued_s = most_queued_s
        self._outgoing = outgoing
        self._username = username
        self._now = now

    def start(self, job: Job) -> Job:
        """Start attempt `job.attempt`, for the one who has just saved its claim, and give the job as it is then.

        What is no longer to be started is not: its claim is stale, or its time is over.
        """
        if (too_late := self.too_late(job)) is not None:
            return self.abandon(job, *too_late)
        try:
            creation = self._creation(job)
        except (UpstreamRefused, UpstreamNotTaken) as error:
            return self._not_started(job, error)
        except Exception as error:  # noqa: BLE001
            # Nothing has been sent yet, so that whatever went wrong, it may be tried again.
            log_unexpected("start_not_prepared", error, job_id=job.id)
            return self.send_back(job, wait_s=schedule.retry_delay(job.attempt))
        return self._send(job, creation)

    def _send(self, job: Job, creation: Creation) -> Job:
        if job.claimed_at is None or self._now() > schedule.after(job.claimed_at, schedule.CLAIM_FRESH_S):
            # This process was stopped for a while: by now the attempt may count as absent, and be sent again.
            get_logger().warning("claim_stale", job_id=job.id, attempt=job.attempt)
            return job
        try:
            prediction = self._replicate.create(creation)
        except UpstreamRefused as refused:
            secret = [str(creation.input[name]) for name in job.altered if name not in job.input]
            return self._refuse(job, _without(secret, refused))
        except UpstreamError as error:
            return self._not_started(job, error)
        return self._adopt(job, prediction.id)

    def _creation(self, job: Job) -> Creation:
        """Prepare the POST, with everything that it needs."""
        if job.destination is not None:
            self._require_destination(job.destination)
        return Creation(
            model=job.model,
            version=job.version,
            deployment=job.deployment,
            destination=job.destination,
            input=self._outgoing(job),
            webhook=self._callback_url(job) if self._has_webhooks else None,
            events=(*EVENTS, OUTPUT_EVENT) if OUTPUT_EVENT in job.webhook_events else EVENTS,
            cancel_after_s=self._cancel_after(job),
        )

    def _cancel_after(self, job: Job) -> int | None:
        """Say in how many seconds Replicate is to cancel it by itself: sooner than `reconcile` comes by."""
        if job.cancel_after_at is None or job.kind is Kind.TRAINING:
            return None
        return max(SHORTEST_DEADLINE_S, ceil((job.cancel_after_at - self._now()) / 1000))

    def _require_destination(self, name: str) -> None:
        """Make the model that a training is to fill, if it is not there and would be ours."""
        if self._is_there(name):
            return
        if self._username is None:
            raise _bad_destination("Replicate has no such model; make it there, or configure ReplicateUsername.")
        try:
            self._replicate.create_model(name)
        except UpstreamRefused as refused:
            if not self._is_there(name):  # else another training was faster
                raise _bad_destination(refused.detail) from refused

    def _is_there(self, name: str) -> bool:
        try:
            self._replicate.model(name)
        except UpstreamRefused as refused:
            if refused.status != NOT_FOUND:
                raise
            return False
        return True

    def _adopt(self, job: Job, prediction_id: PredictionId) -> Job:
        now = self._now()
        due_at = schedule.by_deadline(job, schedule.after(now, self._poll_s), now)
        adoption = Adopted(prediction_id=prediction_id, due_at=due_at)
        ignored = self._jobs.adopt(job.id, adoption)
        if ignored is None:
            get_logger().info("started", job_id=job.id, prediction_id=prediction_id, attempt=job.attempt)
            return latest(job, apply(job, adoption))
        get_logger().info("start_met", job_id=job.id, prediction_id=prediction_id, reason=ignored.reason)
        foreign = ignored.reason is Reason.STRAY or (ignored.job is not None and is_foreign(ignored.job, prediction_id))
        if foreign or ignored.reason is Reason.CANCEL_REQUESTED:
            self.cancel(job.id, prediction_id, job.kind)
        # A duplicate: its own first webhook was faster.
        return ignored.job or job

    def _not_started(self, job: Job, error: UpstreamError) -> Job:
        match error:
            case UpstreamRefused():
                return self._refuse(job, error)
            case UpstreamNotTaken():
                return self._return(job, error)
        get_logger().warning("create_unclear", job_id=job.id, attempt=job.attempt, reason=str(error))
        now = self._now()
        unclear = Unclear(attempt=job.attempt, at=now, due_at=schedule.after(now, schedule.CLAIM_S))
        return latest(job, self._jobs.record(job.id, unclear))

    def cancel(self, job_id: str, prediction_id: str, kind: Kind) -> None:
        """Cancel a prediction or a training with Replicate, and have its end stored if it has ended by that.

        Where Replicate cannot be reached, `archive` is ordered to do it.
        """
        try:
            document = self._replicate.cancel(prediction_id, kind)
        except UpstreamRefused:
            get_logger().info("cancel_refused", job_id=job_id, prediction_id=prediction_id)
        except UpstreamError:
            self._archive.send_cancel(job_id, prediction_id)
        else:
            self._archive.send_if_completed(job_id, document)

    def too_late(self, job: Job) -> tuple[Status, Problem] | None:
        """Say how a job that has not been started is to end, if its time is over."""
        now = self._now()
        if job.cancel_after_at is not None and now >= job.cancel_after_at:
            return Status.CANCELED, Problem(Code.DEADLINE_EXCEEDED, "It had not been started by its deadline.")
        if now >= schedule.after(job.created_at, self._most_queued_s):
            detail = "Replicate could not be reached, or took nothing, for too long."
            return Status.FAILED, Problem(Code.UPSTREAM_UNAVAILABLE, detail)
        return None

    def send_back(self, job: Job, *, wait_s: float) -> Job:
        """Put a claimed job that Replicate surely has not taken back into the queue, to be tried after so long."""
        now = self._now()
        # Due a while after its message is: then the message was lost.
        due_at = schedule.by_deadline(job, schedule.after(now, wait_s + schedule.QUEUED_S), now)
        returned = self._jobs.record(job.id, Returned(attempt=job.attempt, due_at=due_at))
        if isinstance(returned, Job):
            self.enqueue(returned, delay_s=wait_s)
        elif returned.reason is Reason.CANCEL_REQUESTED and returned.job is not None:
            return self.abandon(returned.job, Status.CANCELED, deadline_problem(returned.job))
        return latest(job, returned)

    def _callback_url(self, job: Job) -> str:
        """Give the URL that Replicate calls for the current attempt of a job."""
        signature = sign_callback(self._callback_key, job.id, job.attempt)
        return f"{self._public_url}{callback_path(job.id)}attempt={job.attempt}&k={signature}"

    def enqueue(self, job: Job, *, delay_s: float) -> None:
        """Have a queued job started by `dispatch`."""
        self._queue.send(order_for(job), delay_s=delay_s)

    def enqueue_all(self, jobs: Sequence[Job]) -> None:
        """Have many queued jobs started by `dispatch`."""
        self._queue.send_all([order_for(job) for job in jobs])

    def abandon(self, job: Job, status: Status, problem: Problem | None, *, spent: bool = False) -> Job:
        """End a job that has no prediction, with a manifest like any other; `spent` keeps its hold as its cost."""
        now = self._now()
        cost = job.hold.amount if spent and job.hold is not None else 0
        outcome = Outcome(status=status, completed_at=now, cost=cost, problem=problem)
        event = Abandoned(attempt=job.attempt, outcome=outcome, due_at=schedule.after(now, schedule.MANIFEST_S))
        settled = self._ledger.settle(job, event)
        if isinstance(settled, Job):
            log_end("abandoned", settled, now)
            self._archive.send_ended(job.id)
        return latest(job, settled)

    def _refuse(self, job: Job, refused: UpstreamRefused) -> Job:
        get_logger().info("create_refused", job_id=job.id, status=refused.status)
        code = Code.MODEL_NOT_FOUND if refused.status == NOT_FOUND else Code.UPSTREAM_REJECTED
        return self.abandon(job, Status.FAILED, Problem(code, refused.detail, tuple(refused.invalid_fields)))

    def _return(self, job: Job, not_taken: UpstreamNotTaken) -> Job:
        cause = not_taken.cause
        measured = {METRICS[cause]: 1.0} if cause in METRICS else {}
        log_measured("create_not_taken", measured, level=WARNING, job_id=job.id, attempt=job.attempt, cause=cause)
        if cause is Cause.FORBIDDEN:
            # It may be this request alone: the others do not wait for it.
            return self.send_back(job, wait_s=schedule.retry_delay(job.attempt))
        wait = PAUSES_S[cause] if not_taken.retry_after is None else not_taken.retry_after
        if cause is Cause.THROTTLED:
            self._limit.throttled(wait)
        else:
            self._limit.pause(wait)
        return self.send_back(job, wait_s=wait)


def _without(secrets: Sequence[str], refused: UpstreamRefused) -> UpstreamRefused:
    """Give a refusal that repeats no secret of the request."""

    def hide(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "[REDACTED]")
        return text

    fields = [InvalidField(one.field, hide(one.description)) for one in refused.invalid_fields]
    return UpstreamRefused(refused.status, hide(refused.detail), fields)


def _bad_destination(detail: str) -> UpstreamRefused:
    return UpstreamRefused(UNPROCESSABLE, f"- destination: {detail}", [InvalidField("destination", detail)])


def callback_path(job_id: str) -> str:
    """Give the beginning of the path and query that Replicate calls for any attempt of a job."""
    return f"/webhooks/replicate/{job_id}?"


def latest(job: Job, outcome: Job | Ignored) -> Job:
    """Give the job after an event, or as the event met it."""
    return outcome if isinstance(outcome, Job) else outcome.job or job
