"""Metrics are log lines in CloudWatch's embedded metric format; what is counted by what is said once."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from shared.ending import log_end
from shared.errors import Code, Problem
from shared.job import Job, Millis, Status
from shared.logs import get_logger, log_measured, log_unexpected
from shared.metrics import NAMESPACE, SERVICE, SHAPES, Metric, embedded
from tests.support.cloudwatch import UNITS, points_of
from tests.support.world import START, job

NAME = get_logger().name


@pytest.fixture
def level() -> Iterator[logging.Logger]:
    """The logger, whose level is as it was afterwards."""
    named = logging.getLogger(NAME)
    before = named.level
    yield named
    named.setLevel(before)


def measured(lines: list[str]) -> set[tuple[str, frozenset[tuple[str, str]], float]]:
    return {(one.name, one.dimensions, one.value) for one in points_of(lines) if one.namespace == NAMESPACE}


def by(**dimensions: str) -> frozenset[tuple[str, str]]:
    return frozenset({SERVICE: NAME, **dimensions}.items())


def test_every_metric_has_a_shape_with_a_unit_that_cloudwatch_knows() -> None:
    assert set(SHAPES) == set(Metric)
    assert {shape.unit for shape in SHAPES.values()} <= UNITS


def test_a_metric_is_counted_by_each_of_its_dimensions_apart(logged: list[str]) -> None:
    log_measured("over", {Metric.FAILED: 1, Metric.CANCELED: 2}, model="m", code="c", job_id="j")
    assert measured(logged) == {("Failed", by(model="m"), 1), ("Failed", by(code="c"), 1), ("Canceled", by(), 2)}
    (line,) = map(json.loads, logged)
    assert (line["message"], line["job_id"], line["level"]) == ("over", "j", "INFO")
    assert abs(line["_aws"]["Timestamp"] / 1000 - logging.LogRecord("", 0, "", 0, "", (), None).created) < 60


def test_a_line_without_values_is_a_line_like_any_other(logged: list[str]) -> None:
    log_measured("nothing", {}, level=logging.WARNING, cause="throttled")
    assert "_aws" not in logged[0]
    assert (json.loads(logged[0])["level"], json.loads(logged[0])["cause"]) == ("WARNING", "throttled")


def test_a_metric_without_one_of_its_dimensions_is_an_error() -> None:
    with pytest.raises(KeyError, match="model"):
        embedded({Metric.SUBMITTED: 1}, {SERVICE: NAME}, at=0)


@pytest.mark.parametrize(("kept", "lines"), [(logging.ERROR, 1), (logging.CRITICAL, 0)])
def test_what_is_measured_is_written_whatever_the_level_is_unless_nothing_is(
    logged: list[str], level: logging.Logger, kept: int, lines: int
) -> None:
    level.setLevel(kept)
    log_measured("refused", {Metric.WEBHOOKS_REFUSED: 1})
    get_logger().info("not this")
    assert len(logged) == lines


def test_what_nobody_expected_is_counted_and_tells_where_but_not_what_it_said(logged: list[str]) -> None:
    try:
        int("a prompt that must not be logged")
    except ValueError as error:
        log_unexpected("went_wrong", error, job_id="j")
    assert measured(logged) == {("UnexpectedErrors", by(), 1)}
    (line,) = logged
    assert "must not be logged" not in line
    assert json.loads(line) | {"error": "ValueError", "job_id": "j", "level": "ERROR"} == json.loads(line)
    assert "test_metrics.py" in json.loads(line)["frames"][0]


def ended(**changes: Any) -> Job:
    fields: dict[str, Any] = {"status": Status.SUCCEEDED, "family": "m", "cost": 3_000, "hold": None}
    return replace(job(), **{**fields, **changes})


def at(seconds: float) -> Millis:
    return Millis(START + round(seconds * 1000))


def test_a_success_is_counted_with_its_money_and_the_time_of_each_stage(logged: list[str]) -> None:
    log_end("ended", ended(claimed_at=at(2), started_at=at(5), completed_at=at(9)), at(10.5))
    assert measured(logged) == {
        ("Succeeded", by(model="m"), 1),
        ("SpentUsd", by(model="m"), 0.003),
        ("QueuedSeconds", by(), 2),
        ("StartingSeconds", by(), 3),
        ("RunningSeconds", by(model="m"), 4),
        ("StoringSeconds", by(), 1.5),
    }


def test_no_stage_takes_less_than_no_time_or_is_made_up(logged: list[str]) -> None:
    # Replicate's clock is behind ours, and did not say when it began.
    log_end("ended", ended(claimed_at=at(2), started_at=None, completed_at=at(9)), at(8))
    stages = {name: value for name, _, value in measured(logged) if name.endswith("Seconds")}
    assert stages == {"QueuedSeconds": 2, "StoringSeconds": 0}


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (Status.FAILED, Code.NSFW_CONTENT, {("Failed", by(model="m"), 1.0), ("Failed", by(code="nsfw_content"), 1.0)}),
        (Status.FAILED, None, {("Failed", by(model="m"), 1.0), ("Failed", by(code="none"), 1.0)}),
        (Status.CANCELED, Code.DEADLINE_EXCEEDED, {("Canceled", by(), 1.0)}),
    ],
)
@pytest.mark.parametrize("cost", [0, 3_000])
def test_what_came_to_nothing_is_counted_and_what_it_cost_all_the_same(
    logged: list[str], status: Status, code: Code | None, expected: set[Any], cost: int
) -> None:
    problem = Problem(code, "in words") if code else None
    log_end("abandoned", ended(status=status, problem=problem, cost=cost), at(1))
    spent = {("SpentUsd", by(model="m"), 0.003)} if cost else set()
    assert measured(logged) == expected | spent
    assert "in words" not in logged[0]
