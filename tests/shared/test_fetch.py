"""Fetching outputs: only from allowed hosts at public addresses, and never more than is allowed."""

import base64
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from shared.errors import OutputError, OutputExpired, OutputRejected, OutputUnavailable
from shared.fetch import Rules, open_output, parse_rules
from tests.support.loopback import Answer, Call, serving

RULES = parse_rules("replicate.delivery", most_bytes=1_000, most_seconds=60)
CONTENT = b"RIFF....WEBP" * 10


def read(url: str, rules: Rules = RULES, *, part: int = 64) -> bytes:
    with open_output(url, rules) as download:
        found = b""
        while given := download.read(part):
            found += given
        return found


# What is refused before anything is asked: sockets are blocked in these tests


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "replicate.delivery/x",
        "//replicate.delivery/x",
        "/etc/passwd",
        "file:///etc/passwd",
        "ftp://replicate.delivery/x",
        "gopher://replicate.delivery/x",
        "javascript:alert(1)",
        "http://replicate.delivery/x",
        "HTTP://replicate.delivery/x",
        "https://replicate.delivery:80/x",
        "https://replicate.delivery:8443/x",
        "https://replicate.delivery:0/x",
        "https://replicate.delivery:99999/x",
        "https://replicate.delivery:x/x",
        "https://evil.example/x",
        "https://replicate.delivery.evil.example/x",
        "https://evilreplicate.delivery/x",
        "https://replicate.delivery.",
        "https://replicate.delivery./x",
        "https://.replicate.delivery/x",
        "https://a..replicate.delivery/x",
        "https://-.replicate.delivery/x",
        "https://a_b.replicate.delivery/x",
        "https://*.replicate.delivery/x",
        "https://user@replicate.delivery/x",
        "https://user:password@replicate.delivery/x",
        "https://replicate.delivery@evil.example/x",
        "https://replicate.delivery:443@evil.example/x",
        "https://evil.example#@replicate.delivery/x",
        "https://evil.example?.replicate.delivery/x",
        "https://evil.example/.replicate.delivery",
        "https://evil.example\\.replicate.delivery/x",
        "https://evil.example\\@replicate.delivery/x",
        "https:\\\\replicate.delivery\\x",
        "https://replicate.delivery%2eevil.example/x",
        "https://replicate.delivery%00.evil.example/x",
        "https://replicate%2edelivery/x",
        "https://replicate.delivery\n.evil.example/x",
        "https://replicate.delivery/\r\nHost: evil.example",
        "https://replicate.delivery/a b",
        "https://replicate.delivery/\tx",
        "https://replicate.delivery/ä",
        "https://replicate.delivéry/x",
        "https://\uff52eplicate.delivery/x",
        "https://replicate\u3002delivery/x",
        "https://127.0.0.1/x",
        "https://127.1/x",
        "https://0x7f000001/x",
        "https://2130706433/x",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://[fd00:ec2::254]/x",
        "https://[::1",
        "https://localhost/x",
        "https://metadata.google.internal/x",
        "https:///x",
        "https://",
        "https:replicate.delivery/x",
        "https://replicate.delivery/" + "x" * 9_000,
    ],
)
def test_a_hostile_url_is_refused_before_anything_is_asked(url: str) -> None:
    with pytest.raises(OutputRejected):
        read(url)


@pytest.mark.sockets
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "192.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "localhost",
    ],
)
def test_a_host_that_is_allowed_is_refused_at_an_address_that_is_not_public(host: str) -> None:
    # Resolved without asking anybody; a name of Replicate's could lead there just as well.
    with pytest.raises(OutputRejected, match="not public"):
        read(f"https://{host}/x", replace(RULES, hosts=frozenset({host})))


@pytest.mark.sockets
def test_a_name_that_does_not_resolve_may_do_so_later() -> None:
    with pytest.raises(OutputUnavailable):
        read("https://no-such-name.invalid/x", replace(RULES, hosts=frozenset({"invalid"})))


@pytest.mark.parametrize(
    ("text", "hosts", "origins"),
    [
        ("replicate.delivery", {"replicate.delivery"}, set()),
        (" Replicate.Delivery , *.example.com ,", {"replicate.delivery", "example.com"}, set()),
        ("a.example,http://127.0.0.1:9000/", {"a.example"}, {"http://127.0.0.1:9000"}),
        ("", set(), set()),
    ],
)
def test_rules_are_read_from_the_setting(text: str, hosts: set[str], origins: set[str]) -> None:
    rules = parse_rules(text, most_bytes=1, most_seconds=1)
    assert set(rules.hosts) == hosts
    assert set(rules.origins) == origins


# Outputs that are data URIs


@pytest.mark.parametrize(
    ("uri", "content"),
    [
        (f"data:image/webp;base64,{base64.b64encode(CONTENT).decode()}", CONTENT),
        (f"DATA:image/webp;BASE64,{base64.b64encode(CONTENT).decode()}", CONTENT),
        ("data:;base64,AAE%3D", b"\x00\x01"),
        ("data:text/plain,a%20b", b"a b"),
        ("data:,", b""),
    ],
)
def test_a_data_uri_is_understood(uri: str, content: bytes) -> None:
    assert read(uri) == content


@pytest.mark.parametrize(
    "uri",
    [
        "data:",
        "data:image/webp;base64",
        "data:image/webp;base64,!!!",
        "data:;base64,AAA",
        "data:;base64,ää",
        f"data:,{'x' * 1_001}",
        f"data:;base64,{base64.b64encode(bytes(1_001)).decode()}",
    ],
)
def test_a_malformed_or_too_large_data_uri_is_refused(uri: str) -> None:
    with pytest.raises(OutputRejected):
        read(uri)


# From a server, whose origin is allowed to the letter


class Site:
    """Answers by path, and remembers the requests."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.calls: list[Call] = []
        self.origin = ""

    def respond(self, call: Call) -> Answer:
        self.calls.append(call)
        return self.answers.get(call.path, Answer(404))

    @property
    def rules(self) -> Rules:
        return replace(RULES, origins=frozenset({self.origin}))


@pytest.fixture
def site() -> Iterator[Site]:
    one = Site()
    with serving(one.respond) as one.origin:
        yield one


@pytest.mark.sockets
@pytest.mark.parametrize("length", [True, False])
def test_a_body_is_read_with_its_length_or_without(site: Site, *, length: bool) -> None:
    site.answers["/x"] = Answer(body=CONTENT, length=length)
    assert read(f"{site.origin}/x", site.rules) == CONTENT


@pytest.mark.sockets
def test_no_credentials_are_sent(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_of_the_environment")
    site.answers["/x?a=b"] = Answer(body=CONTENT)
    assert read(f"{site.origin}/x?a=b", site.rules) == CONTENT
    (call,) = site.calls
    assert not {"authorization", "cookie"} & set(call.headers)
    assert call.headers["host"] == site.origin.partition("://")[2]


@pytest.mark.sockets
def test_a_proxy_of_the_environment_is_not_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    site.answers["/x"] = Answer(body=CONTENT)
    assert read(f"{site.origin}/x", site.rules) == CONTENT


@pytest.mark.sockets
def test_an_origin_is_allowed_to_the_letter(site: Site) -> None:
    host = site.origin.removeprefix("http://")
    for other in (f"https://{host}", f"http://user@{host}", "http://127.0.0.1", f"http://{host}0", f"http://x.{host}"):
        with pytest.raises(OutputRejected):
            read(f"{other}/x", site.rules)
    assert not site.calls


@pytest.mark.sockets
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (403, OutputExpired),
        (404, OutputExpired),
        (410, OutputExpired),
        (429, OutputUnavailable),
        (500, OutputUnavailable),
        (502, OutputUnavailable),
        (503, OutputUnavailable),
        (204, OutputRejected),
        (206, OutputRejected),
        (300, OutputRejected),
        (304, OutputRejected),
        (400, OutputRejected),
        (401, OutputRejected),
        (451, OutputRejected),
    ],
)
def test_a_status_says_whether_it_is_gone_or_may_come(site: Site, status: int, error: type[OutputError]) -> None:
    site.answers["/x"] = Answer(status)
    with pytest.raises(error) as caught:
        read(f"{site.origin}/x", site.rules)
    assert type(caught.value) is error


@pytest.mark.sockets
def test_a_body_that_says_it_is_too_large_is_not_read(site: Site) -> None:
    site.answers["/x"] = Answer(body=b"x", headers={"Content-Length": "1001"})
    with pytest.raises(OutputRejected, match="1001"), open_output(f"{site.origin}/x", site.rules):
        pass


@pytest.mark.sockets
@pytest.mark.parametrize(("size", "passes"), [(1_000, True), (1_001, False), (5_000, False)])
def test_a_body_without_a_length_is_counted(site: Site, size: int, *, passes: bool) -> None:
    site.answers["/x"] = Answer(body=b"x" * size, length=False)
    if passes:
        assert len(read(f"{site.origin}/x", site.rules)) == size
    else:
        with pytest.raises(OutputRejected):
            read(f"{site.origin}/x", site.rules)


@pytest.mark.sockets
def test_a_body_that_is_packed_is_not_unpacked(site: Site) -> None:
    packed = bytes.fromhex("1f8b08000000000000ff")
    site.answers["/x"] = Answer(body=packed, headers={"Content-Encoding": "gzip"})
    assert read(f"{site.origin}/x", site.rules) == packed
    assert site.calls[0].headers["accept-encoding"] == "identity"


@pytest.mark.sockets
@pytest.mark.parametrize("cut", [0, 5])
def test_a_connection_that_breaks_may_work_later(site: Site, cut: int) -> None:
    site.answers["/x"] = Answer(body=CONTENT, cut=cut)
    with pytest.raises(OutputUnavailable):
        read(f"{site.origin}/x", site.rules)


@pytest.mark.sockets
def test_a_server_that_is_not_there_may_come_back() -> None:
    with serving(lambda _: Answer()) as origin:
        pass
    with pytest.raises(OutputUnavailable):
        read(f"{origin}/x", replace(RULES, origins=frozenset({origin})))


@pytest.mark.sockets
def test_a_body_that_takes_too_long_is_given_up(site: Site) -> None:
    site.answers["/x"] = Answer(body=CONTENT)
    with pytest.raises(OutputUnavailable):
        read(f"{site.origin}/x", replace(site.rules, most_seconds=-1))


# Redirects


@contextmanager
def leading_to(site: Site, location: str | None, status: int = 302) -> Iterator[str]:
    headers = {} if location is None else {"Location": location}
    site.answers["/start"] = Answer(status, headers=headers)
    yield f"{site.origin}/start"


@pytest.mark.sockets
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/x", "x", "{origin}/x", "./a/../x"])
def test_a_redirect_to_an_allowed_place_is_followed(site: Site, location: str, status: int) -> None:
    site.answers["/x"] = Answer(body=CONTENT)
    with leading_to(site, location.format(origin=site.origin), status) as url:
        assert read(url, site.rules) == CONTENT


@pytest.mark.sockets
@pytest.mark.parametrize(
    "location",
    [
        "http://evil.example/x",
        "https://evil.example/x",
        "//evil.example/x",
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:22/",
        "http://localhost/",
        "http://[::1]/",
        "http://replicate.delivery/x",
        "https://user@replicate.delivery/x",
        "file:///etc/passwd",
        "ftp://replicate.delivery/x",
        "data:text/plain,hello",
        "\\\\evil.example\\x",
        "https://replicate.delivery@evil.example/",
    ],
)
def test_a_redirect_is_checked_like_the_first_url(site: Site, location: str) -> None:
    with leading_to(site, location) as url, pytest.raises(OutputRejected):
        read(url, site.rules)
    assert len(site.calls) == 1


@pytest.mark.sockets
def test_another_server_on_loopback_is_not_reached_by_a_redirect(site: Site) -> None:
    inner = Site()
    with serving(inner.respond) as inner.origin:
        site.answers["/start"] = Answer(302, headers={"Location": f"{inner.origin}/x"})
        with pytest.raises(OutputRejected):
            read(f"{site.origin}/start", site.rules)
    assert not inner.calls


@pytest.mark.sockets
@pytest.mark.parametrize("location", ["/start", None, ""])
def test_redirects_come_to_an_end(site: Site, location: str | None) -> None:
    with leading_to(site, location) as url, pytest.raises(OutputRejected, match="redirect"):
        read(url, site.rules)
    assert len(site.calls) <= 4


@pytest.mark.sockets
def test_no_connection_is_left_open(site: Site) -> None:
    site.answers["/x"] = Answer(body=CONTENT)
    before = threading.active_count()
    for _ in range(5):
        read(f"{site.origin}/x", site.rules)
    deadline = time.monotonic() + 60
    while threading.active_count() > before:  # those of the server end by themselves
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Addresses that lead elsewhere, and sources that give little


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name have these addresses."""
    found = [(0, 0, 0, "", (address, 443)) for address in addresses]
    dns = SimpleNamespace(getaddrinfo=lambda *_, **__: found, SOCK_STREAM=1)
    monkeypatch.setattr("shared.outgoing.socket", dns)


@pytest.mark.parametrize(
    "address",
    [
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::7f00:1",
        "::7f00:1",
        "::ffff:169.254.169.254",
        "::ffff:0:7f00:1",
        "2002:a9fe:a9fe::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "ff02::1",
        "::",
    ],
)
def test_an_address_that_leads_inside_is_refused_in_every_form(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    for addresses in ((address,), ("8.8.8.8", address)):
        resolving(monkeypatch, *addresses)
        with pytest.raises(OutputRejected, match="not public"):
            read("https://replicate.delivery/x")


@pytest.mark.sockets
def test_a_source_that_trickles_is_given_up_in_time() -> None:
    """Each byte comes well before the connection counts as silent, and all of them far too late."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def trickle() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
                while not over.wait(0.02):
                    connection.sendall(b"x")

        thread = threading.Thread(target=trickle)
        thread.start()
        origin = f"http://127.0.0.1:{server.getsockname()[1]}"
        rules = replace(RULES, origins=frozenset({origin}), most_seconds=0.3)
        try:
            with pytest.raises(OutputUnavailable):  # else there would be 500 bytes in the end
                read(f"{origin}/x", rules, part=262_144)
        finally:
            over.set()
            thread.join()
