"""The gateway to Replicate, on its own Python package, with that package's traps closed.

What the package does that must not happen here, and what is done about it (in `_Transport`, which every request
passes): a create without a time limit is given one; retries that obey any `Retry-After` never start, since an error
answer leaves as an exception before the package sees it, together with the fields that the package would drop; a
document that the package cannot parse (status `aborted`) is read by us; and no request goes to another origin than
the configured one, so that neither does the token.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, override
from urllib.parse import quote

import httpx
from replicate.client import Client
from replicate.version import Versions

from shared.errors import Cause, InvalidField, UpstreamNotTaken, UpstreamRefused, UpstreamUnclear
from shared.job import Kind
from shared.prediction import Prediction, decode_document, parse_prediction, without_signatures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from replicate.prediction import Predictions
    from replicate.training import Trainings

    type Listing = Sequence[Any]

CONNECT_S = 5.0
READ_S = 15.0  # of silence; a create without `Prefer: wait` is answered well within a second
TOTAL_S = 20.0  # for one answer; submit must answer within the 30 s of an HTTP API
MOST_BYTES = 16 * 1024 * 1024  # of one answer
MOST_PAGES = 60  # of 100 predictions: ten minutes at the full rate
DETAIL_KEPT = 4_000  # characters: it is kept in the job, twice
FIELD_KEPT = 500
FIELDS_KEPT = 50
LONGEST_RETRY_S = 300.0  # a longer `Retry-After` is not believed
_RESETS_IN = re.compile(r"resets in ~?(\d+)\s*s")

# The request was never written: the connection could not be made at all.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


@dataclass(frozen=True, kw_only=True)
class Creation:
    """What is to be started: on a deployment if that is given, a training if a destination is."""

    model: str
    version: str | None = None
    deployment: str | None = None
    destination: str | None = None
    input: Mapping[str, Any]
    webhook: str | None = None
    events: Sequence[str] = ()
    cancel_after_s: int | None = None  # Replicate is to cancel it then by itself; predictions only


class ReplicateApi:
    """Starts predictions and trainings, reads and cancels them, and reads what there is to run."""

    def __init__(self, *, token: str, base_url: str, transport: httpx.BaseTransport | None = None) -> None:
        """Work with one account; `transport` replaces the network in tests."""
        if not token:
            raise ValueError("no token for Replicate")  # the package would look for one in the environment
        # No connection is kept: one that died while Lambda slept would make a create ambiguous.
        network = transport or httpx.HTTPTransport(limits=httpx.Limits(max_keepalive_connections=0))
        self._transport = _Transport(httpx.URL(base_url), network)
        self._client = Client(
            api_token=token,
            base_url=base_url,
            transport=self._transport,
            headers={"Accept-Encoding": "identity"},
        )

    def create(self, order: Creation) -> Prediction:
        """Start a prediction or a training.

        This may cost money, and is never repeated here.

        Raises:
            UpstreamRefused: nothing was started, and nothing will be.
            UpstreamNotTaken: nothing was started; it may be sent again.
            UpstreamUnclear: it may have been started.
        """
        hooks: Any = {"webhook": order.webhook, "webhook_events_filter": list(order.events)} if order.webhook else {}
        given, client = dict(order.input), self._client
        if order.cancel_after_s is not None:
            self._transport.headers = {"Cancel-After": f"{order.cancel_after_s}s"}
        if order.destination is not None:
            trainer, destination = f"{order.model}:{order.version}", order.destination
            trainings = client.trainings
            return self._prediction(
                lambda: trainings.create(version=trainer, input=given, destination=destination, **hooks)
            )
        if order.deployment is not None:
            deployment = order.deployment
            return self._prediction(lambda: client.deployments.predictions.create(deployment, given, **hooks))
        if order.version is not None:
            version = order.version
            return self._prediction(lambda: client.predictions.create(version=version, input=given, **hooks))
        return self._prediction(lambda: client.models.predictions.create(order.model, given, **hooks))

    def get(self, prediction_id: str, kind: Kind = Kind.PREDICTION) -> Any:  # noqa: ANN401
        """Read a prediction or a training, as Replicate's own document.

        Raises:
            UpstreamRefused: there is none (404).
            UpstreamNotTaken, UpstreamUnclear: it cannot be read now.
        """
        return self._document(lambda: self._made_of(kind).get(prediction_id))

    def cancel(self, prediction_id: str, kind: Kind = Kind.PREDICTION) -> Any:  # noqa: ANN401
        """Cancel it, and give its document; what has ended stays as it is. Raises as `get` does."""
        return self._document(lambda: self._made_of(kind).cancel(prediction_id))

    def pages(self, *, since: str, kind: Kind = Kind.PREDICTION) -> Iterator[Listing]:
        """Give the pages of the account's predictions, or trainings, that were created at `since` (ISO 8601) or later.

        Trainings cannot be narrowed by time: they come newest first, and pages are given until one reaches `since`.
        Raises as `get` does, also between pages: what was not listed to the end proves nothing.
        """
        is_training = kind is Kind.TRAINING
        url: str | None = "/v1/trainings" if is_training else f"/v1/predictions?created_after={quote(since)}"
        for _ in range(MOST_PAGES):
            if url is None:
                return
            cursor = url
            answer = self._call(lambda: self._made_of(kind).list(cursor))  # noqa: B023 - called at once
            if not isinstance(answer, dict) or not isinstance(answer.get("results"), list):
                raise UpstreamUnclear("the answer is not a list")
            results = answer["results"]
            yield results
            url = answer.get("next")
            if is_training and results and _is_before(results[-1], since):
                return
        raise UpstreamUnclear("the list does not end")

    def model(self, name: str) -> Any:  # noqa: ANN401
        """Read Replicate's document of a model (`owner/name`). Raises as `get` does."""
        return self._read(lambda: self._client.models.get(name))

    def versions(self, name: str) -> Any:  # noqa: ANN401
        """Read the first page of a model's versions. Raises as `get` does."""
        return self._read(lambda: Versions(self._client, name).list())

    def version(self, name: str, version: str) -> Any:  # noqa: ANN401
        """Read one version of a model. Raises as `get` does."""
        return self._read(lambda: Versions(self._client, name).get(version))

    def deployment(self, name: str) -> Any:  # noqa: ANN401
        """Read a deployment (`owner/name`). Raises as `get` does."""
        return self._read(lambda: self._client.deployments.get(name))

    def account(self) -> Any:  # noqa: ANN401
        """Read the account that the token belongs to. Raises as `get` does."""
        return self._read(self._client.accounts.current)

    def webhook_secret(self) -> str:
        """Read the secret that Replicate signs this account's webhooks with. Raises as `get` does."""
        return str(self._read(self._client.webhooks.default.secret).get("key", ""))

    def create_model(self, name: str) -> None:
        """Make a private model without a version, for a training to put its own there. Raises as `create` does."""
        owner, _, own = name.partition("/")
        # The hardware counts only where the model runs without a version of its own choice: the cheapest will do.
        self._read(lambda: self._client.models.create(owner, own, visibility="private", hardware="cpu"))

    def _made_of(self, kind: Kind) -> Trainings | Predictions:
        return self._client.trainings if kind is Kind.TRAINING else self._client.predictions

    def _read(self, send: Callable[[], object]) -> Any:  # noqa: ANN401
        document = self._call(send)
        if not isinstance(document, dict):
            raise UpstreamUnclear("the answer is not an object")
        return document

    def _document(self, send: Callable[[], object]) -> Any:  # noqa: ANN401
        document = self._call(send)
        try:
            parse_prediction(document)
        except ValueError as error:
            raise UpstreamUnclear("the answer is not a prediction") from error
        return document

    def _prediction(self, send: Callable[[], object]) -> Prediction:
        return parse_prediction(self._document(send))

    def _call(self, send: Callable[[], object]) -> Any:  # noqa: ANN401
        self._transport.answer = None
        try:
            send()
        except _ErrorAnswer as answer:
            raise _translate(answer) from answer
        except _NOT_SENT as error:
            raise UpstreamNotTaken(Cause.NO_CONNECTION) from error
        except httpx.HTTPError as error:
            raise UpstreamUnclear(f"no answer: {type(error).__name__}") from error
        except Exception:
            # The package could not read what Replicate answered; if there is an answer, we can.
            if self._transport.answer is None:
                raise
        finally:
            self._transport.headers = {}
        try:
            return decode_document(self._transport.answer or b"")
        except (ValueError, RecursionError) as error:
            raise UpstreamUnclear("the answer is not JSON") from error


class _ErrorAnswer(Exception):
    """Replicate answered, but not with success."""

    def __init__(self, status: int, headers: httpx.Headers, body: bytes) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.headers = headers
        self.body = body


class _Transport(httpx.BaseTransport):
    """Bounds each request, keeps it to one origin, and keeps the raw answer."""

    def __init__(self, base_url: httpx.URL, network: httpx.BaseTransport) -> None:
        self._origin = _origin(base_url)
        self._network = network
        self.answer: bytes | None = None
        self.headers: Mapping[str, str] = {}  # of the next request; the package cannot be told of any

    @override
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if _origin(request.url) != self._origin:
            raise httpx.UnsupportedProtocol("Replicate's token is for Replicate's API only", request=request)
        request.headers.update(self.headers)
        request.extensions["timeout"] = {"connect": CONNECT_S, "pool": CONNECT_S, "read": READ_S, "write": READ_S}
        until = time.monotonic() + TOTAL_S
        response = self._network.handle_request(request)
        try:
            body = bytearray()
            for part in response.iter_raw():
                body += part
                if len(body) > MOST_BYTES or time.monotonic() > until:
                    raise httpx.ReadError("the answer is too long, or takes too long", request=request)
        finally:
            response.close()
        if not response.is_success:
            raise _ErrorAnswer(response.status_code, response.headers, bytes(body))
        self.answer = bytes(body)
        return httpx.Response(response.status_code, headers=response.headers, content=self.answer)

    @override
    def close(self) -> None:
        self._network.close()


def _is_before(document: Any, since: str) -> bool:  # noqa: ANN401
    created_at: Any = document.get("created_at") if isinstance(document, dict) else None
    try:
        return datetime.fromisoformat(created_at) < datetime.fromisoformat(since)
    except (TypeError, ValueError):
        return False


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _translate(answer: _ErrorAnswer) -> UpstreamRefused | UpstreamNotTaken | UpstreamUnclear:
    try:
        parsed = json.loads(answer.body)
    except (ValueError, RecursionError):
        parsed = None
    document = parsed if isinstance(parsed, dict) else {}
    said = document.get("detail") or document.get("title") or f"Replicate answered {answer.status}."
    detail = without_signatures(str(said).strip()[:DETAIL_KEPT])
    match answer.status:
        case 429:
            return UpstreamNotTaken(Cause.THROTTLED, _retry_after(document, answer.headers, detail))
        case 402:
            return UpstreamNotTaken(Cause.NO_CREDIT)
        case 401:
            return UpstreamNotTaken(Cause.CREDENTIALS)
        case 403:
            return UpstreamNotTaken(Cause.FORBIDDEN)
        case 400 | 404 | 405 | 409 | 410 | 413 | 415 | 422:
            return UpstreamRefused(answer.status, detail, _invalid_fields(document))
    return UpstreamUnclear(f"status {answer.status}")


def _retry_after(document: Mapping[str, Any], headers: httpx.Headers, detail: str) -> float | None:
    """Find Replicate's own word on when to come back: in a field, in the header, or only in the text."""
    in_text = _RESETS_IN.search(detail)
    for given in (document.get("retry_after"), headers.get("retry-after"), in_text[1] if in_text else None):
        try:
            seconds = float(given)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
        if seconds >= 0:
            return min(seconds, LONGEST_RETRY_S)
    return None


def _invalid_fields(document: Mapping[str, Any]) -> tuple[InvalidField, ...]:
    given = document.get("invalid_fields")
    return tuple(
        InvalidField(
            str(one.get("field", "input"))[:FIELD_KEPT],
            without_signatures(str(one.get("description", ""))[:FIELD_KEPT]),
        )
        for one in (given if isinstance(given, list) else ())[:FIELDS_KEPT]
        if isinstance(one, dict)
    )
