"""Enumerates the points of scenarios, lets the history of each happen, and collects what it broke."""

from __future__ import annotations

import gc
import io
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from tests.chaos.faults import Call, Calls, Fault, Point, faults_of
from tests.chaos.invariants import violations
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.world import History, deployment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.queues import Queue

    from tests.chaos.scenarios import Scenario
    from tests.support.world import World

    type Result = tuple[str, int, list[Finding]]

ALIKE = 2  # runs of a function that make the same calls: so many are explored


@dataclass(frozen=True)
class Finding:
    """Where a promise is broken, and how."""

    scenario: str
    points: tuple[Point, ...]
    wrongs: tuple[str, ...]

    def __str__(self) -> str:
        where = "".join(f" --call {point.call} --fault {point.fault}" for point in self.points)
        said = "".join(f"\n    {wrong}" for wrong in self.wrongs)
        return f"python -m tests.chaos --scenario {self.scenario}{where}{said}"


def happen(world: World, scenario: Scenario, *points: Point) -> History:
    """Let a history happen; what the functions print is swallowed."""
    history = History(world, scenario, *points)
    with redirect_stdout(io.StringIO()):
        return history.run()


def judge(world: World, scenario: Scenario, *points: Point) -> Finding | None:
    """Give what is broken, if anything is, where this goes wrong."""
    wrongs = violations(happen(world, scenario, *points))
    return Finding(scenario.name, points, tuple(wrongs)) if wrongs else None


def undisturbed(world: World, scenario: Scenario) -> tuple[Calls, Finding | None]:
    """Give the calls of a scenario in which nothing goes wrong, and what is wrong all the same."""
    history = happen(world, scenario)
    wrongs = violations(history)
    for job in history.witness.jobs.values():
        ended = (job.status, job.problem.code if job.problem else None)
        if ended != (scenario.ends, scenario.problem):
            wrongs.append(f"it ends as {ended}")
    if len(history.witness.jobs) != scenario.jobs:
        wrongs.append(f"it has {len(history.witness.jobs)} jobs")
    return history.calls, Finding(scenario.name, (), tuple(wrongs)) if wrongs else None


def points_of(scenario: Scenario, calls: Calls) -> Iterator[Point]:
    """Give every point of a scenario that makes these calls.

    Left out is what shows nothing new: calls that an earlier scenario has made in the same way, runs of a function
    that make the same calls as two before, and a read that follows the same read, as of the eight parts of an index.
    """
    alike = Counter[tuple[Call, ...]]()
    for _, group in groupby(range(len(calls.log)), key=calls.runs.__getitem__):
        run = list(group)
        made = tuple(calls.log[number] for number in run)
        alike[made] += 1
        if alike[made] > ALIKE or (scenario.new and made[0].function not in scenario.new.split()):
            continue
        for number, call in zip(run, made, strict=True):
            if call.reads and number > run[0] and calls.log[number - 1] == call:
                continue
            for fault in faults_of(call):
                if fault is Fault.DIES_BEFORE and call.reads and number < run[-1]:
                    continue  # as before the next call, since nothing has happened
                yield Point(number, fault)


def deaths_of(world: World, scenario: Scenario, calls: Calls) -> Iterator[tuple[Point, Point]]:
    """Give every pair of deaths after a write, the second while the first is being repaired."""
    for first in (Point(number, Fault.DIES_AFTER) for number, call in enumerate(calls.log) if not call.reads):
        repaired = happen(world, scenario, first).calls.log
        for number, call in enumerate(repaired):
            if number > first.call and not call.reads:
                yield first, Point(number, Fault.DIES_AFTER)


def explore(world: World, name: str, *, every: int, first: int, twice: bool = True) -> tuple[int, list[Finding]]:
    """Explore every n-th point of a scenario, and give how many they were, and the findings.

    `twice` says whether to explore second deaths too, where the scenario wants that.
    """
    scenario = SCENARIOS[name]
    calls, finding = undisturbed(world, scenario)
    found = [finding] if finding else []
    plans: list[tuple[Point, ...]] = [(point,) for point in points_of(scenario, calls)]
    if twice and scenario.twice:
        plans += deaths_of(world, scenario, calls)
    plans = plans[first::every]
    found += [broken for points in plans if (broken := judge(world, scenario, *points))]
    return len(plans), found


def explore_all(names: list[str], every: int, first: int, results: Queue[Result]) -> None:
    """Explore scenarios in a process of its own."""
    gc.set_threshold(1_000_000)  # moto makes many objects, and hardly any cycles: a fifth of the time
    with deployment() as world:
        for name in names:
            results.put((name, *explore(world, name, every=every, first=first)))
