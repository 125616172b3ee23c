"""Answers what has become of a job: single reads, lists, and whatever no other route takes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from shared.endpoint import LARGEST_ANSWER, Request, Response, Route, endpoint, size_of
from shared.errors import Code, InvalidField, Refusal
from shared.identifiers import LATEST, ids_between, is_job_id
from shared.job import Job, JobId, Kind, Millis
from shared.manifest import parse_iso
from shared.preferences import parse_preference
from shared.reading import find_own
from shared.services import StatusParts, status
from shared.views import OUTSIDE, View, listing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.job_store import Listed

PAGE = 100  # as Replicate's
EARLIEST = Millis(1)
CREATED = ("created_after", "created_before")  # the first moment, and the one after the last


def health(request: Request, parts: StatusParts) -> Response:  # noqa: ARG001
    """`GET /health`: the API, and what this function needs to start, are there."""
    return Response(200, {"status": "ok"})


def get_prediction(request: Request, parts: StatusParts) -> Response:
    """`GET /v1/predictions/{id}`."""
    return _get(request, parts, Kind.PREDICTION)


def get_training(request: Request, parts: StatusParts) -> Response:
    """`GET /v1/trainings/{id}`."""
    return _get(request, parts, Kind.TRAINING)


def _get(request: Request, parts: StatusParts, kind: Kind) -> Response:
    return _conditional(request, parts.views.replicate(_find(request, parts, kind), request.origin))


def get_short(request: Request, parts: StatusParts) -> Response:
    """`GET /predictions/{id}`."""
    job = _find(request, parts)
    return _conditional(request, parts.views.short(job, request.origin))


def list_predictions(request: Request, parts: StatusParts) -> Response:
    """`GET /v1/predictions?created_after=&created_before=`: a page of predictions, newest first."""
    given = {name: text for name in CREATED if (text := request.query.get(name))}
    first, end = _time(given, CREATED[0], or_else=EARLIEST), _time(given, CREATED[1], or_else=LATEST)
    return _list_as_replicate(request, parts, Kind.PREDICTION, given, ids_between(first, Millis(end - 1)))


def list_trainings(request: Request, parts: StatusParts) -> Response:
    """`GET /v1/trainings`: a page of trainings, newest first."""
    return _list_as_replicate(request, parts, Kind.TRAINING)


def get_webhook_secret(request: Request, parts: StatusParts) -> Response:
    """`GET /v1/webhooks/default/secret`: what this tenant's own webhooks are signed with."""
    secrets = parts.accounts.webhook_secrets(request.account.tenant)
    if not secrets:
        detail = "This tenant has no secret yet: the operator makes one with `tenants rotate-webhook-secret`."
        raise Refusal(Code.NOT_FOUND, detail)
    return Response(200, {"key": secrets[0]}, {"cache-control": "no-store"})


def _list_as_replicate(
    request: Request,
    parts: StatusParts,
    kind: Kind,
    narrowed: Mapping[str, str] | None = None,
    between: tuple[JobId, JobId] | None = None,
) -> Response:
    listed = _list(request, parts, {"kind": [kind]}, between=between)
    documents, cursor = _fitting(listed, lambda job: parts.views.replicate(job, request.origin))
    return Response(200, listing(documents, cursor, f"{request.origin}{request.path}", narrowed))


def _time(given: Mapping[str, str], name: str, *, or_else: Millis) -> Millis:
    """Read a time of the query, as far as ids can tell it."""
    if name not in given:
        return or_else
    if (at := parse_iso(given[name])) is None:
        raise _invalid(name, "Give a time as ISO 8601 has it, such as 2026-01-31T12:00:00Z.")
    return Millis(min(max(at, EARLIEST), LATEST))


def list_short(request: Request, parts: StatusParts) -> Response:
    """`GET /predictions?batch_id=&status=&cursor=`: a page of jobs, newest first; of a batch, also its counts."""
    among: dict[str, list[str]] = {}
    if wanted := request.query.get("status"):
        among["status"] = [inside for inside, outside in OUTSIDE.items() if outside == wanted]
        if not among["status"]:
            raise _invalid("status", f"It is one of {', '.join(dict.fromkeys(OUTSIDE.values()))}.")
    if batch_id := request.query.get("batch_id"):
        if not is_job_id(batch_id):
            raise _invalid("batch_id", "There is no such batch.")
        among["batch_id"] = [batch_id]
    listed = _list(request, parts, among, batch_id)
    documents, cursor = _fitting(listed, lambda job: parts.views.short(job, request.origin))
    document: dict[str, Any] = {"predictions": documents, "next_cursor": cursor}
    if batch_id:
        found = Counter(OUTSIDE[one] for one in parts.jobs.statuses(request.account.tenant, JobId(batch_id)))
        document["counts"] = dict.fromkeys(OUTSIDE.values(), 0) | found
    return Response(200, document)


def _fitting(listed: Listed, view: Callable[[Job], View]) -> tuple[list[dict[str, Any]], JobId | None]:
    """Give the documents of a page as far as one answer holds them, and where the next page begins."""
    documents: list[dict[str, Any]] = []
    size, last = 0, None
    for job in listed.jobs:
        document = view(job).document
        size += size_of(document)
        if size > LARGEST_ANSWER and documents:
            return documents, last
        documents.append(document)
        last = job.id
    return documents, listed.cursor


def _list(
    request: Request,
    parts: StatusParts,
    among: dict[str, list[str]],
    batch_id: str | None = None,
    between: tuple[JobId, JobId] | None = None,
) -> Listed:
    cursor = request.query.get("cursor")
    if cursor and not is_job_id(cursor):
        raise _invalid("cursor", "Take it from the page before, as it is.")
    batch = JobId(batch_id) if batch_id else None
    return parts.jobs.page(request.account.tenant, limit=PAGE, after=cursor, among=among, batch=batch, between=between)


def _find(request: Request, parts: StatusParts, kind: Kind | None = None) -> Job:
    """Read the caller's own job, at the end of the time that the caller prefers to wait."""
    job = find_own(parts.jobs, request.params["job_id"], request.account.tenant, kind)
    return parts.waiter.wait(job, parse_preference(request.headers), request.received_at)


def _conditional(request: Request, view: View) -> Response:
    headers = {**view.headers, "etag": view.tag, "cache-control": "private, no-cache"}
    known = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
    if view.tag in known:
        return Response(304, None, headers)
    return Response(200, view.document, headers)


def _invalid(name: str, description: str) -> Refusal:
    return Refusal(Code.INVALID_INPUT, f"- {name}: {description}", (InvalidField(name, description),))


handler = endpoint(
    (
        Route("GET", "/v1/predictions/{job_id}", get_prediction),
        Route("GET", "/v1/predictions", list_predictions),
        Route("GET", "/v1/trainings/{job_id}", get_training),
        Route("GET", "/v1/trainings", list_trainings),
        Route("GET", "/v1/webhooks/default/secret", get_webhook_secret),
        Route("GET", "/predictions/{job_id}", get_short),
        Route("GET", "/predictions", list_short),
        Route("GET", "/health", health, public=True),
    ),
    wire=status,
    accounts=lambda parts: parts.accounts,
    origins=lambda parts: parts.settings.origins,
)
