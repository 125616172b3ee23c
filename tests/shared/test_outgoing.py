"""Requests to strangers' URLs: pinned to an address that was checked, bounded in time, and never sent elsewhere."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from infra.local.certificates import make_certificates
from shared.addresses import Places, parse_places
from shared.errors import AddressRefused, AddressUnavailable
from shared.outgoing import Patience, opened
from tests.support.loopback import Answer, Call, serving

ANYWHERE = parse_places("*")
HERE = parse_places("http://127.0.0.1:*,https://127.0.0.1:*")
PATIENCE = Patience(connect_s=60, read_s=60, total_s=60)
BODY = b"\x00\xff{}"


def post(url: str, places: Places = HERE, patience: Patience = PATIENCE) -> int:
    with opened("POST", url, places, patience, headers={"x-one": "1"}, body=BODY) as response:
        return response.status


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: tuple[str, ...]) -> list[str]:
    """Let every name have these addresses, one answer after the other; gives what was connected to."""
    connected: list[str] = []
    left = list(answers)

    def connect(address: tuple[str, int], **_: Any) -> None:
        connected.append(address[0])
        raise ConnectionRefusedError

    def resolve(*_: object, **__: object) -> list[Any]:
        return [(0, 0, 0, "", (address, 443)) for address in (left.pop(0) if len(left) > 1 else left[0])]

    fake = SimpleNamespace(getaddrinfo=resolve, create_connection=connect, SOCK_STREAM=1)
    monkeypatch.setattr("shared.outgoing.socket", fake)
    return connected


@pytest.mark.parametrize(
    "addresses",
    [
        (),
        ("127.0.0.1",),
        ("10.0.0.1",),
        ("169.254.169.254",),
        ("::1",),
        ("::ffff:10.0.0.1",),
        ("fd00::1",),
        ("8.8.8.8", "10.0.0.1"),
        ("10.0.0.1", "8.8.8.8"),
        ("8.8.8.8", "fe80::1"),
    ],
)
def test_a_name_with_any_address_inside_is_not_called(
    monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
) -> None:
    connected = resolving(monkeypatch, addresses)
    with pytest.raises(AddressRefused, match="not public"):
        post("https://rebind.example.com/x", ANYWHERE)
    assert connected == []


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that changes its mind after the check changes nothing."""
    connected = resolving(monkeypatch, ("8.8.8.8", "8.8.4.4"), ("127.0.0.1",))
    with pytest.raises(AddressUnavailable):
        post("https://rebind.example.com/x", ANYWHERE)
    assert connected == ["8.8.8.8"]


@pytest.mark.sockets
def test_a_name_that_does_not_resolve_may_do_so_later() -> None:
    with pytest.raises(AddressUnavailable):
        post("https://no-such-name.invalid/x", ANYWHERE)


# On a server


class Receiver:
    def __init__(self) -> None:
        self.answer = Answer()
        self.calls: list[Call] = []
        self.origin = ""

    def respond(self, call: Call) -> Answer:
        self.calls.append(call)
        return self.answer


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    with serving(one.respond) as one.origin:
        yield one


@pytest.mark.sockets
def test_what_is_sent_arrives(receiver: Receiver) -> None:
    receiver.answer = Answer(202)
    assert post(f"{receiver.origin}/hook?a=b#c") == 202
    (call,) = receiver.calls
    assert (call.method, call.path, call.body) == ("POST", "/hook?a=b", BODY)
    assert call.headers["host"] == receiver.origin.partition("://")[2]
    assert call.headers["x-one"] == "1"
    assert call.headers["user-agent"] == "afterimage"
    assert not {"authorization", "cookie"} & set(call.headers)


@pytest.mark.sockets
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_like_any_other(receiver: Receiver, status: int) -> None:
    inner = Receiver()
    with serving(inner.respond) as inner.origin:
        receiver.answer = Answer(status, headers={"Location": f"{inner.origin}/x"})
        assert post(f"{receiver.origin}/hook") == status
    assert inner.calls == []


@pytest.mark.sockets
def test_proxies_and_credentials_of_the_environment_are_not_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert post(f"{receiver.origin}/hook") == 200
    assert "authorization" not in receiver.calls[0].headers


@pytest.mark.sockets
def test_a_server_that_is_not_there_or_says_nothing_is_unavailable(receiver: Receiver) -> None:
    receiver.answer = Answer(cut=0)
    with pytest.raises(AddressUnavailable):
        post(f"{receiver.origin}/hook")
    with serving(lambda _: Answer()) as gone:
        pass
    with pytest.raises(AddressUnavailable):
        post(f"{gone}/hook")


@contextmanager
def trickling(start: bytes) -> Iterator[str]:
    """Serve one connection: some bytes at once, then one after the other until the other side has gone."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def trickle() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                connection.sendall(start)
                while not over.wait(0.02):
                    connection.sendall(b"x")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


@pytest.mark.sockets
@pytest.mark.parametrize(
    ("scheme", "start"),
    [("http", b""), ("http", b"HTTP/1.1 200 OK\r\nx: "), ("https", b"\x16\x03\x03\x40\x00\x02")],
    ids=["status line", "headers", "handshake"],
)
def test_an_answer_that_trickles_is_cut_off(scheme: str, start: bytes) -> None:
    """Each byte comes well before the connection counts as silent, and all of them far too late."""
    started = time.monotonic()
    with trickling(start) as place, pytest.raises(AddressUnavailable):
        post(f"{scheme}://{place}/hook", patience=Patience(connect_s=60, read_s=60, total_s=0.3))
    assert time.monotonic() - started < 60


@pytest.mark.sockets
def test_an_answers_body_is_not_waited_for() -> None:
    started = time.monotonic()
    with trickling(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n") as place:
        assert post(f"http://{place}/hook") == 200
    assert time.monotonic() - started < 60


@pytest.mark.sockets
def test_nothing_is_sent_to_a_server_whose_certificate_nobody_vouches_for(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
                received.append(tls.recv(4096))

        thread = threading.Thread(target=accept)
        thread.start()
        with pytest.raises(AddressUnavailable, match="SSLCertVerificationError"):
            post(f"https://127.0.0.1:{server.getsockname()[1]}/hook")
        thread.join()
    assert b"".join(received) == b""


@pytest.mark.sockets
def test_no_connection_and_no_thread_is_left(receiver: Receiver) -> None:
    before = threading.active_count()
    for _ in range(5):
        post(f"{receiver.origin}/hook")
    deadline = time.monotonic() + 60
    while threading.active_count() > before:  # those of the server end by themselves
        assert time.monotonic() < deadline
        time.sleep(0.01)
