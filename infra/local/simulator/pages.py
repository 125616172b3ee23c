"""Lists in pages, from the newest to the oldest: a cursor names the place before or after an item's number."""

import base64
from collections.abc import Callable, Sequence
from typing import Protocol
from urllib.parse import urlencode

from infra.local.simulator.listener import Answer, Request, reply


class Numbered(Protocol):
    """What can be listed."""

    @property
    def number(self) -> int:
        """The place in the order of creation."""


def paged[T: Numbered](
    request: Request, api_url: str, listed: Sequence[T], show: Callable[[T], object], size: int
) -> Answer:
    """Answer with the page that is asked for.

    Raises:
        ValueError: the cursor is none of ours.
    """
    direction, number = _place(request.query.get("cursor"))
    page = [each for each in listed if direction != "older" or each.number < number][:size]
    if direction == "newer":
        page = [each for each in listed if each.number > number][-size:]

    def url(direction: str, at: T) -> str:
        cursor = base64.urlsafe_b64encode(f"{direction}:{at.number}".encode()).decode()
        return f"{api_url}{request.path}?{urlencode({**request.query, 'cursor': cursor})}"

    body = {
        "previous": url("newer", page[0]) if page and listed[0] is not page[0] else None,
        "next": url("older", page[-1]) if page and listed[-1] is not page[-1] else None,
        "results": [show(each) for each in page],
    }
    return reply(200, body)


def _place(cursor: str | None) -> tuple[str, int]:
    if not cursor:
        return "", 0
    direction, _, number = base64.urlsafe_b64decode(cursor).decode().partition(":")
    return direction, int(number)
