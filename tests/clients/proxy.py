"""Stands between a client and the stack, and loses answers that the client was waiting for.

Its own routes: `GET /_proxy` gives the requests that came by, `PUT /_proxy` takes how the answers to the next requests
about predictions shall be lost: a list of `POST cut` (there is none), `POST truncate` (half of one), `POST error` (502)
and the same with `GET`. What it loses was passed on.
"""

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import httpx

from infra.local.stack import Stack
from tests.journey.local import NO_TLS
from tests.support.loopback import Answer, Call, serving

_ROUTE = "/_proxy"
# Of one connection, not of the message; nothing is compressed, so that half of an answer is half of its text.
_OF_THE_HOP = {"accept-encoding", "connection", "content-length", "host", "keep-alive", "transfer-encoding"}


class Proxy:
    """Passes everything on, and remembers it."""

    def __init__(self, upstream: httpx.Client) -> None:
        self._upstream = upstream
        self._lock = Lock()
        self._faults: list[str] = []
        self._requests: list[dict[str, Any]] = []

    def respond(self, call: Call) -> Answer:
        """Answer one request, or lose its answer."""
        if call.path == _ROUTE:
            return self._told(call)
        seen: dict[str, Any] = {"method": call.method, "path": call.path, "headers": dict(call.headers), "status": None}
        with self._lock:
            self._requests.append(seen)
            fault = self._take(call)
        found = self._upstream.request(call.method, call.path, content=call.body, headers=_kept(call.headers))
        seen["status"] = found.status_code
        # To the client, this is where the service is.
        body = found.content.replace(str(self._upstream.base_url).rstrip("/").encode(), _origin(call).encode())
        match fault:
            case "POST cut" | "GET cut":
                return Answer(cut=0)
            case "POST error" | "GET error":
                return Answer(502, b"<h1>Bad Gateway</h1>", {"content-type": "text/html"})
        return Answer(found.status_code, body, _kept(found.headers), cut=len(body) // 2 if fault else None)

    def _take(self, call: Call) -> str | None:
        fits = [one for one in self._faults if one.startswith(call.method)] if "/predictions" in call.path else []
        if fits:
            self._faults.remove(fits[0])
        return fits[0] if fits else None

    def _told(self, call: Call) -> Answer:
        with self._lock:
            if call.method == "PUT":
                self._faults, self._requests = json.loads(call.body), []
            return Answer(body=json.dumps(self._requests).encode())


def _origin(call: Call) -> str:
    return f"https://{call.headers['host']}"


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _OF_THE_HOP}


@contextmanager
def in_front_of(stack: Stack) -> Iterator[str]:
    """Serve with the stack's certificate while the block runs, and give the origin."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    folder = Path(stack.ca_file).parent
    tls.load_cert_chain(folder / "server.pem", folder / "server.key")
    limits = httpx.Limits(max_connections=None)
    with (
        httpx.Client(base_url=stack.api_url, timeout=60, trust_env=False, verify=NO_TLS, limits=limits) as upstream,
        serving(Proxy(upstream).respond, tls=tls) as origin,
    ):
        yield origin
