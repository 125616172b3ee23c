"""The console as it is served: the page, what it is made of, and the rules under which browsers run it."""

import gzip
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support.published import ROOT, read_document
from tests.support.world import Answered, World, deployed

STATIC = ROOT / "functions" / "console" / "static"
PAGE = (STATIC / "index.html").read_text()
NAMES = sorted(path.name for path in STATIC.iterdir())
SCRIPTS = [name for name in NAMES if name.endswith(".js")]
MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
IMPORT = re.compile(r'^import [^;]*? from "\./([\w.]+)";', re.MULTILINE)
ADDRESS = re.compile(r"(?:https?:)?//[\w.-]+\.[a-z]{2,}[^\s\"'`]*")
SVG = "http://www.w3.org/2000/svg"

each_file = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with deployed() as fresh:
        yield fresh


@pytest.fixture(scope="module")
def page(world: World) -> Answered:
    return world.request("GET", "/")


class Elements(HTMLParser):
    """The elements of a page, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def directives(answer: Answered) -> dict[str, str]:
    """Give the content security policy, by directive."""
    parts = (part.strip().partition(" ") for part in answer.headers["content-security-policy"].split(";"))
    return {name: value for name, _, value in parts}


def loaded_by(page: Answered) -> list[str]:
    """Give the paths of all that the page names."""
    elements = Elements(page.body.decode()).found
    return [str(found[name]) for tag, found in elements for name in ("src", "href") if tag != "a" and name in found]


# The page


def test_the_page_needs_no_key_and_is_asked_for_anew_each_time(page: Answered) -> None:
    assert (page.status, page.headers["content-type"]) == (200, MEDIA_TYPES["html"])
    assert page.headers["cache-control"] == "no-cache"
    assert "<title>Afterimage</title>" in page.body.decode()


def test_the_page_is_sent_only_if_it_has_changed(world: World, page: Answered) -> None:
    tag = page.headers["etag"]
    for known in (tag, f"W/{tag}", f'"another", {tag}'):
        again = world.request("GET", "/", headers={"if-none-match": known})
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    assert world.request("GET", "/", headers={"if-none-match": '"another"'}).body == page.body


def test_the_policy_lets_only_our_own_files_run(page: Answered) -> None:
    policy = directives(page)
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["trusted-types"] == "'none'"
    assert "unsafe" not in page.headers["content-security-policy"]


def test_the_policy_lets_images_come_from_the_bucket_alone(world: World, page: Answered) -> None:
    own, data, *elsewhere = directives(page)["img-src"].split()
    assert (own, data) == ("'self'", "data:")
    hosts = world.template.function("ConsoleFunction").environment["FILE_HOSTS"].split(",")
    assert elsewhere == [f"https://{host}" for host in hosts]
    assert all(host.startswith(f"{world.bucket}.s3.") for host in hosts)


def test_the_page_has_nothing_inline_that_the_policy_would_stop() -> None:
    for tag, attributes in Elements(PAGE).found:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert tag != "style"
        assert tag != "script" or attributes.get("src")


def test_the_page_may_not_be_sniffed_followed_or_framed(page: Answered) -> None:
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cross-origin-opener-policy"] == "same-origin"


# What it is made of


def test_all_that_the_page_names_is_there_and_is_ours(world: World, page: Answered) -> None:
    own = [path for path in loaded_by(page) if not path.startswith("#")]
    assert len(own) >= len(SCRIPTS) + 2
    for path in own:
        assert path.startswith("/console/"), path
        assert world.request("GET", path).status == 200


@each_file
def test_a_file_is_served_as_what_it_is_and_kept_for_good(world: World, page: Answered, name: str) -> None:
    version = loaded_by(page)[0].split("/")[2]
    answer = world.request("GET", f"/console/{version}/{name}")
    assert (answer.status, answer.headers["content-type"]) == (200, MEDIA_TYPES[name.rpartition(".")[2]])
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    if name != "index.html":
        assert answer.body == (STATIC / name).read_bytes()


def test_files_are_compressed_for_those_who_take_it(world: World, page: Answered) -> None:
    for path in ["/", *(path for path in loaded_by(page) if path.endswith((".js", ".css")))]:
        plain = world.request("GET", path)
        packed = world.request("GET", path, headers={"accept-encoding": "gzip, br"})
        assert packed.headers["content-encoding"] == "gzip"
        assert plain.headers["vary"] == packed.headers["vary"] == "accept-encoding"
        assert "content-encoding" not in plain.headers
        assert gzip.decompress(packed.body) == plain.body
        assert len(packed.body) < len(plain.body) / 2


def test_another_file_or_version_is_not_there(world: World, page: Answered) -> None:
    version = loaded_by(page)[0].split("/")[2]
    for path in (
        f"/console/{version}/nothing.js",
        f"/console/{version}/..%2Fhandler.py",
        f"/console/{version}/handler.py",
        "/console/static/app.js",
        "/console/app.js",
    ):
        answer = world.request("GET", path)
        assert (answer.status, answer.json["code"]) == (404, "not_found"), path


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT"])
def test_the_page_is_only_for_reading(world: World, method: str) -> None:
    answer = world.request(method, "/")
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")


@each_file
def test_no_third_party_is_named(name: str) -> None:
    assert {address for address in ADDRESS.findall((STATIC / name).read_text()) if address != SVG} == set()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_module_imports_only_what_the_page_has_asked_for_already(name: str) -> None:
    asked = {Path(str(found.get("href") or found.get("src"))).name for _, found in Elements(PAGE).found}
    assert name in asked
    assert set(IMPORT.findall((STATIC / name).read_text())) <= set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_module_turns_text_into_markup_or_code(name: str) -> None:
    text = (STATIC / name).read_text()
    for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"):
        assert sink not in text


def test_every_icon_that_is_used_is_drawn() -> None:
    drawn = {str(found["id"]) for tag, found in Elements(PAGE).found if tag == "symbol"}
    text = "".join((STATIC / name).read_text() for name in SCRIPTS)
    named = re.findall(r'\b(?:icon|action)\("(\w+)"', text)
    assert named
    assert {f"i-{name}" for name in named} <= drawn


# The document


def test_the_document_is_for_everybody_and_for_other_pages_too(world: World) -> None:
    answer = world.request("GET", "/openapi.json")
    assert (answer.status, json.loads(answer.body)) == (200, read_document())
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cache-control"] == "no-cache"
    again = world.request("GET", "/openapi.json", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
