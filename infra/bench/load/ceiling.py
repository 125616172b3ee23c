"""What the emulator can do at most: a function that does nothing behind the same gateway, and plain calls to AWS."""

from __future__ import annotations

import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.journey.local import Local

CALLERS = 8
ROUNDS = 3  # in turn, so that what else the machine does hits all of them
NOTHING = "GET /health"  # a function that asks nobody for anything
PUT = "DynamoDB PutItem"
_SETTLED_S = 60


def measure(local: Local, seconds: float) -> dict[str, float]:
    """Give how many a second there were of each, with eight callers that do nothing else."""
    callers = {NOTHING: _getting(local.stack.api_url, "/health"), PUT: _putting(local)}
    rates: dict[str, list[float]] = {name: [] for name in callers}
    for number in range(ROUNDS + 1):
        for name, caller in callers.items():
            rate = _rate(caller, seconds)
            if number:  # in the first round processes start
                rates[name].append(rate)
    return {name: median(found) for name, found in rates.items()}


def _rate(caller: Callable[[], Callable[[], None]], seconds: float) -> float:
    """Have each caller do it as often as it can for so long, and give how often a second that was."""

    def call() -> int:
        do, times = caller(), 0
        do()  # what is new takes longer once
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            do()
            times += 1
        return times

    with ThreadPoolExecutor(CALLERS) as pool:
        return sum(done.result() for done in [pool.submit(call) for _ in range(CALLERS)]) / seconds


def _getting(origin: str, path: str) -> Callable[[], Callable[[], None]]:
    def caller() -> Callable[[], None]:
        connection = http.client.HTTPConnection(urlsplit(origin).netloc, timeout=_SETTLED_S)

        def get() -> None:
            connection.request("GET", path)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != http.client.OK:
                raise RuntimeError(f"{path} answered {answer.status}: {content!r}")

        return get

    return caller


def _putting(local: Local) -> Callable[[], Callable[[], None]]:
    """Put an item of 1 KB, as plainly as the client allows."""
    item: Any = {"pk": {"S": "load#ceiling"}, "content": {"S": "x" * 1000}}

    def put() -> None:
        local.aws.dynamodb.put_item(TableName=local.stack.jobs_table, Item=item)

    return lambda: put
