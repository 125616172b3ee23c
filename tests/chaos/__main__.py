"""Explores everything, or replays one point: `python -m tests.chaos --help`."""

from __future__ import annotations

import argparse
import sys
import time
from multiprocessing import get_context
from typing import TYPE_CHECKING

from tests.chaos.explorer import explore_all, happen
from tests.chaos.faults import Fault, Point
from tests.chaos.invariants import violations
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.world import deployment
from tests.support.world import START

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

    from tests.chaos.explorer import Result


def main() -> int:
    """Give 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--scenario", choices=SCENARIOS, help="only this one")
    parser.add_argument("--call", type=int, action="append", default=[], help="replay: the number of the call …")
    parser.add_argument("--fault", type=Fault, action="append", default=[], help=f"… and one of {', '.join(Fault)}")
    parser.add_argument("--calls", action="store_true", help="list the calls that the scenario makes")
    parser.add_argument("--every", type=int, default=1, help="only every n-th point")
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    given = parser.parse_args()
    if given.calls or given.call:
        return _replay(given.scenario or "success", list(map(Point, given.call, given.fault)))
    return _explore([given.scenario] if given.scenario else list(SCENARIOS), given.every, given.jobs)


def _replay(name: str, points: list[Point]) -> int:
    struck = {point.call: f"  <-- {point.fault}" for point in points}
    with deployment() as world:
        history = happen(world, SCENARIOS[name], *points)
        wrongs = violations(history)
    for number, (call, at) in enumerate(zip(history.calls.log, history.calls.times, strict=True)):
        said = f"{call.function:9} {call.name}{struck.get(number, '')}"
        print(f"{number:4} {(at - START) / 1000:9.3f} s  {said}")  # noqa: T201
    print("\n".join(wrongs) or "nothing is broken")  # noqa: T201
    return int(bool(wrongs))


def _explore(names: list[str], every: int, jobs: int) -> int:
    began = time.monotonic()
    context = get_context("spawn")
    results: Queue[Result] = context.Queue()
    workers = [
        context.Process(target=explore_all, args=(names, every * jobs, every * number, results))
        for number in range(jobs)
    ]
    for worker in workers:
        worker.start()
    points = dict.fromkeys(names, 0)
    broken: set[str] = set()
    for _ in range(len(names) * jobs):
        name, explored, findings = results.get()
        points[name] += explored
        for finding in set(map(str, findings)) - broken:
            print(finding, flush=True)  # noqa: T201
            broken.add(finding)
        print(f"{name:24} {points[name]:5} points", flush=True)  # noqa: T201
    for worker in workers:
        worker.join()
    seconds = time.monotonic() - began
    print(f"{len(names)} scenarios, {sum(points.values())} points, {len(broken)} broken, {seconds:.0f} s")  # noqa: T201
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
