"""What is outside, played: DNS that says what a test wants, and servers that say whatever a stranger could."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest


class Network:
    """The sockets of `shared.outgoing`, played: nothing is resolved but here, and no connection is ever made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.connected: list[str] = []
        self._answers: list[Sequence[str]] = []
        played = SimpleNamespace(getaddrinfo=self._resolve, create_connection=self._connect, SOCK_STREAM=1)
        monkeypatch.setattr("shared.outgoing.socket", played)

    def resolves_to(self, *answers: Sequence[str]) -> None:
        """Let names have these addresses, one answer after the other, the last one for good."""
        self._answers = list(answers)

    def _resolve(self, host: str, *_: object, **__: object) -> list[Any]:
        self.asked.append(host)
        addresses = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [(0, 0, 0, "", (address, 443)) for address in addresses]

    def _connect(self, address: tuple[str, int], **_: Any) -> None:
        self.connected.append(address[0])
        raise ConnectionRefusedError


type Script = Callable[[], Iterable[bytes]]


class Stranger:
    """A server on loopback that says to each path what its script gives, byte for byte, and then hangs up."""

    def __init__(self) -> None:
        self.scripts: dict[str, Script] = {}
        self.asked: list[str] = []
        self.origin = ""
        self._over = threading.Event()

    def drip(self, start: bytes, part: bytes = b"x") -> Script:
        """Give a script that never ends: some bytes at once, then more and more, each well before anyone gives up."""

        def script() -> Iterator[bytes]:
            yield start
            while not self._over.wait(0.02):
                yield part

        return script

    def serve(self, listener: socket.socket) -> None:
        """Answer one connection after the other, until the listener is closed."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def stop(self) -> None:
        """End the scripts that never end."""
        self._over.set()

    def _talk(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                if not (part := connection.recv(65_536)):
                    return
                request += part
            path = request.split(b" ")[1].decode()
            self.asked.append(path)
            for part in self.scripts[path]():
                connection.sendall(part)


@contextmanager
def meeting_a_stranger() -> Iterator[Stranger]:
    """Serve while the block runs."""
    stranger = Stranger()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        stranger.origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=stranger.serve, args=(listener,))
        thread.start()
        try:
            yield stranger
        finally:
            stranger.stop()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
