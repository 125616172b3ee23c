"""Money: what a job is expected to cost, and what it did cost.

Prices are read by people from Replicate's pages, since Replicate's API does not give them: each has its date.
Amounts are whole micro-USD (1 USD = 1,000,000), so that they can be counted without rounding.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum

MICRO = 1_000_000
_AMOUNT = re.compile(r"(?=\.?\d)(\d{0,9})(?:\.(\d{0,6}))?", re.ASCII)


class Unit(StrEnum):
    """What a price is for one of."""

    IMAGE = "image"
    SECOND = "second"  # of a machine's time
    PREDICTION = "prediction"  # that ran, however it ended


@dataclass(frozen=True)
class Price:
    """So many micro-USD for each unit. A job keeps the price it was admitted with."""

    micro_usd: int
    unit: Unit = Unit.IMAGE

    def of(self, *, images: int, seconds: float, has_run: bool = True) -> int:
        """Give the cost of what was made, in micro-USD, rounded up."""
        match self.unit:
            case Unit.IMAGE:
                return self.micro_usd * images
            case Unit.SECOND:
                return math.ceil(self.micro_usd * seconds)
            case Unit.PREDICTION:
                return self.micro_usd if has_run else 0


@dataclass(frozen=True)
class Tariff:
    """A price as it was published, and what is needed to estimate with it.

    `seconds` is how long one image, or one step of a training, usually takes, and `least_seconds` the whole at least.
    `read` is the month in which somebody read the price at its `source`; what is not certain was told second-hand, or
    is estimated.
    """

    price: Price
    read: str
    source: str
    seconds: float = 0
    is_certain: bool = True
    least_seconds: float = 0

    def estimate(self, effort: float, *, images: int | None = None, most_seconds: float = math.inf) -> int:
        """Give what something is expected to cost, in micro-USD.

        `effort` counts usual images, or steps of a training: a larger image, or one of more steps, is more than one.
        `images` is how many there are, if that is not the effort.
        """
        seconds = min(max(self.seconds * effort, self.least_seconds), most_seconds)
        return self.price.of(images=int(effort) if images is None else images, seconds=seconds)


def usd(micro: int) -> str:
    """Write an amount in USD, without superfluous zeros."""
    whole, rest = divmod(abs(micro), MICRO)
    return f"{'-' if micro < 0 else ''}{whole}.{rest:06d}".rstrip("0").rstrip(".")


def percent(spent: int, budget: int) -> float:
    """Give the part of a budget that is spent; of none, all is."""
    return 100 * spent / budget if budget else 100.0


def micro_usd(text: str) -> int:
    """Read an amount in USD, such as `0.50`, into micro-USD.

    Raises:
        ValueError: it is not an amount.
    """
    if not (match := _AMOUNT.fullmatch(text.strip())):
        raise ValueError(f"{text!r} is not an amount in USD, such as 0.50")
    whole, rest = match[1], match[2] or ""
    return int(whole or "0") * MICRO + int(f"{rest:0<6}")
