"""Whatever the order, duplicates and losses of webhooks, polls, cancels and redeliveries: the job ends the same."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.job import (
    Adopted,
    AdoptedToCancel,
    Archived,
    CancelRequested,
    Event,
    Job,
    Millis,
    Progressed,
    Settled,
    Started,
    Status,
    Taken,
    apply,
)
from tests.chaos.invariants import regressions, violations
from tests.chaos.replicate import Behaviour
from tests.chaos.scenarios import Scenario
from tests.chaos.world import History, deployment
from tests.support.events import AT, DUE, OTHER, OWN, SUCCESS
from tests.support.world import START, World, job

HELD = Scenario("held", replicate=Behaviour(webhooks="held", reports=1))
WEBHOOKS = ("start", "processing", "half", "completed")
OF_EACH_RUN = {"job_id", "created_at", "input", "files"}


@pytest.fixture(scope="module")
def standing() -> Iterator[World]:
    """One deployment for all histories."""
    with deployment() as world:
        yield world


def play(world: World, order: Iterable[str]) -> History:
    """Let a prediction end unheard, then let these things happen, then whatever follows."""
    history = History(world, HELD)
    history.go_on(START + 9_000)
    for name in order:
        if name in WEBHOOKS:
            history.replicate.send_held(WEBHOOKS.index(name))
        elif name == "archive":
            history.go_on(history.clock() + 1_000)
        elif name == "poll":
            history.clock.go_on(60)
            history.invoke("reconcile", {})
        else:
            history.cancel_all()
    return history.run()


def result(history: History) -> Any:
    """Give what is the same whatever the order was."""
    (key,) = [key for key in history.witness.objects if key.endswith("manifest.json")]
    text = history.witness.objects[key].decode()
    manifest = json.loads(text.replace(key.split("/")[2], "the-job"))
    files = [{**file, "key": file["key"].rpartition("/")[2]} for file in manifest["files"]]
    return {name: value for name, value in manifest.items() if name not in OF_EACH_RUN} | {"files": files}


@pytest.fixture(scope="module")
def natural(standing: World) -> Any:
    """What the natural order ends in."""
    history = play(standing, (*WEBHOOKS, "archive"))
    assert violations(history) == []
    return result(history)


def agree(world: World, natural: Any, order: Sequence[str]) -> None:
    history = play(world, order)
    assert violations(history) == []
    assert result(history) == natural


@pytest.mark.parametrize("order", list(permutations(WEBHOOKS)), ids="-".join)
def test_webhooks_in_any_order_end_the_same(standing: World, natural: Any, order: Sequence[str]) -> None:
    agree(standing, natural, order)


@pytest.mark.parametrize("order", [order for size in range(4) for order in combinations(WEBHOOKS, size)], ids="-".join)
def test_whatever_webhooks_are_lost_it_ends_the_same(standing: World, natural: Any, order: Sequence[str]) -> None:
    agree(standing, natural, order)


@pytest.mark.parametrize("order", list(permutations(("half", "completed", "cancel", "poll"))), ids="-".join)
def test_a_cancel_after_the_prediction_has_ended_changes_nothing(
    standing: World, natural: Any, order: Sequence[str]
) -> None:
    agree(standing, natural, order)


@given(order=st.lists(st.sampled_from((*WEBHOOKS, "archive", "poll", "cancel")), max_size=12))
@settings(max_examples=30)
def test_any_sequence_with_any_repetition_ends_the_same(standing: World, natural: Any, order: list[str]) -> None:
    agree(standing, natural, order)


# The pure core: every order of nine events, each of them once, twice, or not at all

EVENTS: tuple[Event, ...] = (
    Adopted(OWN, DUE),
    Adopted(OTHER, DUE),
    Started(OWN, AT),
    Progressed(OWN, 30, "30%|"),
    Progressed(OWN, 60, "60%|"),
    Taken(OWN, "me", AT, DUE),
    Taken(OWN, "you", Millis(DUE + 1), Millis(DUE + 2)),
    CancelRequested(AT, DUE),
    Settled(outcome=SUCCESS, due_at=DUE, lease="me"),
)


def after(one: Job, event: Event) -> Job:
    """Give the job after an event, or as it is where the event changes nothing."""
    outcome = apply(one, event)
    if not isinstance(outcome, Job):
        return one
    assert not list(regressions(one, outcome))
    return outcome


def reachable() -> list[Job]:
    """Give every job that any order leads to; orders that have met in the same job are followed once."""
    found: dict[str, Job] = {}
    followed: set[tuple[str, frozenset[int]]] = set()
    open_ends = [(job(), frozenset(range(len(EVENTS))))]
    while open_ends:
        one, left = open_ends.pop()
        if (repr(one), left) in followed:
            continue
        followed.add((repr(one), left))
        found[repr(one)] = one
        for number in left:
            once = after(one, EVENTS[number])
            open_ends += [(once, left - {number}), (after(once, EVENTS[number]), left - {number})]
    return list(found.values())


def test_from_wherever_events_lead_the_core_comes_to_the_one_end() -> None:
    found = reachable()
    assert {one.status for one in found} == {Status.STARTING, Status.PROCESSING, Status.STORING, Status.SUCCEEDED}
    for one in found:
        # What is repeated until it works: archive, with what the job's own prediction reports.
        own = one.prediction_id or OWN
        later = Millis(DUE + 3)
        for event in (
            Adopted(own, DUE),
            AdoptedToCancel(own, DUE),
            Taken(own, "they", later, later),
            Settled(outcome=SUCCESS, due_at=DUE, lease="they"),
            Archived(AT),
        ):
            one = after(one, event)  # noqa: PLW2901
        assert (one.status, one.prediction_id, one.cost) == (Status.SUCCEEDED, own, SUCCESS.cost)
        assert (one.files, one.hold, one.due_at, one.due_shard) == (SUCCESS.files, None, None, None)
