"""Every event as one conditional write does in DynamoDB exactly what `apply` does in memory."""

from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings

from shared.job import EVENTS, Event, Hold, Job, Status, apply
from shared.job_store import decode, encode
from tests.support.events import ANYTHING, OTHER, SAMPLES, events, full_jobs, jobs
from tests.support.world import START, World, deployed

if TYPE_CHECKING:
    from shared.job import Test  # pytest would take it for one of its own


@pytest.fixture(scope="module")
def standing() -> Iterator[World]:
    """One world for thousands of writes."""
    with deployed() as world:
        yield world


def agree(world: World, before: Job, event: Event) -> None:
    world.put(before)
    expected = apply(before, event)
    outcome = world.jobs.record(before.id, event)
    assert outcome == expected


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("event", EVENTS)
def test_a_write_agrees_with_the_rules_for_every_event_in_every_status(
    standing: World, event: type[Event], status: Status
) -> None:
    sample = SAMPLES[event]
    agree(standing, sample.fitting(status), sample.event)


@given(before=jobs(), event=events())
@settings(max_examples=300)
def test_a_write_agrees_with_the_rules_around_every_guard(standing: World, before: Job, event: Event) -> None:
    agree(standing, before, event)


def test_every_field_of_a_job_is_tried() -> None:
    assert set(ANYTHING) == {spec.name for spec in fields(Job)}


@given(one=full_jobs())
def test_a_job_comes_back_as_it_was_written(one: Job) -> None:
    assert decode(encode(one)) == one


@given(one=full_jobs())
@settings(max_examples=40)
def test_dynamodb_takes_and_gives_back_every_job(standing: World, one: Job) -> None:
    standing.put(one)
    assert standing.jobs.get(one.id) == one


def around(test: "Test") -> set[Any]:
    """Give values of the field on both sides of the test, and just on it."""
    value = test.value
    if value is None:
        return {{"prediction_id": OTHER, "lease": "you", "hold": Hold("20261101", 3_000)}.get(test.field, START)}
    return {value - 1, value, value + 1} if isinstance(value, int) else {value, OTHER}


@pytest.mark.parametrize("event", EVENTS)
def test_a_write_agrees_with_the_rules_for_every_combination_of_values_around_the_guards(
    standing: World, event: type[Event]
) -> None:
    sample = SAMPLES[event]
    optional = {spec.name for spec in fields(Job) if spec.default is None}
    values: dict[str, set[Any]] = {}
    for test in (test for requirement in sample.event.requires() for test in requirement.tests):
        values.setdefault(test.field, {None} if test.field in optional else set()).update(around(test))
    for status, combination in product(event.legal_from, product(*values.values())):
        agree(standing, replace(sample.fitting(status), **dict(zip(values, combination, strict=True))), sample.event)
