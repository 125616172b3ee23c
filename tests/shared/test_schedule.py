"""When a job is looked at again: soon while it is young, seldom when it is old, and never after its deadline."""

from typing import Any

import pytest

from shared.job import Millis, PredictionId, Status
from shared.schedule import (
    LEASE_S,
    MANIFEST_S,
    POLL_S,
    POLL_WITHOUT_WEBHOOKS_S,
    QUEUED_S,
    after,
    by_deadline,
    next_look,
    retry_delay,
)
from tests.support.template import Template
from tests.support.world import START, adopted, job

HOUR_S = 3600
P1 = PredictionId("p1")


def look(age_s: float, *, poll_s: int = POLL_S, **changes: Any) -> float:
    """Give the seconds until a job of this age is looked at again."""
    now = after(START, age_s)
    return (next_look(job(prediction_id=P1, **changes), now, poll_s=poll_s) - now) / 1000


@pytest.mark.parametrize(
    ("age_s", "wait_s"), [(0, 30), (30, 30), (60, 30), (100, 50), (400, 200), (600, 300), (HOUR_S, 300), (-5, 30)]
)
def test_a_running_job_is_looked_at_after_half_its_age(age_s: float, wait_s: float) -> None:
    assert look(age_s) == wait_s
    assert look(age_s, status=Status.PROCESSING) == wait_s


@pytest.mark.parametrize(("age_s", "wait_s"), [(0, 2), (4, 2), (10, 5), (600, 300)])
def test_without_webhooks_a_young_job_is_looked_at_often(age_s: float, wait_s: float) -> None:
    assert look(age_s, poll_s=POLL_WITHOUT_WEBHOOKS_S) == wait_s


@pytest.mark.parametrize(("age_s", "wait_s"), [(0, 300), (150, 300), (600, 1200), (1_000, 2000), (2 * HOUR_S, 3600)])
def test_a_queued_job_is_looked_at_seldom(age_s: float, wait_s: float) -> None:
    assert look(age_s, status=Status.QUEUED, claimed_at=None) == wait_s
    assert QUEUED_S == 300


def test_a_job_that_is_being_stored_is_looked_at_when_its_lease_is_over() -> None:
    assert look(1, status=Status.STORING, deadline_s=10) == LEASE_S
    assert Template({}, {}).function("ArchiveFunction").timeout < LEASE_S


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELED])
def test_a_job_that_has_ended_is_looked_at_until_it_has_a_manifest(status: Status) -> None:
    assert look(1, status=status, deadline_s=10) == MANIFEST_S


@pytest.mark.parametrize(
    ("changes", "wait_s"),
    [
        ({"deadline_s": 110}, 10),
        ({"cancel_after_at": START + 101_000}, 1),
        ({"deadline_s": 110, "cancel_after_at": START + 101_000}, 1),
        ({"deadline_s": 100}, 50),
        ({"deadline_s": 10}, 50),
        ({"deadline_s": 300}, 50),
        ({"deadline_s": 110, "claimed_at": None}, 10),
    ],
)
def test_a_deadline_to_come_is_not_missed_and_one_that_has_passed_does_not_hurry(
    changes: dict[str, Any], wait_s: float
) -> None:
    assert look(100, **changes) == wait_s


def test_the_models_deadline_counts_only_for_what_runs() -> None:
    waiting, running = job(deadline_s=10), adopted(deadline_s=10)
    due = after(START, 60)
    assert by_deadline(waiting, due, START) == due
    assert by_deadline(running, due, START) == after(START, 10)


@pytest.mark.parametrize(("tries", "seconds"), [(0, 5), (1, 10), (2, 20), (5, 160), (6, 300), (10**6, 300)])
def test_what_is_unavailable_is_tried_less_and_less_often(tries: int, seconds: int) -> None:
    assert retry_delay(tries) == seconds


def test_times_are_whole_milliseconds() -> None:
    assert after(Millis(1), 0.0016) == 3
