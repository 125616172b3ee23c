"""Replicate, played: as a transport for the gateway alone, or served on loopback for whole functions."""

import itertools
import json
from collections.abc import Mapping
from typing import Any, override

import httpx

from tests.support.loopback import Answer, Call

TOKEN = "r8_made_up_token"


def prediction(prediction_id: str = "p1", status: str = "starting", **fields: Any) -> dict[str, Any]:
    """Give a document as Replicate does."""
    return {
        "id": prediction_id,
        "model": "black-forest-labs/flux-schnell",
        "version": "hidden",
        "input": {"prompt": "a fox"},
        "output": None,
        "error": None,
        "logs": "",
        "status": status,
        "created_at": "2026-11-01T12:00:00.000Z",
        "started_at": None,
        "completed_at": None,
        "metrics": {},
        "data_removed": False,
        "source": "api",
        "urls": {
            "get": f"https://api.replicate.com/v1/predictions/{prediction_id}",
            "cancel": f"https://api.replicate.com/v1/predictions/{prediction_id}/cancel",
        },
        **fields,
    }


def training(training_id: str = "p1", status: str = "starting", **fields: Any) -> dict[str, Any]:
    """Give the document of a training as Replicate does."""
    own: dict[str, Any] = {
        "model": "ostris/flux-dev-lora-trainer",
        "version": "d995297071a44dcb72244e6c19462111649ec86a9646c32df56daa7f14801944",
        "input": {"input_images": "https://example.com/fox.zip", "trigger_word": "FOXY", "steps": 1000},
        "urls": {
            "get": f"https://api.replicate.com/v1/trainings/{training_id}",
            "cancel": f"https://api.replicate.com/v1/trainings/{training_id}/cancel",
        },
    }
    return prediction(training_id, status, **{**own, **fields})


def answer(status: int, document: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """Give an answer in JSON."""
    return Answer(status, json.dumps(document).encode(), {"content-type": "application/json", **(headers or {})})


class FakeReplicate(httpx.BaseTransport):
    """Gives the answers that were lined up, one a request, then new predictions; remembers all requests."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        # Models, versions and deployments by their paths: documents, or answers, or lists of one after the other.
        self.catalog: dict[str, Any] = {}
        self.catalog_calls: list[str] = []
        self._lined_up: list[Answer | Exception] = []
        self._numbers = itertools.count(1)

    def will(self, *answers: Answer | Exception) -> None:
        """Line up answers; an exception is what the network raises (only as a transport)."""
        self._lined_up += answers

    def forget(self) -> None:
        """Forget all requests, and the answers that were lined up."""
        self.calls.clear()
        self.catalog_calls.clear()
        self._lined_up.clear()

    @property
    def created(self) -> list[dict[str, Any]]:
        """The bodies of all creates that arrived."""
        return [json.loads(call.body) for call in self.calls if call.method == "POST"]

    def respond(self, call: Call) -> Answer:
        if call.method == "GET" and call.path.startswith(("/v1/models/", "/v1/deployments/")):
            self.catalog_calls.append(call.path)
            known = self.catalog.get(call.path.removeprefix("/v1/"))
            if isinstance(known, list):
                known = known.pop(0) if len(known) > 1 else known[0]
            if isinstance(known, Answer):
                return known
            return answer(200, known) if known else answer(404, {"detail": "not found", "status": 404})
        self.calls.append(call)
        if not self._lined_up:
            if call.path == "/v1/models":
                made = json.loads(call.body)
                return answer(201, self.catalog.setdefault(f"models/{made['owner']}/{made['name']}", made))
            return answer(201, prediction(f"prediction{next(self._numbers)}"))
        found = self._lined_up.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    @override
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        call = Call(request.method, request.url.raw_path.decode(), dict(request.headers), request.read())
        found = self.respond(call)
        return httpx.Response(found.status, headers=dict(found.headers), stream=httpx.ByteStream(found.body))
