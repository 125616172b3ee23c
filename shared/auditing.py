"""Auditing: our jobs against Replicate's own list, to find what was paid for and belongs to nobody.

It only reads. What is on its way is no finding: a prediction of a job that waits to hear of it, for instance.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from shared.errors import UpstreamRefused
from shared.identifiers import ids_between, is_job_id
from shared.job import Job, JobId, Kind, Millis, Status
from shared.manifest import iso
from shared.prediction import parse_prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from shared.job import TenantId
    from shared.job_store import JobStore
    from shared.prediction import Prediction
    from shared.replicate_api import ReplicateApi

AT_ONCE = 100
_GONE = frozenset({404, 410})
_CALLBACK = re.compile(r"/webhooks/replicate/([^/?#]+)")


class Fault(StrEnum):
    """What is wrong."""

    UNOWNED = "unowned"  # a prediction that ran for one of our jobs, and belongs to none
    ABSENT = "absent"  # a job's prediction that Replicate does not know


class Owner(StrEnum):
    """Whose a prediction is."""

    OURS = "ours"
    PENDING = "pending"  # its job waits to hear of it
    FREE = "free"  # one of ours that belongs to no job, and never ran
    UNOWNED = "unowned"
    OTHERS = "others"  # of somebody else who uses the same account


@dataclass(frozen=True)
class Finding:
    """Something that an operator has to look into."""

    fault: Fault
    prediction_id: str
    job_id: JobId | None
    created_at: Millis | None
    detail: str


@dataclass
class Report:
    """What an audit has seen; `unclear` are jobs that were given up without knowing whether they ran."""

    predictions: Counter[Owner] = field(default_factory=Counter)
    jobs: int = 0
    unclear: list[JobId] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


class Auditor:
    """Compares."""

    def __init__(self, *, jobs: JobStore, replicate: ReplicateApi, origin: str, now: Callable[[], Millis]) -> None:
        """`origin` is where Replicate reaches us, by which predictions are known to be ours."""
        self._jobs = jobs
        self._replicate = replicate
        self._origin = origin
        self._now = now

    def audit(
        self, tenants: Iterable[TenantId], *, since: Millis, looked_at: Callable[[str], None] = lambda _: None
    ) -> Report:
        """Compare everything that was made since a time; `looked_at` is told of each prediction and job.

        Raises:
            UpstreamError: Replicate's list cannot be had, or is too long: what is not complete proves nothing.
        """
        report, listed = Report(), set[str]()
        for kind in Kind:
            for page in self._replicate.pages(since=str(iso(since)), kind=kind):
                for prediction in _readable(page):
                    listed.add(prediction.id)
                    looked_at(prediction.id)
                self._judge(list(_readable(page)), report)
        between = ids_between(since, self._now())
        for tenant in tenants:
            for job in self._jobs.each(tenant, between=between):
                looked_at(job.id)
                self._check(job, listed, report)
        return report

    def _judge(self, predictions: Sequence[Prediction], report: Report) -> None:
        owners = self._jobs.owners([one.id for one in predictions])
        for prediction in predictions:
            if prediction.id in owners:
                report.predictions[Owner.OURS] += 1
                continue
            job_id = self._job_of(prediction)
            owner = self._unowned(prediction, job_id)
            report.predictions[owner] += 1
            if owner is Owner.UNOWNED:
                detail = f"it is {prediction.status}, was started for a job, and belongs to none"
                report.findings.append(Finding(Fault.UNOWNED, prediction.id, job_id, prediction.created_at, detail))

    def _job_of(self, prediction: Prediction) -> JobId | None:
        """Give the job that a prediction was started for, by the webhook that we gave it."""
        webhook = prediction.webhook or ""
        match = _CALLBACK.match(webhook.removeprefix(self._origin)) if webhook.startswith(self._origin) else None
        return JobId(match[1]) if match and is_job_id(match[1]) else None

    def _unowned(self, prediction: Prediction, job_id: JobId | None) -> Owner:
        if job_id is None:
            return Owner.OTHERS
        job = self._jobs.get(job_id)
        if job is not None and not job.ended and job.prediction_id is None:
            return Owner.PENDING
        # What never ran is free, such as a stray that was canceled in time.
        has_run = prediction.has_run or prediction.verdict is Status.SUCCEEDED or not prediction.ended
        return Owner.UNOWNED if has_run else Owner.FREE

    def _check(self, job: Job, listed: set[str], report: Report) -> None:
        report.jobs += 1
        if job.prediction_id is None:
            if job.ended and job.cost:
                report.unclear.append(job.id)
            return
        if job.prediction_id in listed or self._is_known(job.prediction_id, job.kind):
            return
        detail = "Replicate does not know the prediction of this job"
        report.findings.append(Finding(Fault.ABSENT, job.prediction_id, job.id, job.created_at, detail))

    def _is_known(self, prediction_id: str, kind: Kind) -> bool:
        try:
            self._replicate.get(prediction_id, kind)
        except UpstreamRefused as refused:
            if refused.status not in _GONE:
                raise
            return False
        return True


def _readable(page: Sequence[Any]) -> Iterator[Prediction]:
    for document in page:
        try:
            yield parse_prediction(document)
        except ValueError:
            continue
