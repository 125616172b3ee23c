"""A web server on loopback that answers what a test tells it to, and remembers what it was asked."""

import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass(frozen=True)
class Call:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """One answer; `cut` closes the connection after so many bytes of the body, or without any answer at 0."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    length: bool = True  # whether the length is told


@contextmanager
def serving(respond: Callable[[Call], Answer], *, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve while the block runs, with TLS if told how, and give the origin."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = respond(Call(self.command, self.path, headers, body))
            self.close_connection = True
            if answer.cut == 0:
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.length and "Content-Length" not in answer.headers:
                self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(answer.body[: answer.cut])

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - the server's names

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128  # with the usual five, some of many callers are turned away on a busy machine

        def handle_error(self, *_: object) -> None:
            pass  # a client that hangs up is what some tests want

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls:
            # Each connection's own thread shakes hands, when it reads.
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = Thread(target=lambda: server.serve_forever(poll_interval=0.002))
        thread.start()
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
