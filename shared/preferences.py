"""What callers say in headers: `Prefer`, `Cancel-After`, `Afterimage-Reuse`, and how often they have tried."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.errors import Code, InvalidField, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

RETRY_DIGITS = 3
DEFAULT_S = 60  # what `wait` without a number means to Replicate
SHORTEST_DEADLINE_S = 5
LONGEST_DEADLINE_S = 86_400
_WAIT = re.compile(r"(?:^|[,;\s])wait(?:\s*=\s*\"?(\d{1,6})\"?)?(?=$|[,;\s])", re.IGNORECASE)
_ASYNC = re.compile(r"(?:^|[,;\s])respond-async(?=$|[,;\s])", re.IGNORECASE)

_DURATION = re.compile(r"(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,6})s?)?", re.ASCII)


@dataclass(frozen=True)
class Preference:
    """What the caller prefers: to wait so many seconds, or not at all (0)."""

    seconds: int
    applied: str | None  # what to say in `Preference-Applied`


def parse_preference(headers: Mapping[str, str]) -> Preference:
    """Read the header `Prefer`."""
    prefer = headers.get("prefer", "")
    if match := _WAIT.search(prefer):
        seconds = int(match[1]) if match[1] else DEFAULT_S
        return Preference(seconds, f"wait={seconds}")
    return Preference(0, "respond-async" if _ASYNC.search(prefer) else None)


def parse_cancel_after(headers: Mapping[str, str]) -> int | None:
    """Read the header `Cancel-After` (such as `90`, `90s`, `5m` or `1h30m`) as seconds.

    Raises:
        Refusal: `invalid_input`.
    """
    given = headers.get("cancel-after")
    if given is None:
        return None
    match = _DURATION.fullmatch(given.strip())
    seconds = (
        sum(int(part or 0) * unit for part, unit in zip(match.groups(), (3600, 60, 1), strict=True)) if match else 0
    )
    if not SHORTEST_DEADLINE_S <= seconds <= LONGEST_DEADLINE_S:
        description = f"Give from {SHORTEST_DEADLINE_S} seconds to 24 hours, such as 90s, 5m or 1h30m."
        raise Refusal(
            Code.INVALID_INPUT, f"- Cancel-After: {description}", (InvalidField("Cancel-After", description),)
        )
    return seconds


def wants_reuse(headers: Mapping[str, str]) -> bool:
    """Read the header `Afterimage-Reuse`, which is `true` or `false`.

    Raises:
        Refusal: `invalid_input`.
    """
    given = headers.get("afterimage-reuse", "false").strip().lower()
    if given not in {"true", "false"}:
        description = "Give true or false."
        found = (InvalidField("Afterimage-Reuse", description),)
        raise Refusal(Code.INVALID_INPUT, f"- Afterimage-Reuse: {description}", found)
    return given == "true"


def retry_count(headers: Mapping[str, str]) -> int:
    """Say how many times a client has sent this request before: generated clients count, others say nothing."""
    given = headers.get("x-stainless-retry-count", "")
    return int(given) if given.isascii() and given.isdecimal() and len(given) <= RETRY_DIGITS else 0
