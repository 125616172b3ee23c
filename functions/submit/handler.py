"""Starts what callers ask for: `POST /v1/…` as Replicate takes it, `POST /generate` and `POST /train`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shared.bodies import GenerateBody, ModelPredictionBody, PredictionBody, TrainBody, TrainingBody
from shared.endpoint import LARGEST_ANSWER, Request, Response, Route, endpoint, problem_of, size_of
from shared.errors import Refusal
from shared.identifiers import fingerprint
from shared.job import Kind
from shared.preferences import Preference, parse_cancel_after, parse_preference, retry_count, wants_reuse
from shared.services import SubmitParts, submit
from shared.submission import Submitted, all_refused, refusal_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.job import TenantId
    from shared.ordering import Order


def create(request: Request, parts: SubmitParts) -> Response:
    """`POST /v1/predictions`: a prediction of the model or version that the body names."""
    return _create(request, parts, parts.ordering.prediction(request.body.version, request.body, _tenant(request)))


def create_for_model(request: Request, parts: SubmitParts) -> Response:
    """`POST /v1/models/{owner}/{name}/predictions`: a prediction of an official model."""
    return _create(request, parts, parts.ordering.prediction(_named(request), request.body, _tenant(request)))


def create_on_deployment(request: Request, parts: SubmitParts) -> Response:
    """`POST /v1/deployments/{owner}/{name}/predictions`."""
    return _create(request, parts, parts.ordering.of_deployment(_named(request), request.body, _tenant(request)))


def create_training(request: Request, parts: SubmitParts) -> Response:
    """`POST /v1/models/{owner}/{name}/versions/{version}/trainings`."""
    return _create(
        request,
        parts,
        parts.ordering.training(_named(request), request.params["version"], request.body, _tenant(request)),
    )


def train(request: Request, parts: SubmitParts) -> Response:
    """`POST /train`: a training by the short interface."""
    return _short(request, parts, parts.ordering.train(request.body, _tenant(request)))


def generate(request: Request, parts: SubmitParts) -> Response:
    """`POST /generate`: the short interface."""
    orders = parts.ordering.generate(request.body, _tenant(request))
    if orders.is_batch:
        return _batch(request, parts, orders.parts)
    (order,) = orders.parts
    if isinstance(order, Refusal):
        raise order
    return _short(request, parts, order)


def _create(request: Request, parts: SubmitParts, order: Order) -> Response:
    order = replace(order, reuse=wants_reuse(request.headers))
    path = "/v1/trainings" if order.target.model.kind is Kind.TRAINING else "/v1/predictions"
    submitted, preference = _submit(request, parts, order, path)
    view = parts.views.replicate(submitted.job, request.origin, created=True, reused=submitted.is_reused)
    status = 202 if preference.seconds and not submitted.job.ended else 201
    return Response(status, view.document, {**view.headers, **_applied(preference)})


def _short(request: Request, parts: SubmitParts, order: Order) -> Response:
    order = replace(order, reuse=order.reuse or wants_reuse(request.headers))
    submitted, preference = _submit(request, parts, order, "/predictions")
    view = parts.views.short(submitted.job, request.origin, reused=submitted.is_reused)
    return Response(200 if submitted.job.ended else 202, view.document, {**view.headers, **_applied(preference)})


def _submit(request: Request, parts: SubmitParts, order: Order, path: str) -> tuple[Submitted, Preference]:
    preference = parse_preference(request.headers)
    order = replace(order, cancel_after_s=parse_cancel_after(request.headers))
    retry = retry_count(request.headers)
    submitted = parts.submission.submit(
        order,
        request.account,
        body=_body(request),
        key=_key(request),
        received_at=request.received_at,
        retry=retry,
    )
    job = parts.waiter.wait(submitted.job, preference, request.received_at)
    if refusal := refusal_of(job, f"{request.origin}{path}/{job.id}"):
        raise refusal
    return replace(submitted, job=job), preference


def _batch(request: Request, parts: SubmitParts, asked: Sequence[Order | Refusal]) -> Response:
    """Answer for each part, in order; only if none was accepted is it a refusal as a whole."""
    preference = parse_preference(request.headers)
    cancel_after_s, reuse = parse_cancel_after(request.headers), wants_reuse(request.headers)
    orders = [
        one if isinstance(one, Refusal) else replace(one, cancel_after_s=cancel_after_s, reuse=one.reuse or reuse)
        for one in asked
    ]
    batch_id, results = parts.submission.submit_batch(
        orders, request.account, body=_body(request), key=_key(request), received_at=request.received_at
    )
    accepted = [one for one in results if isinstance(one, Submitted)]
    if not accepted:
        raise all_refused([one for one in results if isinstance(one, Refusal)])
    jobs = parts.waiter.wait_for_all([one.job for one in accepted], preference, request.received_at)
    predictions: list[Mapping[str, Any]] = []
    pace: Mapping[str, str] = {}
    size = 0
    for one in results:
        if isinstance(one, Refusal):
            predictions.append({"problem": problem_of(one, request.path, request.request_id)})
        else:
            view = parts.views.short(jobs[one.job.id], request.origin, reused=one.is_reused)
            size += size_of(view.document)
            # What is too long for one answer is left to be read one by one.
            too_long = size > LARGEST_ANSWER and view.document.get("output") is not None
            predictions.append({**view.document, "output": None} if too_long else view.document)
            pace = pace or view.headers
    status = 200 if all(job.ended for job in jobs.values()) else 202
    headers = {**pace, "location": f"{request.origin}/predictions?batch_id={batch_id}", **_applied(preference)}
    return Response(status, {"batch_id": batch_id, "predictions": predictions}, headers)


def _tenant(request: Request) -> TenantId:
    return request.account.tenant


def _named(request: Request) -> str:
    return f"{request.params['owner']}/{request.params['name']}"


def _body(request: Request) -> str:
    """Identify the request as the caller wrote it."""
    return fingerprint([request.path, request.json])


def _key(request: Request) -> str | None:
    return request.headers.get("idempotency-key")


def _applied(preference: Preference) -> dict[str, str]:
    return {"preference-applied": preference.applied} if preference.applied else {}


handler = endpoint(
    (
        Route("POST", "/v1/models/{owner}/{name}/predictions", create_for_model, body=ModelPredictionBody),
        Route("POST", "/v1/deployments/{owner}/{name}/predictions", create_on_deployment, body=ModelPredictionBody),
        Route("POST", "/v1/models/{owner}/{name}/versions/{version}/trainings", create_training, body=TrainingBody),
        Route("POST", "/v1/predictions", create, body=PredictionBody),
        Route("POST", "/generate", generate, body=GenerateBody),
        Route("POST", "/train", train, body=TrainBody),
    ),
    wire=submit,
    accounts=lambda parts: parts.accounts,
    origins=lambda parts: parts.settings.origins,
)
