"""One HTTP server on a loopback port, whose listening socket can be put away and brought back."""

import contextlib
import json
import selectors
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    import socketserver

HOST = "127.0.0.1"
IDLE_SECONDS = 60
MAX_BODY_BYTES = 20_000_000
GRACE_S = 2.0  # for answers that are just being written when the listener goes away


@dataclass(frozen=True)
class Request:
    """What was asked; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def path(self) -> str:
        """The path without its query."""
        return urlsplit(self.target).path

    @cached_property
    def query(self) -> dict[str, str]:
        """The first value of each parameter."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}


@dataclass
class Answer:
    """`status` None ends the connection unanswered; `truncated` announces the whole and sends half.

    `prediction_id` is for the record only.
    """

    status: int | None
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    prediction_id: str | None = None
    truncated: bool = False
    chunked: bool = False


def reply(status: int, data: object, prediction_id: str | None = None) -> Answer:
    """Answer with JSON."""
    return Answer(status, json.dumps(data).encode(), prediction_id=prediction_id)


@dataclass
class Places:
    """Where the simulator is, for the URLs in its answers; known when it listens."""

    api: str = ""
    delivery: str = ""


type App = Callable[[Request], Answer]


class Listener:
    """Serves `app` on its own threads; one for each connection."""

    def __init__(self, name: str, port: int, app: App) -> None:
        self.app = app
        self._name = name
        self._socket = _bound(port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}"
        self._lock = threading.Condition()
        self._idle: dict[socket.socket, bool] = {}
        self._accepting: tuple[threading.Thread, socket.socket] | None = None
        self.accept()

    @property
    def accepting(self) -> bool:
        """Whether anybody listens."""
        return self._accepting is not None

    def accept(self) -> None:
        """Listen (again); the port was kept."""
        with self._lock:
            if self._accepting:
                return
            self._socket.listen(128)
            self._socket.setblocking(False)
            wake, woken = socket.socketpair()
            thread = threading.Thread(target=self._serve, args=(self._socket, woken), name=self._name, daemon=True)
            self._accepting = (thread, wake)
            thread.start()

    def refuse(self) -> None:
        """Stop listening, so that connecting fails; keep the port with a socket that is bound only."""
        with self._lock:
            if not self._accepting:
                return
            self._stop_accepting()
            self._socket = _bound(self.port)
            self._lock.wait_for(lambda: all(self._idle.values()), GRACE_S)
            for connection in [each for each, idle in self._idle.items() if idle]:
                _shut(connection)

    def stop(self) -> None:
        """End all connections, and give the port back."""
        with self._lock:
            self._stop_accepting()
            self._socket.close()
            for connection in self._idle:
                _shut(connection)

    def mark(self, connection: socket.socket, *, idle: bool) -> None:
        """Note whether a connection waits for its next request; an idle one may be ended."""
        with self._lock:
            if connection in self._idle:
                self._idle[connection] = idle
                self._lock.notify_all()

    def _stop_accepting(self) -> None:
        if self._accepting:
            thread, wake = self._accepting
            wake.close()
            thread.join(1)
            self._accepting = None
        self._socket.close()

    def _serve(self, listening: socket.socket, woken: socket.socket) -> None:
        with woken, selectors.DefaultSelector() as selector:
            selector.register(listening, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while woken not in [key.fileobj for key, _ in selector.select()]:
                try:
                    connection, address = listening.accept()
                except OSError:
                    continue
                connection.setblocking(True)
                self._idle[connection] = True
                threading.Thread(
                    target=self._converse, args=(connection, address), name=f"{self._name}-call", daemon=True
                ).start()

    def _converse(self, connection: socket.socket, address: Any) -> None:  # noqa: ANN401 - as socket has it
        try:
            with contextlib.suppress(OSError):  # The other side, or stop(), ended the connection.
                _Handler(connection, address, cast("socketserver.BaseServer", self))
        finally:
            with self._lock:
                self._idle.pop(connection, None)
            _shut(connection)
            connection.close()


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        raise
    return bound


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # Already gone.
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "simulator"
    sys_version = ""
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    wbufsize = -1

    def _answer(self) -> None:
        listener = cast("Listener", self.server)
        listener.mark(self.connection, idle=False)
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY_BYTES:
            self.close_connection = True
            return
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = listener.app(Request(self.command, self.path, headers, body))
        if answer.status is None:
            self.close_connection = True
            return
        self._write(answer, closing=answer.truncated or not listener.accepting)
        listener.mark(self.connection, idle=True)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _answer  # noqa: N815 - http.server's names

    def _write(self, answer: Answer, *, closing: bool) -> None:
        assert answer.status is not None  # noqa: S101 - for the type checker
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if closing:
            self.send_header("Connection", "close")
        body = answer.body
        if answer.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            half = len(body) // 2
            parts = [part for part in (body[:half], body[half:]) if part]
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if answer.truncated else body)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Say nothing: the control port tells what was asked."""
