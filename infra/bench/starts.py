"""Cold starts and warm invocations: ours, the peer's and the floor's, in turn, each in a fresh process."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from infra.bench import places
from infra.bench.subjects import ALL, PEERS, OtherwiseDone, Subject

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from infra.bench.subjects import Who

FIRST = Path(__file__).parent / "first.py"
ROUNDS = 5
TRIES = 4
WARM = 40  # invocations of a process, after its first
WARM_FUNCTIONS = ("submit", "webhook", "status")
_MEASURES = ("modules", "import_ms", "first_ms", "total_ms", "cpu_ms", "resident_mb")


def started(subject: Subject, who: Who, name: str, count: int = 1) -> dict[str, Any]:
    """Start a process, let it work on so many events, and give what it measured.

    On a busy machine a call may take too long, so that something else is done than what is measured: then it is
    measured again.
    """
    for left in reversed(range(TRIES)):
        try:
            return start(subject, who, name, [subject.event(who, name) for _ in range(count)])
        except OtherwiseDone:
            if not left:
                raise
    raise ValueError(TRIES)


def start(subject: Subject, who: Who, name: str, events: Sequence[Any]) -> dict[str, Any]:
    """Start a process, let it work on these events, and give what it measured."""
    place = subject.place(who, name)
    spec = {
        "paths": list(place.paths),
        "environment": dict(place.environment),
        "handler": place.handler,
        "events": events,
    }
    told = places.told(FIRST, spec)
    subject.check(who, name, events[0], told.pop("answers"))
    return told


def cold(subject: Subject, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure the first invocation of all functions; the first round, which compiles, does not count."""
    found: dict[str, dict[Who, list[dict[str, Any]]]] = {name: {who: [] for who in ALL} for name in PEERS}
    for number in range(rounds + 1):
        for name, by_who in found.items():
            for who in ALL:
                told = started(subject, who, name)
                if number:
                    by_who[who].append(told)
    return {name: _summary(by_who) for name, by_who in found.items()}


def warm(subject: Subject, rounds: int = 3) -> dict[str, Any]:
    """Measure the CPU of further invocations, in milliseconds; each round is a process of each kind."""
    found: dict[str, dict[Who, list[float]]] = {name: {who: [] for who in ALL} for name in WARM_FUNCTIONS}
    for _ in range(rounds):
        for name, by_who in found.items():
            for who in ALL:
                by_who[who].append(median(started(subject, who, name, WARM + 1)["warm_cpu_ms"]))
    return {
        name: {who: median(each) for who, each in by_who.items()} | {"to_peer": ratio(by_who["ours"], by_who["peer"])}
        for name, by_who in found.items()
    }


def ratio(ours: Sequence[float], others: Sequence[float]) -> float:
    """Compare each measurement with the one beside it: what the machine did meanwhile has hit both."""
    return median(one / other for one, other in zip(ours, others, strict=True))


def _summary(by_who: Mapping[Who, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    medians: dict[str, Any] = {
        who: {measure: median(one[measure] for one in runs) for measure in _MEASURES} for who, runs in by_who.items()
    }
    cpu = {who: [one["cpu_ms"] for one in runs] for who, runs in by_who.items()}
    return medians | {"to_peer": ratio(cpu["ours"], cpu["peer"]), "to_floor": ratio(cpu["ours"], cpu["floor"])}
