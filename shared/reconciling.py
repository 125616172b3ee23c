"""Reconciling: looking after whatever has been silent too long, so that nothing depends on any one message.

Every job that still needs something is in the due index. Whoever moves a job's `due_at` on looks after it, so that
two runs at once are harmless. What Replicate says goes the same way as its webhooks do.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared import schedule
from shared.errors import Code, Problem, UpstreamError, UpstreamRefused, UpstreamUnclear
from shared.job import DeadlineHit, Deferred, Job, Kind, Millis, NotListed, Status, deadline_problem
from shared.job_store import SHARDS, shard_name
from shared.logs import get_logger, log_measured, log_unexpected
from shared.manifest import iso
from shared.metrics import Metric
from shared.prediction import OUTPUTS_LIVE_S, parse_prediction
from shared.starting import callback_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.archive_queue import ArchiveQueue
    from shared.job import PredictionId
    from shared.job_store import JobStore
    from shared.prediction import Prediction
    from shared.replicate_api import ReplicateApi
    from shared.reports import Reports
    from shared.starting import Starter

GONE = frozenset({404, 410})
PAGE = 25  # jobs of one shard at a time
MARGIN_S = 45.0  # before the function is stopped: longer than one job takes at the worst
STRIKES = 3  # calls that Replicate did not answer, before a run gives up: the next one is soon
ABSENCES = 2  # complete listings without it, before an unclear attempt counts as never taken
SKEW_S = 300  # between Replicate's clock and ours
UNCLEAR_S = 3600  # after which an attempt that was neither found nor proved absent is given up


@dataclass(frozen=True)
class _Listing:
    """Replicate's predictions or trainings since some time, complete, as listed from `at` on."""

    since: Millis
    at: Millis
    documents: list[Any]


class Reconciler:
    """Goes through the due index."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        archive: ArchiveQueue,
        starter: Starter,
        replicate: ReplicateApi,
        reports: Reports,
        poll_s: int,
        now: Callable[[], Millis],
    ) -> None:
        """`poll_s` is the shortest time between two polls."""
        self._jobs = jobs
        self._archive = archive
        self._starter = starter
        self._replicate = replicate
        self._reports = reports
        self._poll_s = poll_s
        self._now = now
        self._listings: dict[Kind, _Listing] = {}
        self._strikes = 0
        self._until = 0.0

    def run(self, *, seconds: float) -> int:
        """Look after what is due, for so many seconds at most, and say how many jobs that were."""
        self._until = time.monotonic() + seconds - MARGIN_S
        self._listings, self._strikes = {}, 0
        total = 0
        while self._may_go_on():
            done = sum(self._safely(job) for job in self._due() if self._may_go_on())
            total += done
            if not done:
                break
        return total

    def _may_go_on(self) -> bool:
        return time.monotonic() < self._until and self._strikes < STRIKES

    def _due(self) -> list[Job]:
        """Give a page of every shard, those first whose results may be closest to deletion."""
        now = self._now()
        found: list[Job] = []
        for shard in range(SHARDS):
            found += self._jobs.get_many(self._jobs.due(shard_name(shard), now=now, limit=PAGE))
        due = [job for job in found if job.due_at is not None and job.due_at <= now]
        return sorted(due, key=lambda job: (job.prediction_id is None, job.claimed_at or job.created_at))

    def _safely(self, job: Job) -> bool:
        """Look after one job; what goes wrong with it must not keep the others waiting."""
        try:
            return self._look_after(job)
        except UpstreamError as error:
            self._strikes += 1
            get_logger().warning("reconcile_postponed", job_id=job.id, reason=type(error).__name__)
        except Exception as error:  # noqa: BLE001
            log_unexpected("reconcile_failed", error, job_id=job.id)
            return False  # it may still be due, and must not keep the run going
        return True

    def _look_after(self, job: Job) -> bool:
        seen = job.due_at
        if seen is None:
            return False
        current = self._jobs.record(
            job.id, Deferred(seen, due_at=schedule.next_look(job, self._now(), poll_s=self._poll_s))
        )
        if not isinstance(current, Job):
            return False
        if current.ended:
            self._archive.send_ended(current.id)
            return True
        current = self._enforce_deadline(current)
        if current.status is Status.QUEUED:
            self._wake(current)
        elif current.prediction_id is None:
            self._look_up(current)
        else:
            self._poll(current, current.prediction_id)
        return True

    def _enforce_deadline(self, job: Job) -> Job:
        now = self._now()
        if job.deadline_at is None or now < job.deadline_at or job.cancel_requested_at is not None:
            return job
        hit = self._jobs.record(job.id, DeadlineHit(at=now, due_at=schedule.next_look(job, now, poll_s=self._poll_s)))
        if not isinstance(hit, Job):
            return job
        get_logger().info("deadline_hit", job_id=job.id)
        return hit

    def _wake(self, job: Job) -> None:
        """A queued job whose message must have been lost: send another, unless its time is over."""
        if job.cancel_requested_at is not None:
            self._starter.abandon(job, Status.CANCELED, deadline_problem(job))
        elif (too_late := self._starter.too_late(job)) is not None:
            self._starter.abandon(job, *too_late)
        else:
            get_logger().info("woken", job_id=job.id)
            self._starter.enqueue(job, delay_s=0)

    def _poll(self, job: Job, prediction_id: PredictionId) -> None:
        try:
            document = self._replicate.get(prediction_id, job.kind)
        except UpstreamRefused as refused:
            get_logger().error("prediction_not_found", job_id=job.id, status=refused.status)
            last = job.deadline_at or job.claimed_at or job.created_at
            if refused.status in GONE and self._now() >= schedule.after(last, OUTPUTS_LIVE_S):
                self._archive.send_forgotten(job.id, prediction_id)
            return
        if self._reports.take(job.id, document) == "completed":
            left = self._minutes_left(parse_prediction(document))
            log_measured("repaired", {Metric.REPAIRED: 1.0, **left}, job_id=job.id)

    def _minutes_left(self, prediction: Prediction) -> Mapping[Metric, float]:
        """Say how close to its deletion a result was found."""
        if prediction.completed_at is None:
            return {}
        left_s = (prediction.completed_at - self._now()) / 1000 + OUTPUTS_LIVE_S
        return {Metric.MINUTES_TO_EXPIRY: left_s / 60}

    def _look_up(self, job: Job) -> None:
        """Find out whether an attempt whose answer is missing was taken: adopt it, prove it absent, or give it up."""
        claimed_at = job.claimed_at or job.created_at
        now = self._now()
        if now < schedule.after(claimed_at, schedule.CLAIM_S):
            return
        if now >= schedule.after(claimed_at, UNCLEAR_S):
            detail = "Whether Replicate ran this could not be found out. It is not sent again, and counts as paid."
            self._starter.abandon(job, Status.FAILED, Problem(Code.OUTCOME_UNKNOWN, detail), spent=True)
            return
        documents = self._list(job.kind, claimed_at)
        if (own := self._own(job, documents)) is not None:
            self._reports.take(job.id, own)
        elif not any(_same_input(job, document) for document in documents):
            self._count_absence(job)

    def _count_absence(self, job: Job) -> None:
        due_at = schedule.after(self._now(), schedule.CLAIM_S)
        absent = self._jobs.record(job.id, NotListed(job.attempt, job.absences + 1, due_at=due_at))
        if not isinstance(absent, Job) or absent.absences < ABSENCES:
            return
        if absent.cancel_requested_at is not None:
            self._starter.abandon(absent, Status.CANCELED, deadline_problem(absent))
        else:
            get_logger().warning("proved_absent", job_id=job.id, attempt=job.attempt)
            self._starter.send_back(absent, wait_s=0)

    def _list(self, kind: Kind, claimed_at: Millis) -> list[Any]:
        """Give all of a kind that Replicate has from about `claimed_at` on, listed after any create has timed out."""
        since = schedule.after(claimed_at, -SKEW_S)
        listing = self._listings.get(kind)
        if listing is None or listing.since > since or listing.at < schedule.after(claimed_at, schedule.CLAIM_S):
            at = self._now()
            documents: list[Any] = []
            for page in self._replicate.pages(since=str(iso(since)), kind=kind):
                documents += page
                if time.monotonic() > self._until:
                    raise UpstreamUnclear("the list takes too long")
            self._listings[kind] = listing = _Listing(since, at, documents)
        return listing.documents

    def _own(self, job: Job, documents: list[Any]) -> Any:  # noqa: ANN401
        """Find the job's prediction: by the URL we gave, or by a seed that nobody else has drawn."""
        path = callback_path(job.id)
        for document in documents:
            if isinstance(document, dict) and path in str(document.get("webhook")):
                return document
        if job.drawn_seed is None:
            return None
        alike = [document for document in documents if _same_input(job, document)]
        return alike[0] if len(alike) == 1 else None


def _same_input(job: Job, document: Any) -> bool:  # noqa: ANN401
    """Say whether a prediction may be the job's, where Replicate does not say which webhook it has."""
    try:
        prediction = parse_prediction(document)
    except ValueError:
        return False
    if prediction.created_at is not None:
        earliest = schedule.after(job.claimed_at or job.created_at, -SKEW_S)
        if prediction.created_at < earliest:
            return False
    # One with another webhook belongs to somebody else, such as another stage with the same account. What model it
    # runs is not asked: that of a deployment may have changed, and a name may be spelled in another way.
    return prediction.webhook is None and _is_sent(job, prediction.input)


def _is_sent(job: Job, given: Any) -> bool:  # noqa: ANN401
    """Say whether this is the job's input, as far as Replicate is sent what the job shows."""
    if not isinstance(given, dict):
        return False
    known = [{name: value for name, value in one.items() if name not in job.altered} for one in (job.input, given)]
    return known[0] == known[1]
