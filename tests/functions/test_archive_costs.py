"""`archive`: what a job cost is what Replicate charged for, as far as it can be known, and never an absurd figure."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.archiving import SKEW_S, cost_of
from shared.job import Hold, Job, Makes, Millis, Status
from shared.prediction import parse_prediction
from shared.pricing import Price, Unit
from tests.functions.test_archive import IMAGES, check_finished, order, running
from tests.support.replicate import prediction
from tests.support.world import START, World, data_uri, job

STARTED, ENDED = "2026-11-01T12:00:02.000Z", "2026-11-01T12:00:09.000Z"
NOW = Millis(START + 20_000)
ESTIMATE = 50_000
SECOND = Price(1_000, Unit.SECOND)
PREDICTION = Price(7_000, Unit.PREDICTION)
IMAGE = Price(3_000)


def cost(
    price: Price, status: str = "succeeded", *, made: int = 1, own: dict[str, Any] | None = None, **fields: Any
) -> int:
    """Give what a prediction costs that was made for a job of a fresh minute."""
    one = job(price=price, hold=Hold("20261101", ESTIMATE), **(own or {}))
    document = prediction("p1", status, **{"started_at": STARTED, "completed_at": ENDED, **fields})
    return cost_of(one, parse_prediction(document), made, now=NOW)


# Seconds


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"metrics": {"predict_time": 1.5}}, 1_500),
        ({"metrics": {"predict_time": 2}}, 2_000),
        ({"metrics": {"predict_time": 0.0001}}, 1),
        ({"metrics": {"predict_time": 0}}, 0),
        ({"metrics": {"predict_time": 1.5}, "started_at": None, "completed_at": None}, 1_500),
        ({"metrics": {}}, 7_000),
        ({"metrics": None}, 7_000),
        ({"metrics": {"predict_time": 1.5, "more": "x" * 9_000}}, 7_000),
        ({"metrics": {}, "started_at": None}, ESTIMATE),
        ({"metrics": {}, "completed_at": None}, ESTIMATE),
        ({"metrics": {}, "started_at": None, "completed_at": None}, ESTIMATE),
        ({"metrics": {}, "started_at": ENDED, "completed_at": STARTED}, ESTIMATE),
        ({"metrics": {}, "started_at": "soon", "completed_at": 5}, ESTIMATE),
    ],
)
def test_seconds_are_measured_or_told_by_times_or_as_estimated(fields: dict[str, Any], expected: int) -> None:
    assert cost(SECOND, **fields) == expected


@pytest.mark.parametrize(
    "odd", [-1, -0.5, float("nan"), float("inf"), float("-inf"), "1.5", "", None, True, [], [1.5], {"s": 1.5}]
)
def test_a_measure_that_is_none_is_not_believed(odd: Any) -> None:
    assert cost(SECOND, metrics={"predict_time": odd}) == 7_000
    assert cost(SECOND, metrics={"predict_time": odd}, started_at=None) == ESTIMATE


@pytest.mark.parametrize("absurd", [1e9, 1e300, 10**400, 100])
def test_nothing_runs_for_longer_than_its_job_exists(absurd: float) -> None:
    assert cost(SECOND, metrics={"predict_time": absurd}) == (9 + SKEW_S) * 1_000
    assert cost(SECOND, metrics={"predict_time": absurd}, completed_at=None) == (20 + SKEW_S) * 1_000


@pytest.mark.parametrize("completed_at", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_an_absurd_end_makes_no_absurd_cost(completed_at: str) -> None:
    assert cost(SECOND, metrics={"predict_time": 1e9}, completed_at=completed_at) == (20 + SKEW_S) * 1_000
    assert cost(SECOND, metrics={"predict_time": 1.5}, completed_at=completed_at) == 1_500
    assert cost(SECOND, completed_at=completed_at) <= (20 + SKEW_S) * 1_000


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_what_ran_is_paid_for_however_it_ended(status: str) -> None:
    assert cost(SECOND, status, made=0, metrics={"predict_time": 1.5}) == 1_500
    assert cost(SECOND, status, made=0) == 7_000
    assert cost(SECOND, status, made=0, completed_at=None) == ESTIMATE
    assert cost(PREDICTION, status, made=0) == 7_000
    assert cost(PREDICTION, status, made=0, started_at=None, metrics={"predict_time": 1.5}) == 7_000
    assert cost(PREDICTION, status, made=0, started_at=None, own={"started_at": START}) == 7_000


@pytest.mark.parametrize("price", [SECOND, PREDICTION, IMAGE])
@pytest.mark.parametrize("status", ["failed", "canceled", "aborted"])
@pytest.mark.parametrize("metrics", [{}, {"predict_time": 0}, {"predict_time": "x"}, {"total_time": 60.0}])
def test_what_never_began_is_free(price: Price, status: str, metrics: dict[str, Any]) -> None:
    assert cost(price, status, made=0, started_at=None, metrics=metrics) == 0


@pytest.mark.parametrize("made", [0, 1, 4])
def test_a_price_for_each_prediction_is_paid_once_whatever_came_out(made: int) -> None:
    assert cost(PREDICTION, made=made) == 7_000
    assert cost(PREDICTION, made=made, started_at=None, completed_at=None) == 7_000


@pytest.mark.parametrize("status", ["succeeded", "failed", "canceled"])
def test_images_are_paid_for_by_their_number(status: str) -> None:
    for made in (0, 1, 4):
        assert cost(IMAGE, status, made=made, metrics={"predict_time": 100}) == 3_000 * made


_anything = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("2026-11-01T12:00:03Z")
)


@given(
    price=st.builds(Price, st.integers(0, 10**9), st.sampled_from(Unit)),
    status=st.sampled_from(["succeeded", "failed", "canceled", "aborted", "exploded"]),
    times=st.dictionaries(st.sampled_from(["started_at", "completed_at"]), _anything),
    metrics=_anything | st.dictionaries(st.just("predict_time"), _anything),
    made=st.integers(0, 250),
)
def test_no_cost_is_negative_or_absurd(
    price: Price, status: str, times: dict[str, Any], metrics: Any, made: int
) -> None:
    found = cost(price, status, made=made, **{"completed_at": ENDED, **times, "metrics": metrics})
    assert isinstance(found, int)
    longest = (20 + SKEW_S) * price.micro_usd
    assert 0 <= found <= max(longest, made * price.micro_usd, ESTIMATE)


# In the account


def of_seconds(world: World, **changes: Any) -> Job:
    one = running(world, price=SECOND, **{"hold": Hold("20261101", ESTIMATE), "estimate": ESTIMATE, **changes})
    assert world.account()["committed_20261101"] == ESTIMATE
    return one


def test_a_price_for_each_second_is_settled_by_what_was_measured(world: World) -> None:
    one = of_seconds(world)
    assert world.deliver(order(one, output=[data_uri(IMAGES[0])], metrics={"predict_time": 2.5}))
    check_finished(world, one, Status.SUCCEEDED, cost=2_500, files=1)
    manifest = world.manifest(one)
    assert manifest["price"] == {"usd": 0.001, "per": "second"}
    assert (manifest["estimated_cost_usd"], manifest["cost_usd"]) == (0.05, 0.0025)


@pytest.mark.parametrize("odd", ["NaN", "-Infinity", "1e999", '"5"', "-3", "1" + "0" * 400])
def test_an_odd_measure_hinders_no_end(world: World, odd: str) -> None:
    one = of_seconds(world, status=Status.STARTING)
    fields = {"output": [data_uri(IMAGES[0])], "started_at": STARTED, "completed_at": ENDED}
    document = prediction("p1", "succeeded", **fields, metrics={"predict_time": "odd"})
    assert world.webhook(one.id, json.dumps(document).replace('"odd"', odd).encode()).status == 200
    assert world.archive() == []
    ended = world.read(one.id)
    assert ended.status is Status.SUCCEEDED
    assert ended.cost == ((9 + SKEW_S) * 1_000 if len(odd) > 400 else 7_000)


def test_a_prediction_that_was_aborted_before_it_began_gives_all_money_back(world: World) -> None:
    one = of_seconds(world, status=Status.STARTING)
    assert world.deliver(order(one, "aborted"))
    check_finished(world, one, Status.CANCELED, cost=0, files=0)


def test_images_that_could_not_be_stored_were_made_and_are_paid_for(world: World) -> None:
    one = running(world, images=2)
    assert world.deliver(order(one, output=["https://evil.example/1", data_uri(IMAGES[0])]))
    check_finished(world, one, Status.FAILED, cost=6_000, files=1)


@pytest.mark.parametrize("text", ["short", "x" * 60_000])
def test_a_text_is_no_image_to_be_paid_for(world: World, text: str) -> None:
    one = running(world, makes=Makes.ANYTHING)
    assert world.deliver(order(one, output=text))
    assert world.read(one.id).cost == 0
