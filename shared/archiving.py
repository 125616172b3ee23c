"""Finishing a job: files into the bucket, the end of the job with its account, the manifest, out of the due index.

The order is the promise: `succeeded` is only written when every file is there, the manifest only when the job has
ended, and a job leaves the due index only when its manifest exists. Whatever dies in between is found again.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shared import schedule
from shared.addresses import is_below, is_named
from shared.archive_queue import ArchiveOrder
from shared.ending import log_end
from shared.errors import (
    Code,
    OutputError,
    OutputExpired,
    OutputRejected,
    OutputUnavailable,
    Problem,
    UpstreamRefused,
    UpstreamUnclear,
)
from shared.fetch import Download
from shared.job import (
    Adopted,
    Archived,
    Ignored,
    Job,
    Kind,
    Makes,
    Millis,
    Outcome,
    Purged,
    Reason,
    Settled,
    Shape,
    Status,
    Taken,
    deadline_problem,
)
from shared.logs import get_logger
from shared.manifest import manifest_of
from shared.outputs import MOST_FILES, mark, outputs_of, shortcoming, trained_version, withheld
from shared.prediction import OUTPUTS_LIVE_S, parse_prediction, problem_of
from shared.pricing import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.copying import Copier
    from shared.fetch import Rules
    from shared.file_store import FileStore
    from shared.job import StoredFile
    from shared.job_store import JobStore
    from shared.ledger import Ledger
    from shared.prediction import Prediction
    from shared.replicate_api import ReplicateApi

MOST_TRIES = 6  # after which a source that says it is gone is believed: about five minutes
SKEW_S = 60  # between Replicate's clock and ours


@dataclass(frozen=True)
class _Kept:
    """What there is of an output: files in the bucket by their number, and what the job itself holds.

    `made` counts the files that Replicate made and is paid for; `problem` says why some are not here.
    """

    made: int
    files: Mapping[int, StoredFile] = field(default_factory=dict)
    shape: Shape = Shape.LIST
    text: Any = None
    problem: Problem | None = None


class Archiver:
    """The only writer of files, manifests and ends that have files."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        ledger: Ledger,
        files: FileStore,
        rules: Rules,
        replicate: Callable[[], ReplicateApi],
        copier: Copier,
        now: Callable[[], Millis],
    ) -> None:
        """`replicate` is asked for, and so imported, only when there is something to ask or to cancel."""
        self._jobs = jobs
        self._ledger = ledger
        self._files = files
        self._rules = rules
        self._replicate = replicate
        self._copier = copier
        self._now = now

    def archive(self, order: ArchiveOrder, *, lease: str) -> None:
        """Finish a job as far as it can be; `lease` names the holder, and is the same when it tries again.

        Raises:
            OutputUnavailable, UpstreamNotTaken, UpstreamUnclear: something cannot be had now; the same order is to
                be sent again, with the same lease.
        """
        if order.cancel is not None:
            order = self._cancel(order, order.cancel)
        elif order.prediction_id is None:
            job = self._jobs.get(order.job_id)
            if job is not None and job.ended:
                self._finish(job)
        if order.prediction_id is None:
            return
        taken = self._take(order, lease)
        if isinstance(taken, Ignored):
            if taken.job is not None and taken.job.ended and taken.job.prediction_id == order.prediction_id:
                self._finish(taken.job)
            get_logger().info("archive_ignored", job_id=order.job_id, reason=taken.reason)
            return
        settled = self._store_and_settle(taken, order, lease)
        if settled is not None:
            self._finish(settled)

    def _cancel(self, order: ArchiveOrder, prediction_id: str) -> ArchiveOrder:
        """Cancel with Replicate, and give what is left to do: to store the prediction, if it has ended by that."""
        job = self._jobs.get(order.job_id)
        kind = Kind.PREDICTION if job is None else job.kind
        try:
            prediction = parse_prediction(self._replicate().cancel(prediction_id, kind))
        except UpstreamRefused as refused:
            get_logger().info("cancel_refused", job_id=order.job_id, status=refused.status)
            return ArchiveOrder(order.job_id)
        if not prediction.ended:
            return ArchiveOrder(order.job_id)
        return ArchiveOrder(order.job_id, prediction.id, prediction)

    def _take(self, order: ArchiveOrder, lease: str) -> Job | Ignored:
        assert order.prediction_id is not None  # noqa: S101 - told to the type checker
        now = self._now()
        event = Taken(order.prediction_id, lease=lease, at=now, until=schedule.after(now, schedule.LEASE_S))
        taken = self._jobs.record(order.job_id, event)
        if isinstance(taken, Ignored) and taken.reason is Reason.UNADOPTED:
            # It ended before anybody had learned its id.
            ignored = self._jobs.adopt(order.job_id, Adopted(order.prediction_id, due_at=event.until))
            if ignored is not None and ignored.reason not in {Reason.DUPLICATE, Reason.CANCEL_REQUESTED}:
                return ignored
            taken = self._jobs.record(order.job_id, event)
        return taken

    def _store_and_settle(self, job: Job, order: ArchiveOrder, lease: str) -> Job | None:
        outcome = self._forgotten(job) if order.forgotten else self._store(job, order)
        due_at = schedule.after(self._now(), schedule.MANIFEST_S)
        settled = self._ledger.settle(job, Settled(outcome=outcome, due_at=due_at, lease=lease))
        if isinstance(settled, Ignored):
            get_logger().info("settle_ignored", job_id=job.id, reason=settled.reason)
            return settled.job if settled.job is not None and settled.job.ended else None
        log_end("ended", settled, self._now())
        return settled

    def _forgotten(self, job: Job) -> Outcome:
        """End a job whose prediction Replicate no longer knows: what is in the bucket stays, and it counts as paid."""
        found = self._files.existing(job)
        return Outcome(
            status=Status.FAILED,
            completed_at=self._now(),
            cost=job.hold.amount if job.hold is not None else 0,
            problem=Problem(Code.OUTCOME_UNKNOWN, "Replicate no longer knows this prediction."),
            files=tuple(found[n] for n in sorted(found)),
        )

    def _store(self, job: Job, order: ArchiveOrder) -> Outcome:
        prediction = order.prediction or parse_prediction(self._replicate().get(str(order.prediction_id), job.kind))
        if prediction.verdict is None:
            raise UpstreamUnclear("Replicate says that it has ended, and that it has not")
        if prediction.data_removed and not prediction.output and prediction.verdict is Status.SUCCEEDED:
            kept = self._recover(job)
        else:
            kept = self._keep(job, prediction, is_last_try=order.tries >= MOST_TRIES)
        verdict, problem, warnings = _judge(job, prediction, kept)
        return Outcome(
            status=verdict,
            completed_at=prediction.completed_at or self._now(),
            cost=cost_of(job, prediction, kept.made, now=self._now()),
            problem=problem,
            error=prediction.error,
            started_at=prediction.started_at,
            logs=prediction.logs or None,
            metrics=prediction.metrics,
            text=kept.text,
            files=tuple(kept.files[n] for n in sorted(kept.files)),
            files_shape=kept.shape,
            warnings=warnings,
        )

    def _recover(self, job: Job) -> _Kept:
        """Give what an earlier run had stored of an output that Replicate has deleted since.

        Only of images is it known how many there must have been.
        """
        found = self._files.existing(job)
        are_images = job.makes in {Makes.IMAGES, Makes.IMAGE}
        made = job.expected_files if are_images else max(1, len(found))
        shape = Shape.SINGLE if job.makes is Makes.IMAGE else Shape.LIST
        if are_images and len(found) >= made:
            return _Kept(made, found, shape)
        detail = "Replicate had deleted the outputs before they could be stored."
        return _Kept(made, found, shape, problem=Problem(Code.OUTPUT_EXPIRED, detail))

    def _keep(self, job: Job, prediction: Prediction, *, is_last_try: bool) -> _Kept:
        """Store what can be stored of an output, files first; what else the job cannot hold becomes a file too.

        Raises:
            OutputUnavailable: something cannot be had now; everything else has been stored.
        """
        outputs = outputs_of(prediction.output, job.makes, lambda url: _is_from(url, self._rules))
        made = len(outputs.sources)
        if made > MOST_FILES:
            detail = f"The output names {made} files, more than the {MOST_FILES} that are stored."
            return _Kept(made, problem=Problem(Code.OUTPUT_REJECTED, detail))
        files, problem = self._copy(job, prediction, outputs.sources, is_last_try=is_last_try)
        try:
            document = outputs.document({n: file.key for n, file in files.items()})
            if document is None:
                return _Kept(made, files, outputs.shape, outputs.text, problem)
            if made not in files:
                download = Download(io.BytesIO(document), len(document), self._rules, since=time.monotonic())
                files[made] = self._files.put(job, made, download)
        except (OutputRejected, RecursionError):
            problem = Problem(Code.OUTPUT_REJECTED, "The output is too large, or nested too deeply.")
        return _Kept(made, files, Shape.NESTED, mark(made), problem)

    def _copy(
        self, job: Job, prediction: Prediction, sources: Sequence[str], *, is_last_try: bool
    ) -> tuple[dict[int, StoredFile], Problem | None]:
        """Copy what can be copied; what cannot, ever, is the job's problem.

        Raises:
            OutputUnavailable: something cannot be had now; everything else has been copied.
        """
        # An interrupted run has left files behind: their sources may be gone by now, and need not be there.
        found = self._files.existing(job) if job.takes > 1 or prediction.data_removed else {}
        rejected: Problem | None = None
        missing: dict[int, OutputError] = {}
        for n, copied in self._copier.copy(job, {n: one for n, one in enumerate(sources) if n not in found}):
            match copied:
                case OutputRejected():
                    rejected = Problem(Code.OUTPUT_REJECTED, f"Output {n}: {copied}.")
                case OutputError():
                    missing[n] = copied
                case stored:
                    found[n] = stored
        if missing:
            # Another delivery of the same order may have stored them in the meantime.
            found = self._files.existing(job) | found
        for n, reason in missing.items():
            if n not in found:
                # While Replicate still keeps it, a 404 may be no more than a cache that lags.
                if not self._are_deleted(job, prediction) and not (is_last_try and isinstance(reason, OutputExpired)):
                    raise OutputUnavailable(str(reason)) from reason
                rejected = Problem(Code.OUTPUT_EXPIRED, f"Output {n}: {reason}; Replicate deletes it after an hour.")
        return found, rejected

    def _are_deleted(self, job: Job, prediction: Prediction) -> bool:
        ended_at = prediction.completed_at or job.claimed_at or job.created_at
        return self._now() > schedule.after(ended_at, OUTPUTS_LIVE_S)

    def _finish(self, job: Job) -> None:
        if job.archived_at is None and job.deleted_at is None:
            self._files.put_manifest(job, manifest_of(job))
            archived = self._jobs.record(job.id, Archived(at=self._now()))
            job = archived if isinstance(archived, Job) else archived.job or job
        if job.deleted_at is not None:
            # Also where it was deleted while this ran: nothing may be left of what was written here meanwhile.
            self._files.purge(job)
            self._jobs.record(job.id, Purged(at=self._now()))
            get_logger().info("purged", job_id=job.id)


def cost_of(job: Job, prediction: Prediction, made: int, *, now: Millis) -> int:
    """Give what a prediction that has ended cost, in micro-USD.

    What never began is free. Seconds are Replicate's own measure, or the time between its start and its end; where it
    tells neither of something that ran, the estimate stands. It cannot have run for longer than the job exists:
    whatever says so is cut to that.
    """
    has_run = prediction.has_run or job.started_at is not None or made > 0 or prediction.verdict is Status.SUCCEEDED
    seconds = prediction.seconds
    if seconds is None and has_run and job.price.unit is Unit.SECOND:
        return job.estimate if job.hold is None else job.hold.amount
    ended_at = prediction.completed_at
    until = ended_at if ended_at is not None and job.created_at <= ended_at <= now else now
    longest = max(0, until - job.created_at) / 1000 + SKEW_S
    return job.price.of(images=made, seconds=min(seconds or 0, longest), has_run=has_run)


def _judge(job: Job, prediction: Prediction, kept: _Kept) -> tuple[Status, Problem | None, tuple[str, ...]]:
    """Say how the job ends, why it did not succeed, and what else its owner must know."""
    if prediction.verdict is Status.CANCELED:
        return Status.CANCELED, deadline_problem(job, prediction.completed_at), job.warnings
    if prediction.verdict is not Status.SUCCEEDED:
        return Status.FAILED, problem_of(prediction), job.warnings
    problem, warnings = kept.problem, list(job.warnings)
    if problem is not None and trained_version(kept.text) is not None and job.makes is Makes.MODEL:
        # The model can be used without a copy of its weights.
        warnings.append(f"The weights were not stored. {problem.detail}")
        problem = None
    problem = problem or shortcoming(job.makes, prediction.output, kept.made)
    if (warning := withheld(job, kept.made)) is not None:
        warnings.append(warning)
    return Status.FAILED if problem else Status.SUCCEEDED, problem, tuple(warnings)


def _is_from(url: str, rules: Rules) -> bool:
    """Say whether a URL names something on a host of outputs; whether it may be had is for `open_output` to say."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return len(parts.path) > 1 and (is_below(host, rules) or is_named(parts, rules))
