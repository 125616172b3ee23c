"""Replicate's HTTP interface: routes, authentication, faults, and the answers."""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from json import JSONDecodeError, dumps, loads
from typing import Any

from infra.local.simulator.catalog import ACCOUNT, Catalog
from infra.local.simulator.clock import Scheduler, utc_now, written
from infra.local.simulator.faults import EVENTS, Fault, Faults
from infra.local.simulator.hosting import Hosting
from infra.local.simulator.listener import Answer, Places, Request, reply
from infra.local.simulator.pages import paged
from infra.local.simulator.prediction import DEFAULT_EVENTS, Order, Prediction
from infra.local.simulator.predictions import Predictions
from infra.local.simulator.problems import REFUSALS, THROTTLED, invalid, not_found, problem
from infra.local.simulator.records import Records
from infra.local.simulator.training import Training
from infra.local.simulator.validation import Invalid, check_body, check_input

PAGE = 100
BODY = ("input", "webhook", "webhook_events_filter")
PREDICTION_BODY = (*BODY, "stream")
NO_VERSION = "The specified version does not exist (or perhaps you don't have permission to use it?)"
NO_DESTINATION = {"detail": "The specified training destination does not exist", "status": 404}
MOMENTS = ("created_at", "started_at", "completed_at")
DURATION = re.compile(r"(?:(?P<hours>\d+)h)?(?:(?P<minutes>\d+)m)?(?:(?P<seconds>\d+)s?)?")
MODEL = r"/v1/models/([^/]+/[^/]+)"
DEPLOYMENT = r"/v1/deployments/([^/]+/[^/]+)"


@dataclass(frozen=True)
class Route:
    """Who answers; `on` names the faults that it meets, `kind` what it is about."""

    method: str
    path: str
    act: Callable[..., Answer]
    on: str | None = None
    kind: str | None = None


class Api:
    """Replicate's API, from request to answer."""

    def __init__(
        self,
        *,
        token: str,
        webhook_secret: str,
        scheduler: Scheduler,
        faults: Faults,
        predictions: Predictions,
        catalog: Catalog,
        places: Places,
        records: Records,
    ) -> None:
        self._token = token
        self._webhook_secret = webhook_secret
        self._scheduler = scheduler
        self._faults = faults
        self._predictions = predictions
        self._catalog = catalog
        self._places = places
        self._records = records
        self._hosting = Hosting(catalog=catalog, places=places)
        self._routes = [
            Route("POST", "/v1/predictions", self._create_by_version, "create", Prediction.kind),
            Route("POST", MODEL + "/predictions", self._create_by_model, "create", Prediction.kind),
            Route("POST", DEPLOYMENT + "/predictions", self._create_by_deployment, "create", Prediction.kind),
            Route("POST", MODEL + "/versions/([^/]+)/trainings", self._create_training, "create", Training.kind),
            *(route for kind in (Prediction.kind, Training.kind) for route in self._routes_to_one(kind)),
            Route("GET", "/v1/account", lambda _: reply(200, ACCOUNT)),
            Route("GET", "/v1/webhooks/default/secret", self._secret),
            Route("GET", "/v1/models", self._hosting.models, "model"),
            Route("POST", "/v1/models", self._create_model, "model"),
            Route("GET", MODEL, self._hosting.model, "model"),
            Route("GET", MODEL + "/versions", self._hosting.versions, "model"),
            Route("GET", MODEL + "/versions/([^/]+)", self._hosting.version, "model"),
            Route("GET", "/v1/deployments", self._hosting.deployments, "model"),
            Route("GET", DEPLOYMENT, self._hosting.deployment, "model"),
        ]

    def __call__(self, request: Request) -> Answer:
        """Answer one request, and record it."""
        for route in self._routes:
            if route.method == request.method and (match := re.fullmatch(route.path, request.path)):
                return self._answer(request, route, match.groups())
        answer = not_found()
        self._records.call(None, request, answer, None)
        return answer

    def _answer(self, request: Request, route: Route, names: tuple[str, ...]) -> Answer:
        fault: Fault | None = None
        if self._authenticated(request):
            fault = self._faults.take(route.on) if route.on else None
            answer = self._meet(fault, partial(self._act, route, request, names))
        else:
            answer = problem(*REFUSALS["unauthorized"])
        if route.on in {"get", "cancel"}:
            answer.prediction_id = names[0]
        self._records.call(route.on, request, answer, fault, kind=route.kind)
        return answer

    def _routes_to_one(self, kind: str) -> list[Route]:
        path = f"/v1/{kind}s"
        return [
            Route("GET", path, partial(self._list, kind), "list", kind),
            Route("GET", path + "/([^/]+)", partial(self._get, kind), "get", kind),
            Route("POST", path + "/([^/]+)/cancel", partial(self._cancel, kind), "cancel", kind),
        ]

    def _authenticated(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() in {"bearer", "token"} and secrets.compare_digest(
            token.strip().encode(), self._token.encode()
        )

    def _meet(self, fault: Fault | None, act: Callable[[], Answer]) -> Answer:
        """Act, unless the fault comes first; what the fault makes of the answer."""
        if fault is None:
            return act()
        if instead := _instead(fault):
            self._scheduler.pause(fault.delay_s)
            return instead
        answer = act()
        self._scheduler.pause(fault.delay_s)
        match fault.kind:
            case "cut_after_taken":
                return replace(answer, status=None)
            case "garbage":
                return replace(answer, status=200, body=b"<html>It works!", content_type="text/html")
            case "hide_webhook" | "lag" | "aged":
                return _retold(answer, fault)
        return answer

    @staticmethod
    def _act(route: Route, request: Request, names: tuple[str, ...]) -> Answer:
        try:
            return route.act(request, *names)
        except _Refused as refused:
            return refused.answer

    # Creating.

    def _create_by_version(self, request: Request) -> Answer:
        body = _body(request, (*PREDICTION_BODY, "version"), ("version", "input"))
        found = self._catalog.find(body["version"])
        if not found:
            return problem(422, "Invalid version or not permitted", NO_VERSION)
        model, version = found
        return self._create(request, Order(model=model, version=version, input=body["input"]), body)

    def _create_by_model(self, request: Request, name: str) -> Answer:
        model = self._catalog.official(name)
        if not model:
            return not_found()
        body = _body(request, PREDICTION_BODY, ("input",))
        return self._create(request, Order(model=model, version="hidden", input=body["input"]), body)

    def _create_by_deployment(self, request: Request, name: str) -> Answer:
        deployment = self._catalog.deployments.get(name)
        if not deployment:
            return not_found()
        body = _body(request, PREDICTION_BODY, ("input",))
        model = deployment.model
        order = Order(model=model, version=model.version, deployment=name, input=body["input"])
        return self._create(request, order, body)

    def _create(self, request: Request, order: Order, body: Mapping[str, Any]) -> Answer:
        """Check the input, start the prediction, and wait for it if that is preferred."""
        if errors := [*check_input(order.inputs, order.input), *_wrong_hooks(body)]:
            return invalid(*errors)
        order = replace(_hooked(order, body), cancel_after_s=_duration(request.headers.get("cancel-after", "")))
        prediction, taken = self._predictions.create(order)
        wait_s = _wait(request.headers.get("prefer", ""))
        if wait_s is None:
            return reply(201, taken, prediction.id)
        if prediction.settled.wait(wait_s):
            return reply(201, prediction.settled_as, prediction.id)
        return reply(202, taken, prediction.id)

    def _create_training(self, request: Request, name: str, version: str) -> Answer:
        """Start a training; its input is looked at when it runs."""
        found = self._catalog.find(f"{name}:{version}")
        if not found:
            return not_found()
        model, version = found
        if model.training is None:
            return problem(422, "Invalid version or not permitted", "This version cannot be trained.")
        body = _body(request, (*BODY, "destination"), ("destination", "input"))
        destination = body["destination"]
        if not destination.startswith(f"{ACCOUNT['username']}/") or not self._catalog.get(destination):
            return reply(404, NO_DESTINATION)
        if errors := _wrong_hooks(body):
            return invalid(*errors)
        order = Order(model=model, version=version, destination=destination, input=body["input"])
        training, taken = self._predictions.create(_hooked(order, body))
        return reply(201, taken, training.id)

    def _create_model(self, request: Request) -> Answer:
        return self._hosting.create_model(_json_object(request))

    # Reading and canceling.

    def _get(self, kind: str, _: Request, prediction_id: str) -> Answer:
        prediction = self._predictions.get(kind, prediction_id)
        return reply(200, self._predictions.shown(prediction), prediction_id) if prediction else not_found()

    def _cancel(self, kind: str, _: Request, prediction_id: str) -> Answer:
        prediction = self._predictions.get(kind, prediction_id)
        return reply(200, self._predictions.cancel(prediction), prediction_id) if prediction else not_found()

    def _list(self, kind: str, request: Request) -> Answer:
        """Newest first; predictions, but not trainings, can be asked for by the time of their creation."""
        times = request.query if kind == Prediction.kind else {}
        try:
            after, before = (_moment(times.get(name)) for name in ("created_after", "created_before"))
            listed = [
                each
                for each in self._predictions.newest_first(kind)
                if (not after or each.created_at >= after) and (not before or each.created_at < before)
            ]
            return paged(request, self._places.api, listed, self._predictions.shown, PAGE)
        except ValueError:
            return problem(400, "Bad request", "Invalid cursor, created_after or created_before.")

    def _secret(self, _: Request) -> Answer:
        return reply(200, {"key": self._webhook_secret})


class _Refused(Exception):
    """The request cannot be used; carries the answer that says so."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


def _instead(fault: Fault) -> Answer | None:
    """The answer of a fault that keeps the call from being acted on."""
    options = fault.options
    match fault.kind:
        case "throttled":
            answer = reply(429, THROTTLED[options["variant"]])
            if options["retry_after"] is not None:
                answer.headers["Retry-After"] = str(options["retry_after"])
            return answer
        case "error_500":
            return problem(options["status"], "Internal Server Error", "An internal error occurred.")
        case "invalid":
            return invalid(Invalid("invalid_type", options["field"], options["description"]))
        case "cut_before_taken" | "cut":
            return Answer(None)
    return problem(*REFUSALS[fault.kind]) if fault.kind in REFUSALS else None


def _retold(answer: Answer, fault: Fault) -> Answer:
    """Leave out of a prediction its webhook, or of a page those that are too young; or let it be long ago."""
    document = loads(answer.body)
    if fault.kind == "lag":
        oldest_hidden = utc_now() - timedelta(seconds=fault.options["seconds"])
        document["results"] = [
            each for each in document["results"] if datetime.fromisoformat(each["created_at"]) < oldest_hidden
        ]
    elif fault.kind == "aged":
        age = timedelta(seconds=fault.options["seconds"])
        moments = {name: document[name] for name in MOMENTS if document.get(name)}
        document |= {name: written(datetime.fromisoformat(moment) - age) for name, moment in moments.items()}
    else:
        for each in document.get("results", [document]):
            each.pop("webhook", None)
    return replace(answer, body=dumps(document).encode())


def _body(request: Request, allowed: tuple[str, ...], required: tuple[str, ...]) -> dict[str, Any]:
    """Read the body of a create, or refuse it."""
    body = _json_object(request)
    if errors := check_body(body, allowed, required):
        raise _Refused(invalid(*errors))
    return body


def _json_object(request: Request) -> dict[str, Any]:
    try:
        body = loads(request.body)
    except (JSONDecodeError, UnicodeDecodeError) as wrong:
        raise _Refused(problem(400, "Bad request", "Request body is not valid JSON.")) from wrong
    if not isinstance(body, dict):
        raise _Refused(invalid(Invalid("invalid_type", "", "Invalid type. Expected: object, given: another")))
    return body


def _wrong_hooks(body: Mapping[str, Any]) -> list[Invalid]:
    """List what is wrong with the webhook and its events; unlike Replicate's, a webhook here may be http."""
    errors = []
    webhook = body.get("webhook")
    if webhook is not None and not webhook.startswith(("http://", "https://")):
        errors.append(Invalid("format", "webhook", "Not a valid HTTPS URL"))
    for n, event in enumerate(body.get("webhook_events_filter", ())):
        if event not in EVENTS:
            field = f"webhook_events_filter.{n}"
            allowed = ", ".join(f'"{each}"' for each in EVENTS)
            errors.append(Invalid("enum", field, f"{field} must be one of the following: {allowed}"))
    return errors


def _hooked(order: Order, body: Mapping[str, Any]) -> Order:
    events = tuple(body.get("webhook_events_filter", DEFAULT_EVENTS))
    return replace(order, webhook=body.get("webhook"), events=events)


def _wait(prefer: str) -> float | None:
    """Seconds to hold the answer: `wait` means 60, `wait=N` is bounded to 1..60."""
    for part in prefer.split(","):
        name, _, value = part.strip().partition("=")
        if name.lower() == "wait":
            return min(60.0, max(1.0, float(value))) if value.isdigit() else 60.0
    return None


def _duration(value: str) -> float | None:
    match = DURATION.fullmatch(value.strip())
    if not value.strip() or not match:
        return None
    parts = {name: int(number or 0) for name, number in match.groupdict().items()}
    return float(parts["hours"] * 3600 + parts["minutes"] * 60 + parts["seconds"])


def _moment(value: str | None) -> datetime | None:
    if not value:
        return None
    moment = datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
