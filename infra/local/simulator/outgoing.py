"""Connections to others: webhooks that are sent, and files of inputs that are read."""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from urllib.parse import SplitResult

Connection = http.client.HTTPConnection


class Outgoing:
    """Makes connections, and ends all of them when the simulator stops."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[Connection] = set()
        self._stopped = False

    @contextlib.contextmanager
    def connection(
        self, url: SplitResult, timeout_s: float, context: ssl.SSLContext | None = None
    ) -> Iterator[Connection]:
        """Give a connection to the URL's host, for one request.

        Raises:
            ValueError: it is no http URL.
            OSError: the simulator stops.
        """
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise ValueError("not an http URL")
        connection = (
            http.client.HTTPSConnection(url.hostname, url.port, timeout=timeout_s, context=context)
            if url.scheme == "https"
            else Connection(url.hostname, url.port, timeout=timeout_s)
        )
        with self._lock:
            if self._stopped:
                raise ConnectionAbortedError("the simulator stops")
            self._open.add(connection)
        try:
            yield connection
        finally:
            connection.close()
            with self._lock:
                self._open.discard(connection)

    def stop(self) -> None:
        """End all that are open, and open no more."""
        with self._lock:
            self._stopped = True
            for connection in self._open:
                if connection.sock:
                    with contextlib.suppress(OSError):  # Already gone.
                        connection.sock.shutdown(socket.SHUT_RDWR)


def target(url: SplitResult) -> str:
    """What a request for this URL asks of its host."""
    return (url.path or "/") + (f"?{url.query}" if url.query else "")
