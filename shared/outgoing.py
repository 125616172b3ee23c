"""Requests to URLs that strangers give: only where the rules allow it, and only to public addresses.

A name is resolved once, every address is checked, and the connection goes to the checked address under the URL's own
name. Redirects are not followed, proxies of the environment are not used, and no credentials are ever sent.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
import traceback
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from threading import Timer
from typing import TYPE_CHECKING

import certifi
import urllib3
from urllib3.connection import HTTPConnection

from shared.addresses import HTTPS_PORT, check_url, is_named, is_public
from shared.errors import AddressRefused, AddressUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from urllib.parse import SplitResult

    from shared.addresses import Places

HTTP_PORT = 80
_BROKEN = (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)


@dataclass(frozen=True)
class Patience:
    """How many seconds an answer may take: to connect, between two bytes, and in all, its body included."""

    connect_s: float
    read_s: float
    total_s: float


@contextmanager
def opened(
    method: str,
    url: str,
    places: Places,
    patience: Patience,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Iterator[urllib3.BaseHTTPResponse]:
    """Send one request, and give the answer, whatever its status, with its body still to be read.

    When the whole time has passed the connection is cut, also one that is kept alive byte by byte.

    Raises:
        AddressRefused: the rules forbid it, now and later.
        AddressUnavailable: there is no answer now.
    """
    parts = check_url(url, places)
    address = _resolve(parts, places)
    until = time.monotonic() + patience.total_s
    with ExitStack() as closing:
        try:
            response = closing.enter_context(
                _send(parts, address, patience, closing, method=method, headers=headers or {}, body=body)
            )
        except _BROKEN as error:
            traceback.clear_frames(error.__traceback__)  # they hold the connection, as long as the error is held
            raise AddressUnavailable(f"gave no answer: {type(error).__name__}") from error
        if time.monotonic() > until:
            raise AddressUnavailable("gave no whole answer in time")  # headers that were cut read like others
        yield response


def _send(
    parts: SplitResult,
    address: str,
    patience: Patience,
    closing: ExitStack,
    *,
    method: str,
    headers: Mapping[str, str],
    body: bytes | None,
) -> urllib3.HTTPResponse:
    raw = socket.create_connection((address, _port(parts)), timeout=patience.connect_s)
    closing.callback(raw.close)
    closing.enter_context(_cut_after(raw.dup(), patience.total_s))
    connection = HTTPConnection(address, _port(parts), timeout=patience.read_s)
    closing.callback(connection.close)
    connection.sock = raw if parts.scheme != "https" else _tls().wrap_socket(raw, server_hostname=parts.hostname)
    connection.request(
        method,
        (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        body=body,
        headers={"Host": parts.netloc, "User-Agent": "afterimage", "Accept-Encoding": "identity", **headers},
        preload_content=False,
        decode_content=False,
    )
    return connection.getresponse()


@contextmanager
def _cut_after(same: socket.socket, seconds: float) -> Iterator[None]:
    """End a connection after so many seconds; `same` is a second handle of its socket."""

    def cut() -> None:
        with suppress(OSError):
            same.shutdown(socket.SHUT_RDWR)

    timer = Timer(seconds, cut)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        same.close()


def _resolve(parts: SplitResult, places: Places) -> str:
    """Resolve the host, and give an address that may be connected to."""
    try:
        found = socket.getaddrinfo(parts.hostname, _port(parts), type=socket.SOCK_STREAM)
    except OSError as error:
        raise AddressUnavailable("has a host that cannot be resolved") from error
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not (is_named(parts, places) or all(is_public(address) for address in addresses)):
        raise AddressRefused("has a host with an address that is not public")
    return addresses[0]


def _port(parts: SplitResult) -> int:
    return parts.port or (HTTPS_PORT if parts.scheme == "https" else HTTP_PORT)


@cache
def _tls() -> ssl.SSLContext:
    context = urllib3.util.ssl_.create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    context.load_verify_locations(certifi.where())
    return context
