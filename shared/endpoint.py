"""The layer around every HTTP function: event in, authenticated and validated request, use case, response out.

A function declares its routes as data. A route needs an API key unless it says that it is public; a body is parsed
into the type that the route names; every refusal becomes one problem document (RFC 9457), and what nobody expected a
500 that names the request, with the details in the log only.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.errors import KINDS, Code, Refusal
from shared.identifiers import is_job_id
from shared.logs import get_logger, log_unexpected
from shared.outages import is_outage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import BaseModel

    from shared.accounts import Account, Accounts
    from shared.job import Millis

LARGEST_BODY = 5_000_000  # bytes; a Lambda function is given up to 6 MB, with base64 on the way
LARGEST_ANSWER = 5_500_000  # bytes as Lambda counts them: 6 MB, with its own encoding of ours
PROBLEM = "application/problem+json"
JSON = "application/json"
SCHEMES = ("bearer", "token")  # older clients of Replicate send `Token`
REPLICATE_BASE = re.compile(r"/v1/(v1/.*)|/(predictions|trainings|models/.*)")


@dataclass(frozen=True)
class Request:
    """One HTTP request. Header names are in lower case; `origin` is ours, as the caller wrote it."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    raw_body: bytes
    received_at: Millis
    request_id: str
    origin: str
    params: Mapping[str, str] = field(default_factory=dict)  # of the path
    caller: Account | None = None
    json: Any = None  # the decoded body
    body: Any = None  # of the type that the route names

    @property
    def account(self) -> Account:
        """The tenant that asks; only routes that are not public have one."""
        if self.caller is None:
            raise ValueError("a public route has no caller")
        return self.caller


@dataclass(frozen=True)
class Response:
    """One HTTP answer; a `body` of bytes is sent as it is, anything else as JSON, None as nothing."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Route[U]:
    """One operation: `path` has names in braces, `run` is the use case.

    `body` names the type that the JSON body is parsed into, or imports it where a function's other routes do without
    pydantic; without it the body stays bytes.
    """

    method: str
    path: str
    run: Callable[[Request, U], Response]
    body: type[BaseModel] | Callable[[], type[BaseModel]] | None = None
    public: bool = False

    @property
    def model(self) -> type[BaseModel] | None:
        """The type of the body."""
        return self.body if self.body is None or isinstance(self.body, type) else self.body()

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """Give the values of the names in the path, or None if it is another route."""
        if method != self.method:
            return None
        pattern = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", self.path.replace(".", r"\."))
        found = re.fullmatch(pattern, path)
        return found.groupdict() if found else None


def endpoint[U](
    routes: Sequence[Route[U]],
    *,
    wire: Callable[[], U],
    accounts: Callable[[U], Accounts | None] = lambda _: None,
    origins: Callable[[U], Sequence[str]] = lambda _: (),
) -> Callable[[Mapping[str, Any], Any], dict[str, Any]]:
    """Make the Lambda handler of some routes.

    `wire` gives the use cases, made at the first request and kept; `accounts` and `origins` pick what the layer
    itself needs of them. Without accounts, no route that is not public can be reached.
    """

    def handle(event: Mapping[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401, ARG001
        request_id = str(event.get("requestContext", {}).get("requestId", "unknown"))
        logger = get_logger()
        logger.append_keys(request_id=request_id)
        logger.remove_keys(["job_id", "tenant", "route"])
        try:
            use_cases = wire()
            request = _parse(event, origins(use_cases))
            response = _serve(routes, request, use_cases, accounts)
            logger.info("answered", status=response.status)
            return _render(response, request_id)
        except Refusal as refusal:
            logger.info("refused", code=refusal.code, status=KINDS[refusal.code].status)
            return _render(problem_response(refusal, str(event.get("rawPath", "")), request_id), request_id)
        except Exception as error:  # noqa: BLE001 - the last resort, where every bug becomes a 500
            log_unexpected("internal_error", error)
            unexpected = _unexpected(error)
            return _render(problem_response(unexpected, str(event.get("rawPath", "")), request_id), request_id)

    handle.routes = routes  # type: ignore[attr-defined]  # the OpenAPI document is made of them
    return handle


def _unexpected(error: Exception) -> Refusal:
    if is_outage(error):
        return Refusal(Code.UPSTREAM_UNAVAILABLE, "The service is overloaded or cut off. Come back.", retry_after=2)
    return Refusal(Code.INTERNAL, "Something went wrong here. Please report it with its request id.", retry_after=5)


def problem_of(refusal: Refusal, instance: str, request_id: str) -> dict[str, Any]:
    """Give the problem document of a refusal."""
    kind = KINDS[refusal.code]
    return {
        "type": f"urn:afterimage:problem:{refusal.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": refusal.detail,
        "instance": instance,
        "code": refusal.code,
        "retryable": kind.retryable and (refusal.retry_after is not None or kind.status >= 500),  # noqa: PLR2004
        "request_id": request_id,
        "invalid_fields": [{"field": one.field, "description": one.description} for one in refusal.invalid_fields],
    }


def problem_response(refusal: Refusal, instance: str, request_id: str) -> Response:
    """Give the answer that a refusal becomes."""
    document = problem_of(refusal, instance, request_id)
    headers = {"content-type": PROBLEM, **refusal.headers}
    if refusal.retry_after is not None:
        headers["retry-after"] = str(math.ceil(refusal.retry_after))
    if not document["retryable"]:
        headers["x-should-retry"] = "false"
    if refusal.code is Code.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    return Response(document["status"], document, headers)


def _parse(event: Mapping[str, Any], origins: Sequence[str]) -> Request:
    """Read an event of an HTTP API (payload format 2.0); the only place that sees one."""
    context = event["requestContext"]
    headers = {name.lower(): value for name, value in event.get("headers", {}).items()}
    body = event.get("body") or ""
    try:
        raw = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    except (binascii.Error, UnicodeEncodeError) as error:
        raise Refusal(Code.MALFORMED_JSON, "The body is not readable.") from error
    # A request is answered with links to where it came from, if that is one of our own places.
    came_from = f"{headers.get('x-forwarded-proto', 'https')}://{headers.get('host', '')}".lower()
    return Request(
        method=context["http"]["method"],
        path=event["rawPath"],
        headers=headers,
        query=event.get("queryStringParameters", {}),
        raw_body=raw,
        received_at=context["timeEpoch"],
        request_id=context["requestId"],
        origin=came_from if came_from in origins or not origins else origins[0],
    )


def _serve[U](
    routes: Sequence[Route[U]], request: Request, use_cases: U, accounts: Callable[[U], Accounts | None]
) -> Response:
    for route in routes:
        if (params := route.match(request.method, request.path)) is None:
            continue
        get_logger().append_keys(route=f"{route.method} {route.path}")
        # Anything else that stands there may be what must not be logged.
        if is_job_id(job_id := params.get("job_id", "")):
            get_logger().append_keys(job_id=job_id)
        caller = None if route.public else _authenticate(request, accounts(use_cases))
        decoded = _decode_json(request) if route.body else None
        known = Request(**{**vars(request), "params": params, "caller": caller, "json": decoded})
        if model := route.model:
            known = Request(**{**vars(known), "body": _validate(model, decoded)})
        return route.run(known, use_cases)
    raise _no_route(request)


def _authenticate(request: Request, accounts: Accounts | None) -> Account:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if accounts is None or scheme.lower() not in SCHEMES:
        raise Refusal(Code.UNAUTHORIZED, "Send your API key as `Authorization: Bearer <key>`.")
    if (account := accounts.authenticate(key.strip())) is None:
        raise Refusal(Code.UNAUTHORIZED, "This API key is not valid. It may have been revoked, or have expired.")
    get_logger().append_keys(tenant=account.tenant)
    return account


def _decode_json(request: Request) -> Any:  # noqa: ANN401
    media_type = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if media_type != JSON and not media_type.endswith("+json"):
        detail = f"Send the body as {JSON}, with that content type; this one says {media_type[:100]!r}."
        raise Refusal(Code.UNSUPPORTED_MEDIA_TYPE, detail)
    if len(request.raw_body) > LARGEST_BODY:
        detail = f"The body has {len(request.raw_body)} bytes, and may have {LARGEST_BODY}."
        raise Refusal(Code.PAYLOAD_TOO_LARGE, detail)
    try:
        decoded = json.loads(request.raw_body, parse_constant=_refuse_constant, parse_float=_finite)
        json.dumps(decoded, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise Refusal(Code.MALFORMED_JSON, "The body is not valid JSON in UTF-8.") from error
    if not isinstance(decoded, dict):
        raise Refusal(Code.INVALID_INPUT, "The body must be a JSON object.")
    return decoded


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)  # such as 1e999, which could be sent to nobody
    return number


def _validate(body: type[BaseModel], decoded: Any) -> BaseModel:  # noqa: ANN401
    # Pydantic is imported only by functions whose routes name a body, and is there by now.
    from pydantic import ValidationError  # noqa: PLC0415

    from shared.validation import invalid  # noqa: PLC0415

    try:
        return body.model_validate(decoded)
    except ValidationError as error:
        raise invalid(error, known=list(body.model_fields)) from None


def _no_route(request: Request) -> Refusal:
    """Say what is not there, and what a client with the wrong base URL should change."""
    if match := REPLICATE_BASE.fullmatch(request.path):
        wanted = f"/{match[1]}" if match[1] else f"/v1/{match[2]}"
        ends = "without /v1" if match[1] else "with /v1"
        detail = f"Replicate's interface is at {wanted}: this client's base URL must end {ends}."
        return Refusal(Code.NOT_OFFERED, detail)
    if request.path.startswith("/v1/"):
        return Refusal(Code.NOT_OFFERED, f"{request.method} {request.path[:200]} is not offered here.")
    return Refusal(Code.NOT_FOUND, f"There is nothing at {request.method} {request.path[:200]}.")


def size_of(document: Any) -> int:  # noqa: ANN401
    """Give how many bytes a document takes in an answer of Lambda's, which holds it as a string."""
    return len(json.dumps(json.dumps(document, ensure_ascii=False)))


def _render(response: Response, request_id: str) -> dict[str, Any]:
    headers = {"x-request-id": request_id, **response.headers}
    if response.body is None:
        return {"statusCode": response.status, "headers": headers}
    if isinstance(response.body, bytes):
        body = base64.b64encode(response.body).decode()
        return {"statusCode": response.status, "headers": headers, "body": body, "isBase64Encoded": True}
    headers.setdefault("content-type", JSON)
    return {"statusCode": response.status, "headers": headers, "body": json.dumps(response.body, ensure_ascii=False)}
