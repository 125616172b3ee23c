"""A slice of the exploration, the same each time, and proof that it would find what is broken."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.chaos.explorer import explore, judge, points_of, undisturbed
from tests.chaos.mutants import MUTANTS
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.world import deployment
from tests.support.world import World

EVERY = 389  # a prime: in the long run every call and every fault has its turn


@pytest.fixture(scope="module")
def standing() -> Iterator[World]:
    """One deployment for all histories."""
    with deployment() as world:
        yield world


@pytest.mark.parametrize("name", SCENARIOS)
def test_promises_hold_in_a_scenario_and_when_some_of_its_calls_fail(standing: World, name: str) -> None:
    first = list(SCENARIOS).index(name)
    _, findings = explore(standing, name, every=EVERY, first=first, twice=False)
    assert not findings, "\n".join(map(str, findings))


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_part_is_caught(standing: World, name: str) -> None:
    mutant = MUTANTS[name]
    scenario = replace(SCENARIOS[mutant.scenario], new=mutant.function)
    with mutant.alive():
        calls, finding = undisturbed(standing, scenario)
        assert finding or any(judge(standing, scenario, point) for point in points_of(scenario, calls))
