"""Copying outputs into the bucket: memory and speed beside the plainest loops, and what doing it at once gains."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from infra.bench import places
from infra.bench.starts import ratio

if TYPE_CHECKING:
    from collections.abc import Iterator

COPY_ONCE, SINK = Path(__file__).with_name("copy_once.py"), Path(__file__).with_name("sink.py")
LARGE, SMALL = 50_000_000, 1_000_000  # bytes
COUNT = 4
DELAY_MS = 50  # of each answer, where it is about waiting: a near host's
ROUNDS = 5
WAYS = ("ours", "memory", "stream")


@contextmanager
def sink(delay_ms: float = 0) -> Iterator[str]:
    """Give the origin of a server, in a process of its own, that gives and takes bytes."""
    command = [sys.executable, str(SINK), str(delay_ms)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None  # noqa: S101 - told to the type checker
        assert process.stdout is not None  # noqa: S101
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """Copy large outputs in each way, in turn, and small ones one by one and at once."""
    paths = places.layer()
    large: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with sink() as origin:
        for _ in range(rounds):
            for way, runs in large.items():
                runs.append(_copy(paths, origin, way, LARGE))
    waiting: dict[int, list[float]] = {1: [], COUNT: []}
    with sink(DELAY_MS) as origin:
        for _ in range(rounds):
            for at_once, times in waiting.items():
                times.append(_copy(paths, origin, "ours", SMALL, at_once)["seconds"])
    seconds = {way: [run["seconds"] for run in runs] for way, runs in large.items()}
    return {
        "count": COUNT,
        "bytes": LARGE,
        "ways": {
            way: {name: median(run[name] for run in runs) for name in ("seconds", "grown_mb")}
            for way, runs in large.items()
        },
        "speed": {way: ratio(seconds[way], seconds["ours"]) for way in WAYS[1:]},
        "at_once": {
            "bytes": SMALL,
            "delay_ms": DELAY_MS,
            "seconds": {str(at_once): median(times) for at_once, times in waiting.items()},
            "gain": ratio(waiting[1], waiting[COUNT]),
        },
    }


def _copy(paths: list[str], origin: str, way: str, size: int, at_once: int = COUNT) -> dict[str, float]:
    environment = {
        "AWS_ENDPOINT_URL": origin,
        **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test"),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_NAME": "archive",
    }
    spec = {
        "way": way,
        "origin": origin,
        "bytes": size,
        "count": COUNT,
        "at_once": at_once,
        "paths": paths,
        "environment": environment,
    }
    return places.told(COPY_ONCE, spec)
