"""Cold starts under Lambda's own runtime: `aws-lambda-rie`, which the SAM CLI brings, and `awslambdaric`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from infra.bench import places
from infra.bench.starts import ratio
from infra.bench.subjects import ALL, Subject
from infra.bench.targets import OF_PEER
from tests.artifact.running import RUNTIME, invoke

if TYPE_CHECKING:
    from infra.bench.subjects import Who

ROUNDS = 2


def measure(subject: Subject, rounds: int = ROUNDS) -> dict[str, Any]:
    """Give the milliseconds from the first event to its answer, in which the runtime starts; a round is left out."""
    found: dict[str, dict[Who, list[float]]] = {name: {who: [] for who in ALL} for name in OF_PEER}
    for number in range(rounds + 1):
        for name, by_who in found.items():
            for who in ALL:
                took = _first(subject, who, name)
                if number:
                    by_who[who].append(took)
    return {
        name: {who: median(each) for who, each in by_who.items()}
        | {f"to_{other}": ratio(by_who["ours"], by_who[other]) for other in ALL[1:]}
        for name, by_who in found.items()
    }


def _first(subject: Subject, who: Who, name: str) -> float:
    place, event = subject.place(who, name), subject.event(who, name)
    with tempfile.TemporaryDirectory() as folder:
        answer = invoke(
            places.ROOT if who != "ours" else Path(place.paths[0]),
            place.handler,
            event,
            log=Path(folder, "log"),
            variables=place.environment,
            paths=[*map(Path, place.paths), RUNTIME],
        )
    subject.check(who, name, event, [answer.value])
    return answer.ms
