"""How soon a webhook is answered that brings four images: ours hands them over, the peer stores them first."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from infra.bench.starts import ratio, start

if TYPE_CHECKING:
    from infra.bench.subjects import Subject, Who

BYTES, COUNT = 1_000_000, 4
TIMES, ROUNDS = 9, 3


def measure(subject: Subject, origin: str) -> dict[str, Any]:
    """Give the median milliseconds of such an answer of a warm process; `origin` is that of the images."""
    job_id, document = subject.unfinished()
    output = [f"{origin}/{BYTES}" for _ in range(COUNT)]
    completed = {**document, "status": "succeeded", "output": output}
    found: dict[Who, list[float]] = {"ours": [], "peer": []}
    for _ in range(ROUNDS):
        for who, times in found.items():
            event = subject.told(completed, job_id if who == "ours" else None)
            times.append(median(start(subject, who, "webhook", [event] * (TIMES + 1))["warm_ms"]))
    return {
        "images": COUNT,
        "bytes": BYTES,
        "ms": {who: median(times) for who, times in found.items()},
        "to_peer": ratio(found["ours"], found["peer"]),
    }
