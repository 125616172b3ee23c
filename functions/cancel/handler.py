"""Cancels and deletes jobs for their owners, by both interfaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.canceling import cancel_warnings
from shared.deleting import delete
from shared.endpoint import Request, Response, Route, endpoint
from shared.errors import Code, Refusal
from shared.job import Kind, Status
from shared.reading import find_own
from shared.services import CancelParts, cancel

if TYPE_CHECKING:
    from shared.job import Job


def cancel_prediction(request: Request, parts: CancelParts) -> Response:
    """`POST /v1/predictions/{id}/cancel`: after the end, 200 and the unchanged job, as clients rely on."""
    return _cancel_as_replicate(request, parts, Kind.PREDICTION)


def cancel_training(request: Request, parts: CancelParts) -> Response:
    """`POST /v1/trainings/{id}/cancel`: likewise."""
    return _cancel_as_replicate(request, parts, Kind.TRAINING)


def _cancel_as_replicate(request: Request, parts: CancelParts, kind: Kind) -> Response:
    job = parts.canceler.cancel(_find(request, parts, kind))
    view = parts.views.replicate(job, request.origin, warnings=cancel_warnings(job))
    return Response(200, view.document, view.headers)


def cancel_short(request: Request, parts: CancelParts) -> Response:
    """`POST /predictions/{id}/cancel`: 409 if there is nothing left to cancel."""
    before = _find(request, parts)
    job = parts.canceler.cancel(before)
    too_late = job.status is Status.STORING or (job.ended and (before.ended or job.status is not Status.CANCELED))
    if too_late:
        state = "its result is being stored" if job.status is Status.STORING else f"it has {job.status}"
        raise Refusal(Code.NOT_CANCELABLE, f"The prediction cannot be canceled: {state}.")
    view = parts.views.short(job, request.origin, warnings=cancel_warnings(job))
    return Response(200 if job.ended else 202, view.document, view.headers)


def delete_job(request: Request, parts: CancelParts) -> Response:
    """`DELETE /v1/predictions/{id}`, `/v1/trainings/{id}` and `/predictions/{id}`: 409 until it has ended."""
    delete(parts.jobs, parts.archive, _find(request, parts), parts.now())
    return Response(204)


def _find(request: Request, parts: CancelParts, kind: Kind | None = None) -> Job:
    return find_own(parts.jobs, request.params["job_id"], request.account.tenant, kind)


handler = endpoint(
    (
        Route("POST", "/v1/predictions/{job_id}/cancel", cancel_prediction),
        Route("POST", "/v1/trainings/{job_id}/cancel", cancel_training),
        Route("POST", "/predictions/{job_id}/cancel", cancel_short),
        Route("DELETE", "/v1/predictions/{job_id}", delete_job),
        Route("DELETE", "/v1/trainings/{job_id}", delete_job),
        Route("DELETE", "/predictions/{job_id}", delete_job),
    ),
    wire=cancel,
    accounts=lambda parts: parts.accounts,
    origins=lambda parts: parts.settings.origins,
)
