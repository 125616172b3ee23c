"""The limit towards Replicate: one item counts the creates of all tenants, and processes lease from it in batches.

When Replicate throttles, the allowance is halved and everything pauses for as long as it says; each minute without
throttling raises the allowance again, up to the configured limit. Outages pause everything too, for a moment, so that
a queue full of jobs does not knock in vain.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.dynamo import ConditionFailed, Expression, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.dynamo import Dynamo, Item
    from shared.job import Millis

PK = "upstream#replicate"
WINDOW_MS = 60_000
LEAST_RATE = 6  # a minute: what Replicate leaves to an account with little credit
BATCHES = 100  # of a full window: small enough that what a process does not use is hardly missed
MOST_LEASED = 10  # at once: what each of many processes leaves unused adds up, and a lease costs next to nothing
GROWTH_PERCENT = 150  # of the allowance, after a minute without throttling
LONGEST_PAUSE_S = 60.0
MOST_DOUBLINGS = 6
TRIES = 5


@dataclass
class _Lease:
    permits: int = 0
    until: int = 0


class UpstreamLimit:
    """Grants single creates."""

    def __init__(self, dynamo: Dynamo, table: str, *, rate: int, now: Callable[[], Millis]) -> None:
        """`rate` is how many creates a minute Replicate allows at most."""
        self._dynamo = dynamo
        self._table = table
        self._rate = rate
        self._now = now
        self._lease = _Lease()

    def take(self) -> float:
        """Take a permit for one create: 0 if it was granted, else the seconds after which to ask again."""
        now = self._now()
        if self._lease.permits and now < self._lease.until:
            self._lease.permits -= 1
            return 0
        for _ in range(TRIES):
            wait = self._try_to_lease(self._now())
            if wait == 0:
                self._lease.permits -= 1
                return 0
            if wait is not None:
                return wait
        return 1.0

    def give_back(self) -> None:
        """Return a permit that was not used."""
        self._lease.permits += 1

    def throttled(self, seconds: float) -> None:
        """Replicate says that it was too much: allow half of it, and nothing for so long."""
        item = self._dynamo.get(self._table, PK)
        allowed = _number(item, "rate", self._rate)
        self._block(seconds, {"rate": max(LEAST_RATE, allowed // 2)})

    def pause(self, seconds: float) -> None:
        """Start nothing for so long, and twice as long each time that follows: Replicate cannot be had."""
        item = self._dynamo.get(self._table, PK)
        again = _number(item, "blocked_until", 0) > self._now() - WINDOW_MS
        streak = min(_number(item, "streak", 0) + 1, MOST_DOUBLINGS) if again else 0
        self._block(min(seconds * 2**streak, max(seconds, LONGEST_PAUSE_S)), {"streak": streak})

    def _block(self, seconds: float, changes: Mapping[str, int]) -> None:
        now = self._now()
        self._lease = _Lease()
        update = Expression()
        update.set("blocked_until", now + round(seconds * 1000))
        for name, value in changes.items():
            update.set(name, value)
        # Many processes meet the same refusal at once: the first one speaks for all.
        update.when(update.is_absent("blocked_until"), update.compare("blocked_until", "<=", now))
        with contextlib.suppress(ConditionFailed):
            self._dynamo.update(self._table, PK, update)

    def _try_to_lease(self, now: Millis) -> float | None:
        """Lease a batch: 0 if it worked, the seconds to wait if none is to be had, None if something changed."""
        item = self._dynamo.get(self._table, PK)
        blocked_until = _number(item, "blocked_until", 0)
        if blocked_until > now:
            return (blocked_until - now) / 1000
        started, used, rate = _number(item, "win", 0), _number(item, "used", 0), _number(item, "rate", self._rate)
        batch = max(1, min(MOST_LEASED, self._rate // BATCHES))
        update = Expression()
        for name in ("win", "rate", "blocked_until"):
            _unchanged(update, item, name)
        if started > now - WINDOW_MS:
            taken = min(batch, rate - used)
            if taken <= 0:
                return (started + WINDOW_MS - now) / 1000
            update.add("used", taken)
            update.when(update.compare("used", "<=", rate - taken))
        else:
            if blocked_until <= started:
                rate = min(self._rate, max(rate + 1, rate * GROWTH_PERCENT // 100))
            taken, started = min(batch, rate), now
            update.set("win", now)
            update.set("rate", rate)
            update.set("used", taken)
        try:
            self._dynamo.update(self._table, PK, update)
        except ConditionFailed:
            return None
        self._lease = _Lease(taken, started + WINDOW_MS)
        return 0


def _unchanged(update: Expression, item: Item | None, name: str) -> None:
    """Require that what was read still holds."""
    if item and name in item:
        update.when(update.compare(name, "=", plain(item[name])))
    else:
        update.when(update.is_absent(name))


def _number(item: Item | None, name: str, default: int) -> int:
    return int(plain(item[name])) if item and name in item else default
