"""What the tests of the simulator share: one that runs, those who ask it, and somebody who receives its webhooks."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from replicate.client import Client

from infra.local.simulator import Simulator

TOKEN = "r8_made_up"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # Unused here, and empty: loading certificates takes longer than a test.

PATIENCE_S = 120.0  # with a machine that does other things too


@dataclass
class Control:
    http: httpx.Client

    def faults(self, *faults: dict[str, Any]) -> None:
        assert self.http.put("/faults", json=faults).status_code == 200

    def active(self) -> Any:
        return self.http.get("/faults").json()

    def calls(self) -> Any:
        return self.http.get("/calls").json()

    def webhooks(self) -> list[dict[str, Any]]:
        return list(self.calls()["webhooks"])


@dataclass
class Receiver:
    url: str = ""
    answers: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]

    def handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.answers.pop(0) if receiver.answers else 200
                receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                if status == 302:
                    self.send_header("Location", receiver.url)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        return Handler


class Server(ThreadingHTTPServer):
    """Lets many callers wait: with the usual five, more are turned away when the machine is busy."""

    request_queue_size = 128


@dataclass(frozen=True)
class Stage:
    """A simulator, Replicate's own client, a plain one, and the control port."""

    simulator: Simulator
    client: Client
    api: httpx.Client
    control: Control

    def finished(self, prediction_id: str, kind: str = "predictions") -> dict[str, Any]:
        return finished(self.api, prediction_id, kind)


@contextmanager
def staged() -> Iterator[Stage]:
    """A simulator that takes next to no time."""
    with (
        simulated() as simulator,
        connected(simulator) as client,
        asking(simulator) as api,
        controlling(simulator) as control,
    ):
        yield Stage(simulator, client, api, control)


@contextmanager
def simulated() -> Iterator[Simulator]:
    delays = (0.05, 0.05, 0.05)
    with Simulator(
        api_token=TOKEN, webhook_secret=SECRET, duration_s=0.05, training_duration_s=0.1, retry_delays_s=delays
    ) as running:
        yield running


@contextmanager
def connected(simulator: Simulator, token: str = TOKEN) -> Iterator[Client]:
    """Replicate's client; it never closes its connections itself."""
    transport = httpx.HTTPTransport(verify=TLS)
    official = Client(api_token=token, base_url=simulator.replicate_url, transport=transport)
    with official._client:
        yield official


@contextmanager
def asking(simulator: Simulator) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(
        base_url=f"{simulator.replicate_url}/v1", headers=headers, timeout=PATIENCE_S, verify=TLS
    ) as plain:
        yield plain


@contextmanager
def controlling(simulator: Simulator) -> Iterator[Control]:
    with httpx.Client(base_url=f"{simulator.simulator_url}/_simulator", timeout=PATIENCE_S, verify=TLS) as plain:
        yield Control(plain)


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    with Server(("127.0.0.1", 0), receiver.handler()) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}/hook?k=1"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield receiver
        server.shutdown()
        thread.join()


def fetch(url: str, **options: Any) -> httpx.Response:
    return httpx.get(url, verify=TLS, **{"timeout": PATIENCE_S, **options})


def eventually[T](look: Callable[[], T], within_s: float = PATIENCE_S) -> T:
    end = time.monotonic() + within_s
    while not (seen := look()):
        assert time.monotonic() < end, f"still {seen!r}"
        time.sleep(0.01)
    return seen


def finished(api: httpx.Client, prediction_id: str, kind: str = "predictions") -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        body = api.get(f"/{kind}/{prediction_id}").json()
        return body if body["completed_at"] else None

    found = eventually(look)
    assert found
    return found
