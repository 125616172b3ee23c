"""Serves the web page: `GET /`, what the page is made of, and `GET /openapi.json`."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from shared.console_services import image_sources
from shared.endpoint import Request, Response, Route, endpoint
from shared.errors import Code, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).parent / "static"
OPENAPI = Path(__file__).with_name("openapi.json")  # made by `make openapi`
PAGE = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}
# Nothing but our own files and images; nobody frames the page, and nothing on it turns text into code.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: {images}; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
SAFE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
FOR_GOOD = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class File:
    """One file of the page; API Gateway compresses nothing, so it is kept compressed too."""

    content: bytes
    compressed: bytes
    media_type: str


@dataclass(frozen=True)
class Console:
    """The page with all of its files; the version, which is part of their paths, changes with any of them."""

    version: str
    files: Mapping[str, File]
    policy: str


@cache
def console() -> Console:
    """Read the files, and write their version into the page."""
    contents = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir())}
    version = hashlib.sha256(b"".join(contents.values())).hexdigest()[:16]
    contents[PAGE] = contents[PAGE].replace(b"/console/static/", f"/console/{version}/".encode())
    files = {name: _file(name, content) for name, content in contents.items()}
    return Console(version, files, POLICY.format(images=" ".join(image_sources())))


def _file(name: str, content: bytes) -> File:
    return File(content, gzip.compress(content, 9, mtime=0), TYPES[Path(name).suffix])


def page(request: Request, parts: Console) -> Response:
    """`GET /`: asked for anew each time, and sent only if it has changed."""
    return _unless_known(request, parts.files[PAGE], parts.version, {"content-security-policy": parts.policy})


def asset(request: Request, parts: Console) -> Response:
    """`GET /console/{version}/{name}`: kept by browsers for good, since another version has another path."""
    file = parts.files.get(request.params["name"])
    if file is None or request.params["version"] != parts.version:
        raise Refusal(Code.NOT_FOUND, "There is no such file. The page may have changed: load it again.")
    return _send(request, file, {"cache-control": FOR_GOOD, **SAFE})


def openapi(request: Request, parts: Console) -> Response:  # noqa: ARG001
    """`GET /openapi.json`: asked for anew each time, and sent only if it has changed."""
    file, version = _openapi()
    return _unless_known(request, file, version, {"access-control-allow-origin": "*"})


@cache
def _openapi() -> tuple[File, str]:
    content = OPENAPI.read_bytes()
    return _file(OPENAPI.name, content), hashlib.sha256(content).hexdigest()[:16]


def _unless_known(request: Request, file: File, version: str, headers: Mapping[str, str]) -> Response:
    tag = f'"{version}"'
    headers = {"etag": tag, "cache-control": "no-cache", **headers, **SAFE}
    known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    return Response(304, None, headers) if tag in known else _send(request, file, headers)


def _send(request: Request, file: File, headers: Mapping[str, str]) -> Response:
    about = {"content-type": file.media_type, "vary": "accept-encoding", **headers}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(200, file.compressed, {**about, "content-encoding": "gzip"})
    return Response(200, file.content, about)


handler = endpoint(
    (
        Route("GET", "/", page, public=True),
        Route("GET", "/console/{version}/{name}", asset, public=True),
        Route("GET", "/openapi.json", openapi, public=True),
    ),
    wire=console,
)
