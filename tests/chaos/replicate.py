"""Replicate, played in process and in virtual time: an account, the lives of its predictions, and their webhooks."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any, override

import httpx

from shared.errors import OutputExpired, OutputUnavailable
from shared.manifest import iso
from tests.chaos.faults import Call, Calls
from tests.support.world import Clock, data_uri, image

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    type At = Callable[[float, Callable[[], None]], None]

ORIGIN = "https://api.replicate.com"
OUTPUTS_LIVE_S = 3600
RETRIES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 29.0)  # of the last webhook only: about a minute
ALL_NSFW = "All generated images contained NSFW content. Try running it again with a different prompt."
THROTTLED = {"detail": "Request was throttled. Your rate limit resets in ~30s."}
NO_CREDIT = {"title": "Insufficient credit", "detail": "You have insufficient credit.", "status": 402}
INVALID = {
    "title": "Input validation failed",
    "detail": "- input.prompt: too bad",
    "status": 422,
    "invalid_fields": [{"type": "x", "field": "input.prompt", "description": "too bad"}],
}
ANSWERS: Mapping[str, tuple[int, Mapping[str, Any]]] = {
    "throttled": (429, THROTTLED),
    "no-credit": (402, NO_CREDIT),
    "refused": (422, INVALID),
}


@dataclass(frozen=True)
class Behaviour:
    """How Replicate is in a scenario."""

    ends: str = "succeeded"  # or failed, nsfw, aborted (before it starts), never
    withheld: int = 0  # images that the safety checker drops
    boots_s: float = 2.0
    runs_s: float = 6.0
    reports: int = 2  # of progress
    answers: tuple[str, ...] = ()  # to the first creates: throttled, no-credit, refused, taken or lost (no answer)
    webhooks: str = "sent"  # or lost, doubled, reversed, late (by two minutes), held (for a test to send)
    away_s: tuple[float, float] = (0.0, 0.0)  # from, to: nobody answers
    hides_webhook: bool = False  # in its answers
    lists_after_s: float = 0.0  # how long a prediction is missing in the list
    twins: int = 0  # predictions of somebody else, with the same input
    unavailable_s: float = 0.0  # after the end, the outputs' host answers 503
    poisoned: bool = False  # the first output is not what it says
    padding: int = 0  # bytes in each output


@dataclass
class Played:
    """One prediction."""

    id: str
    model: str
    input: Mapping[str, Any]
    created_at: int
    webhook: str | None = None
    status: str = "starting"
    started_at: int | None = None
    completed_at: int | None = None
    output: list[str] | None = None
    error: str | None = None
    logs: str = ""
    contents: list[bytes] = field(default_factory=list)
    canceled: bool = False  # because we asked

    @property
    def ended(self) -> bool:
        return self.completed_at is not None


class Replicate(httpx.BaseTransport):
    """The account; `functions` reach it through `transport_for`."""

    def __init__(self, behaviour: Behaviour, *, clock: Clock, at: At, post: Callable[[str, bytes, str], bool]) -> None:
        """`at` schedules something so many seconds from now; `post` sends a webhook, and says if it was taken."""
        self.behaviour = behaviour
        self.predictions: dict[str, Played] = {}
        self.posts = 0
        self._clock = clock
        self._began = clock()
        self._at = at
        self._post = post
        self.held: list[tuple[str, bytes]] = []

    def transport_for(self, function: str, calls: Calls) -> httpx.BaseTransport:
        """Give a function's way to Replicate."""

        def answer(request: httpx.Request) -> httpx.Response:
            perform = partial(self.handle_request, request)
            found: httpx.Response = calls.make(Call(function, f"replicate.{_operation(request)}"), perform)
            return found

        return _Transport(answer)

    @override
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        age_s = (self._clock() - self._began) / 1000
        if self.behaviour.away_s[0] <= age_s < self.behaviour.away_s[1]:
            raise httpx.ConnectError("nobody there")
        path = request.url.path
        match _operation(request):
            case "create":
                return self._create(path, json.loads(request.read()))
            case "list":
                return _answer(200, self._list(request.url.params["created_after"]))
        found = self.predictions.get(path.split("/")[3])
        if found is None:
            return _answer(404, {"detail": "The requested resource could not be found.", "status": 404})
        if path.endswith("/cancel") and not found.ended:
            found.canceled = True
            self._end(found, "canceled")
        return _answer(200, self.shown(found))

    def shown(self, one: Played) -> dict[str, Any]:
        """Give a prediction as Replicate does."""
        removed = one.completed_at is not None and self._clock() > one.completed_at + OUTPUTS_LIVE_S * 1000
        document: dict[str, Any] = {
            "id": one.id,
            "model": one.model,
            "version": "hidden",
            "input": {} if removed else one.input,
            "output": None if removed else one.output,
            "logs": "" if removed else one.logs,
            "data_removed": removed,
            "error": one.error,
            "source": "api",
            "status": one.status,
            "created_at": iso(_millis(one.created_at)),
            "started_at": iso(_millis(one.started_at)),
            "completed_at": iso(_millis(one.completed_at)),
            "urls": {"get": f"{ORIGIN}/v1/predictions/{one.id}", "cancel": f"{ORIGIN}/v1/predictions/{one.id}/cancel"},
            "metrics": {"predict_time": 1.0, "image_count": len(one.contents)} if one.contents else {},
        }
        if one.webhook is not None and not self.behaviour.hides_webhook:
            document["webhook"] = one.webhook
        return document

    def reach(self, prediction_id: str | None) -> None:
        """Stand for the host of the outputs, where an output is about to be read."""
        one = self.predictions[str(prediction_id)]
        age_s = (self._clock() - (one.completed_at or 0)) / 1000
        if age_s > OUTPUTS_LIVE_S:
            raise OutputExpired("an output's host answered 404")
        if age_s < self.behaviour.unavailable_s:
            raise OutputUnavailable("an output's host answered 503")

    def send_held(self, number: int) -> None:
        """Send a webhook that was held back; they are numbered in the order in which things happened."""
        url, body = self.held[number]
        self._send(url, body, f"msg_{number}", RETRIES_S)

    def _create(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        answers = self.behaviour.answers
        answer = answers[self.posts] if self.posts < len(answers) else ""
        self.posts += 1
        if answer in ANSWERS:
            return _answer(*ANSWERS[answer])
        if answer == "lost":
            self._clock.go_on(15)
            raise httpx.ReadTimeout("no answer")
        one = self._take("/".join(path.split("/")[3:5]), body["input"], body["webhook"])
        for _ in range(self.behaviour.twins):
            self._take(one.model, one.input, None)
        document = self.shown(one)
        if answer == "taken":
            self._clock.go_on(15)
            raise httpx.ReadTimeout("no answer")
        return _answer(201, document)

    def _take(self, model: str, given: Mapping[str, Any], webhook: str | None) -> Played:
        one = Played(f"prediction{len(self.predictions)}", model, given, self._clock(), webhook)
        self.predictions[one.id] = one
        self._announce(one, 0.1)
        self._plan(one)
        return one

    def _list(self, since: str) -> dict[str, Any]:
        visible = self._clock() - self.behaviour.lists_after_s * 1000
        earliest = datetime.fromisoformat(since).timestamp() * 1000
        found = [one for one in self.predictions.values() if earliest <= one.created_at <= visible]
        return {"next": None, "previous": None, "results": [self.shown(one) for one in reversed(found)]}

    # The life of one prediction. What comes after its end does nothing.

    def _plan(self, one: Played) -> None:
        how = self.behaviour
        if how.ends == "never":
            return
        if how.ends == "aborted":
            self._at(how.boots_s, lambda: self._end(one, "aborted"))
            return
        self._at(how.boots_s, lambda: self._report(one, 0))
        for number in range(1, how.reports + 1):
            percent = 100 * number // (how.reports + 1)
            self._at(how.boots_s + how.runs_s * percent / 100, partial(self._report, one, percent))
        self._at(how.boots_s + how.runs_s, lambda: self._finish(one))

    def _report(self, one: Played, percent: int) -> None:
        if one.ended:
            return
        one.status, one.started_at = "processing", one.started_at or self._clock()
        one.logs += f"{percent:3d}%|█         | {percent}/100\n" if percent else "Using seed: 1\n"
        self._announce(one, 0)

    def _finish(self, one: Played) -> None:
        if one.ended:
            return
        how = self.behaviour
        made = int(one.input.get("num_outputs", 1)) - how.withheld
        if how.ends == "failed":
            self._end(one, "failed", "E1001: out of memory")
        elif how.ends == "nsfw":
            self._end(one, "failed", ALL_NSFW)
        else:
            one.contents = [_content(n, how.padding) for n in range(made)]
            one.output = [data_uri(content, "image/png") for content in one.contents]
            if how.poisoned:
                one.output[0] = "data:image/png;base64,%%%"
            self._end(one, "succeeded")

    def _end(self, one: Played, status: str, error: str | None = None) -> None:
        if one.ended:
            return
        one.status, one.error, one.completed_at = status, error, self._clock()
        self._announce(one, 0.05)

    def _announce(self, one: Played, delay_s: float) -> None:
        if one.webhook is None:
            return
        url, body, how = one.webhook, json.dumps(self.shown(one)).encode(), self.behaviour.webhooks
        if how in {"reversed", "held"}:
            self.held.append((url, body))
            if one.ended and how == "reversed":
                for number in range(len(self.held)):
                    self._at(delay_s + number, partial(self.send_held, -1 - number))
        elif how != "lost":
            late_s = 120.0 if how == "late" else 0.0
            webhook_id = f"msg_{one.id}_{len(one.logs)}_{one.status}"
            for _ in range(2 if how == "doubled" else 1):
                retries = RETRIES_S if one.ended else ()
                self._at(delay_s + late_s, partial(self._send, url, body, webhook_id, retries))

    def _send(self, url: str, body: bytes, webhook_id: str, retries: tuple[float, ...]) -> None:
        if not self._post(url, body, webhook_id) and retries:
            self._at(retries[0], partial(self._send, url, body, webhook_id, retries[1:]))


class _Transport(httpx.BaseTransport):
    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self._answer = answer

    @override
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._answer(request)


def _operation(request: httpx.Request) -> str:
    path = request.url.path
    if request.method == "POST":
        return "cancel" if path.endswith("/cancel") else "create"
    return "get" if re.fullmatch(r"/v1/predictions/\w+", path) else "list"


def _answer(status: int, document: Mapping[str, Any]) -> httpx.Response:
    return httpx.Response(status, stream=httpx.ByteStream(json.dumps(document).encode()))


def _millis(at: int | None) -> Any:
    return at


@cache
def _content(n: int, padding: int) -> bytes:
    return image("PNG", (8 + n, 8)) + bytes(padding)
