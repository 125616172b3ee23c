"""What callers see of a job: Replicate's document, or the short one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from shared.errors import KINDS
from shared.identifiers import fingerprint
from shared.job import Job, Kind, Makes, Millis, Shape, Status
from shared.manifest import iso
from shared.outputs import output_of, trained_version
from shared.pricing import MICRO

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.job import StoredFile
    from shared.links import FileLinks

FIRST_POLL_S = 1.0
POLL_FACTOR = 1.5
LONGEST_POLL_S = 5.0
OUTSIDE: Mapping[Status, str] = {
    Status.QUEUED: "starting",
    Status.STARTING: "starting",
    Status.PROCESSING: "processing",
    Status.STORING: "processing",
    Status.SUCCEEDED: "succeeded",
    Status.FAILED: "failed",
    Status.CANCELED: "canceled",
}
"""Our statuses in Replicate's words."""


def poll_after(job: Job, now: Millis) -> float:
    """Say how many seconds to wait before asking again: 1, 1.5, 2.25 … 5, by the job's age."""
    age, step, passed = max(0, now - job.created_at) / 1000, FIRST_POLL_S, 0.0
    while step < LONGEST_POLL_S and passed + step <= age:
        passed += step
        step = min(step * POLL_FACTOR, LONGEST_POLL_S)
    return step


@dataclass(frozen=True)
class View:
    """A document, and the headers that go with it."""

    document: dict[str, Any]
    headers: Mapping[str, str]
    tag: str


class Views:
    """Makes documents of jobs."""

    def __init__(self, links: FileLinks, *, now: Callable[[], Millis]) -> None:
        """Work with the links to files that belong into the documents."""
        self._links = links
        self._now = now

    def replicate(
        self, job: Job, origin: str, *, created: bool = False, reused: bool = False, warnings: Sequence[str] = ()
    ) -> View:
        """Give the job as Replicate would, with everything of ours under `afterimage`.

        In the answer to a create (`created`) an unfinished job always says `starting`: the `run()` of several
        clients takes any other unfinished status for the end, and returns nothing. `reused` says that the request
        was given a job that was there; `warnings` are of this answer only, beside the job's own.
        """
        status = OUTSIDE[job.status]
        if created and not job.ended:
            status = "starting"
        gone = job.ended and self._gone(job)
        url = f"{origin}/v1/{'trainings' if job.kind is Kind.TRAINING else 'predictions'}/{job.id}"
        document: dict[str, Any] = {
            "id": job.id,
            "model": job.model,
            "version": job.version or "hidden",
            "status": status,
            "input": job.input,
            "output": None if gone else self._output(job, origin),
            "logs": job.logs or "",
            "error": job.error or (job.problem.detail if job.problem else None),
            "metrics": job.metrics or {},
            "created_at": iso(job.created_at),
            "started_at": iso(job.started_at),
            "completed_at": iso(job.completed_at),
            "data_removed": gone,
            "source": "api",
            "urls": {"get": url, "cancel": f"{url}/cancel", "web": f"{origin}/#{job.id}"},
        }
        if job.webhook:
            document |= {"webhook": job.webhook, "webhook_events_filter": list(job.webhook_events)}
        document["afterimage"] = {
            "stage": job.status,
            "progress": progress_of(job),
            "files": [] if gone else [self._file(job, file, origin) for file in job.files],
            "cost_usd": None if job.cost is None else job.cost / MICRO,
            "estimated_cost_usd": job.estimate / MICRO,
            "batch_id": job.batch_id,
            "reused": reused,
            "seed": job.seed,
            "warnings": [*job.warnings, *warnings],
            "problem": _problem(job, url),
        }
        tag = _tag(document)
        document["afterimage"]["poll_after"] = None if job.ended else poll_after(job, self._now())
        return View(document, self._headers(job, url), tag)

    def short(self, job: Job, origin: str, *, reused: bool = False, warnings: Sequence[str] = ()) -> View:
        """Give the job as the short interface does; `reused` and `warnings` as in `replicate`.

        What only some jobs have is there only for these: what a training made, an output that may be anything, and
        what there is to say beside.
        """
        url = f"{origin}/predictions/{job.id}"
        gone = self._gone(job)
        document: dict[str, Any] = {
            "prediction_id": job.id,
            "status": OUTSIDE[job.status],
            "images": None if gone else self._images(job, origin),
            "progress": progress_of(job),
            "problem": _problem(job, url),
        }
        if job.makes is Makes.ANYTHING:
            document["output"] = None if gone else self._output(job, origin)
        if job.kind is Kind.TRAINING:
            # The model lives with Replicate, whatever becomes of our copy of its weights.
            document["trained_model"] = trained_version(job.text) if job.status is Status.SUCCEEDED else None
        if told := [*job.warnings, *warnings]:
            document["warnings"] = told
        if reused:
            document["reused"] = True
        return View(document, self._headers(job, url), _tag(document))

    def _gone(self, job: Job) -> bool:
        return self._links.are_expired(job, self._now()) or job.deleted_at is not None

    def _output(self, job: Job, origin: str) -> Any:  # noqa: ANN401
        if job.status is not Status.SUCCEEDED:
            return None
        return output_of(job, {file.n: self._url(job, file, origin) for file in job.files})

    def _images(self, job: Job, origin: str) -> list[str] | None:
        if job.status is not Status.SUCCEEDED or job.kind is Kind.TRAINING:
            return None
        are_all = job.makes is not Makes.ANYTHING and job.files_shape is not Shape.NESTED
        images = [file for file in job.files if are_all or file.content_type.startswith("image/")]
        return [self._url(job, file, origin) for file in images]

    def _url(self, job: Job, file: StoredFile, origin: str) -> str:
        return self._links.url(origin, job, file, self._now())

    def _file(self, job: Job, file: StoredFile, origin: str) -> dict[str, Any]:
        return {
            "url": self._url(job, file, origin),
            "content_type": file.content_type,
            "bytes": file.bytes,
            "sha256": file.sha256,
            "width": file.width,
            "height": file.height,
        }

    def _headers(self, job: Job, url: str) -> dict[str, str]:
        if job.ended:
            return {}
        seconds = poll_after(job, self._now())
        return {
            "location": url,
            "retry-after": str(math.ceil(seconds)),
            "retry-after-ms": str(round(seconds * 1000)),
        }


def progress_of(job: Job) -> float | None:
    """Give how far a job is, from 0 to 1; None while nothing is known."""
    if job.status is Status.SUCCEEDED:
        return 1.0
    return None if job.percent is None else job.percent / 100


def listing(
    documents: Sequence[Mapping[str, Any]], cursor: str | None, url: str, narrowed: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Give a page of documents as Replicate does; the links to other pages are whole URLs, `narrowed` alike."""
    query = urlencode({"cursor": cursor, **(narrowed or {})})
    return {"previous": None, "next": f"{url}?{query}" if cursor else None, "results": list(documents)}


def _problem(job: Job, url: str) -> dict[str, Any] | None:
    if job.problem is None:
        return None
    kind = KINDS[job.problem.code]
    return {
        "type": f"urn:afterimage:problem:{job.problem.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": job.problem.detail,
        "instance": url,
        "code": job.problem.code,
        "retryable": kind.retryable,
        "invalid_fields": [{"field": one.field, "description": one.description} for one in job.problem.invalid_fields],
    }


def _tag(document: Mapping[str, Any]) -> str:
    return f'W/"{fingerprint(document)[:32]}"'
