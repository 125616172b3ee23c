"""Fetching outputs: only from where they may come, in bounded size and time; redirects are checked like first URLs."""

from __future__ import annotations

import base64
import binascii
import io
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote_to_bytes, urljoin

import urllib3

from shared.addresses import Places, parse_places
from shared.errors import (
    AddressRefused,
    AddressUnavailable,
    OutputError,
    OutputExpired,
    OutputRejected,
    OutputUnavailable,
)
from shared.outgoing import Patience, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_S = 5.0
READ_S = 15.0  # of silence
MARGIN_S = 1.0  # after which a connection is cut that `Download` has not given up
REDIRECTS = 3
_GONE = frozenset({403, 404, 410})  # Replicate's storage answers 404, other stores 403, once a file is deleted
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LENGTH = re.compile("[0-9]{1,18}", re.ASCII)


class Readable(Protocol):
    """What bytes come from."""

    def read1(self, size: int, /) -> bytes:
        """Give up to `size` bytes, as soon as there are any, and none at the end."""


@dataclass(frozen=True)
class Rules(Places):
    """Where outputs may come from, and how much of them."""

    most_bytes: int
    most_seconds: float


def parse_rules(text: str, *, most_bytes: int, most_seconds: float) -> Rules:
    """Read the comma-separated setting `OutputHosts`."""
    places = parse_places(text)
    return Rules(places.hosts, places.origins, most_bytes, most_seconds)


class Download:
    """A body being read; counts, and refuses to become too large or too slow."""

    def __init__(self, source: Readable, length: int | None, rules: Rules, *, since: float) -> None:
        """Begin to read from a source; `since` is when it was asked, on the monotonic clock.

        `length` is the number of bytes that it announces, if it does.
        """
        self.length = length
        self._source = source
        self._left = rules.most_bytes
        self._until = since + rules.most_seconds
        if length is not None and length > rules.most_bytes:
            raise OutputRejected(f"an output has {length} bytes, more than the {rules.most_bytes} that are allowed")

    def read(self, size: int, /) -> bytes:
        """Give up to `size` bytes, and none at the end.

        Raises:
            OutputRejected: there is more than is allowed.
            OutputUnavailable: it is too slow, or the connection broke.
        """
        try:
            # What has arrived, not all of it: else a source that trickles would keep us from looking at the clock.
            part = self._source.read1(size)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise OutputUnavailable(f"the connection broke: {type(error).__name__}") from error
        self._left -= len(part)
        if self._left < 0:
            raise OutputRejected("an output has more bytes than are allowed")
        if time.monotonic() > self._until:
            raise OutputUnavailable("an output takes too long")
        return part


@contextmanager
def open_output(url: str, rules: Rules) -> Iterator[Download]:
    """Open what an output URL names; `data:` URIs are understood.

    Raises:
        OutputRejected: the rules forbid it.
        OutputExpired: it is gone.
        OutputUnavailable: it cannot be had now.
    """
    since = time.monotonic()
    if url[:5].lower() == "data:":
        body = _decode_data(url)
        yield Download(io.BytesIO(body), len(body), rules, since=since)
        return
    for _ in range(REDIRECTS + 1):
        left_s = max(0.0, since + rules.most_seconds - time.monotonic())
        try:
            with opened("GET", url, rules, Patience(CONNECT_S, READ_S, left_s + MARGIN_S)) as response:
                if response.status not in _REDIRECTS:
                    _raise_for_status(response.status)
                    yield Download(response, _length(response.headers.get("Content-Length")), rules, since=since)
                    return
                url = _target(url, response.headers.get("Location", ""))
        except AddressRefused as refused:
            raise OutputRejected(f"an output's URL {refused}") from refused
        except AddressUnavailable as error:
            raise OutputUnavailable(f"an output's URL {error}") from error
    raise OutputRejected("an output redirects too often")


def _length(told: str | None) -> int | None:
    """Give the length that a header tells; what makes no sense is not told."""
    return int(told) if told is not None and _LENGTH.fullmatch(told) else None


def _target(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise OutputRejected("an output redirects to what is no URL") from error


def _raise_for_status(status: int) -> None:
    if status == 200:  # noqa: PLR2004
        return
    error: type[OutputError]
    if status in _GONE:
        error = OutputExpired
    elif status == 429 or status >= 500:  # noqa: PLR2004
        error = OutputUnavailable
    else:
        error = OutputRejected
    raise error(f"an output's host answered {status}")


def _decode_data(uri: str) -> bytes:
    header, comma, payload = uri.partition(",")
    if not comma:
        raise OutputRejected("a data URI has no data")
    if not header.lower().endswith(";base64"):
        return unquote_to_bytes(payload)
    try:
        return base64.b64decode(unquote_to_bytes(payload), validate=True)
    except binascii.Error as error:
        raise OutputRejected("a data URI is not base64") from error
