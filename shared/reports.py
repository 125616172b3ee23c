"""What Replicate says of a prediction, by webhook or when asked, and what that does to its job: the same either way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared import schedule
from shared.job import Adopted, Ignored, Job, Millis, Progressed, Reason, Started, Unrecognized
from shared.logs import get_logger, log_unexpected
from shared.notify_queue import LOGS, OUTPUT, START, Notice
from shared.prediction import Prediction, UpstreamStatus, parse_prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shared.archive_queue import ArchiveQueue
    from shared.job_store import JobStore
    from shared.notify_queue import NotifyQueue

STATUS_KEPT = 40  # characters of a status that we do not know


class Reports:
    """Turns what Replicate says into one call."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        archive: ArchiveQueue,
        poll_s: int,
        now: Callable[[], Millis],
        notify: Callable[[], NotifyQueue] | None = None,
    ) -> None:
        """Order from archive what only it may do; a job is due `poll_s` seconds after it was last heard of.

        With `notify`, which is asked for only where it is needed, callers who want that hear of every step.
        """
        self._jobs = jobs
        self._archive = archive
        self._poll_s = poll_s
        self._now = now
        self._notify = notify

    def take(self, job_id: str, document: Any) -> str:  # noqa: ANN401
        """Act on Replicate's document of a prediction, and say in a word what was done with it.

        Raises:
            ValueError: it is not a prediction.
        """
        prediction = parse_prediction(document)
        if prediction.ended:
            self._archive.send_completed(job_id, document)
            return "completed"
        outcome = self._record(job_id, prediction)
        job = outcome.job if isinstance(outcome, Ignored) else outcome
        reason = outcome.reason if isinstance(outcome, Ignored) else None
        is_stray = reason is Reason.STRAY or (job is not None and is_foreign(job, prediction.id))
        if is_stray:
            get_logger().error("stray_prediction", job_id=job_id, prediction_id=prediction.id)
        if is_stray or (job is not None and job.cancel_requested_at is not None and not job.ended):
            # Nobody wants it, and it costs money until Replicate is told.
            self._archive.send_cancel(job_id, prediction.id)
        if not is_stray:
            self._announce(job_id, job, prediction, is_new=outcome is None)
        return reason or "recorded"

    def _announce(self, job_id: str, job: Job | None, prediction: Prediction, *, is_new: bool) -> None:
        """Have the caller told, if it wants to hear of this: by best effort, so that a failure is only logged."""
        if self._notify is None:
            return
        try:
            known = self._adopter(job_id, prediction) if is_new else job
            wanted = [event for event in _events(prediction) if event in known.webhook_events] if known else []
            if known and wanted:
                self._notify().send(Notice(known.id, wanted[0], self._now()), tenant=known.tenant)
        except Exception as error:  # noqa: BLE001
            log_unexpected("announce_failed", error, job_id=job_id)

    def _adopter(self, job_id: str, prediction: Prediction) -> Job | None:
        """Give the job that has just adopted a prediction, without reading it: to do so again tells what is met."""
        again = self._jobs.adopt(job_id, Adopted(prediction.id, schedule.after(self._now(), self._poll_s)))
        return again.job if again else None

    def _record(self, job_id: str, prediction: Prediction) -> Job | Ignored | None:
        now = self._now()
        due_at = schedule.after(now, self._poll_s)
        event: Started | Progressed | Unrecognized
        match prediction.status, prediction.percent:
            case UpstreamStatus.STARTING, _:
                # Of use only if the answer to the create was lost.
                return self._jobs.adopt(job_id, Adopted(prediction.id, due_at))
            case UpstreamStatus.PROCESSING, None:
                event = Started(prediction.id, at=prediction.started_at or now)
            case UpstreamStatus.PROCESSING, int() as percent:
                event = Progressed(prediction.id, percent=percent, logs=prediction.logs)
            case status, _:
                get_logger().warning("status_unknown", job_id=job_id, status=status[:STATUS_KEPT])
                event = Unrecognized(prediction.id, status=status[:STATUS_KEPT])
        outcome = self._jobs.record(job_id, event)
        if isinstance(outcome, Ignored) and outcome.reason is Reason.UNADOPTED:
            # The webhook was faster than the answer to the create, or that answer was lost.
            ignored = self._jobs.adopt(job_id, Adopted(prediction.id, due_at))
            if ignored is not None and ignored.reason not in {Reason.DUPLICATE, Reason.CANCEL_REQUESTED}:
                return ignored
            outcome = self._jobs.record(job_id, event)
        return outcome


def _events(prediction: Prediction) -> Sequence[str]:
    """Give what a webhook may be about, which Replicate does not say: whatever there is was told of by an event."""
    found = [event for event, told in ((OUTPUT, prediction.output), (LOGS, prediction.logs)) if told]
    match prediction.status:
        case UpstreamStatus.STARTING:
            return [START]
        case UpstreamStatus.PROCESSING:
            return found or [START]
    return ()


def is_foreign(job: Job, prediction_id: str) -> bool:
    """Say whether a prediction cannot be the job's: it has another, or has ended without any."""
    return job.prediction_id != prediction_id and (job.prediction_id is not None or job.ended)
