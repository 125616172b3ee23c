"""Submitting, on a clock: how long keys and equal requests count, and what happens at the limits of time."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from shared.accounts import Account
from shared.errors import Code, InvalidField, Refusal
from shared.job import Job, Status
from shared.ledger import POINTER_VALID_MS, day_of
from shared.ordering import Order
from shared.registry import MODELS
from shared.submission import DAY_MS, LATEST_START_MS, LONGEST_ADMISSION_MS, Submission, Submitted, all_refused
from shared.targets import Target
from tests.support.cloudwatch import by_name, points_of
from tests.support.conflicts import Conflicts, listening
from tests.support.parts import Parts, composed
from tests.support.world import ALICE, LIMITS, START, World

CALLER = Account(ALICE, LIMITS)
SCHNELL = Target(MODELS["black-forest-labs/flux-schnell"])


@pytest.fixture
def parts(world: World) -> Iterator[Parts]:
    with composed(world) as parts:
        yield parts


def order(prompt: str = "a fox", **changes: Any) -> Order:
    fields: dict[str, Any] = {"target": SCHNELL, "input": {"prompt": prompt}, "drop_unknown": False, **changes}
    return Order(**fields)


def submit(
    submission: Submission, given: Order | None = None, *, body: str = "body", key: str | None = None
) -> Submitted:
    return submission.submit(given or order(), CALLER, body=body, key=key, received_at=submission._now())


def batch(submission: Submission, *prompts: str, key: str | None = None) -> tuple[str, list[Submitted | Refusal]]:
    orders = [order(prompt) for prompt in prompts]
    return submission.submit_batch(orders, CALLER, body="body", key=key, received_at=submission._now())


def ended(world: World, job: Job, status: Status = Status.SUCCEEDED) -> Job:
    return world.put(replace(world.read(job.id), status=status, hold=None))


# Keys


def test_a_key_counts_for_a_day(world: World, parts: Parts) -> None:
    submission = parts.submission()
    first = ended(world, submit(submission, key="k").job)
    world.clock.at = START + POINTER_VALID_MS - 1
    assert submit(submission, key="k").job.id == first.id
    world.clock.at += 1
    second = submit(submission, key="k", body="another").job
    assert second.id != first.id
    assert submit(submission, key="k", body="another").job.id == second.id


def test_each_admission_tells_of_its_model_and_of_the_budget_as_far_as_the_process_knows_it(
    parts: Parts, logged: list[str]
) -> None:
    submission, cost = parts.submission(), 3_000
    limits = replace(LIMITS, daily_budget=10 * cost)
    caller = Account(ALICE, limits, {day_of(START): 2 * cost, "20001231": 7})
    for _ in range(2):
        submission.submit(order(), caller, body="b", key=None, received_at=START)
    submission.submit_batch([order(), order()], caller, body="b", key=None, received_at=START)
    assert by_name(logged) == {"Submitted": [1] * 4, "BudgetUsedPercent": [30, 40, 50, 60]}
    models = {value for point in points_of(logged) for name, value in point.dimensions if name == "model"}
    assert models == {"black-forest-labs/flux-schnell"}


def test_a_key_outlives_its_unfinished_job(world: World, parts: Parts) -> None:
    submission = parts.submission()
    first = submit(submission, key="k").job
    world.clock.at += 3 * POINTER_VALID_MS
    assert submit(submission, key="k").job.id == first.id
    with pytest.raises(Refusal) as refused:
        submit(submission, key="k", body="another")
    assert refused.value.code is Code.IDEMPOTENCY_KEY_REUSED
    ended(world, first, Status.FAILED)
    assert submit(submission, key="k").job.id != first.id


def test_a_batch_is_found_by_its_key_for_a_day(world: World, parts: Parts) -> None:
    submission = parts.submission()
    batch_id, first = batch(submission, "a", "b", key="k")
    world.clock.at = START + POINTER_VALID_MS - 1
    assert batch(submission, "a", "b", key="k") == (batch_id, first)
    for one in first:
        assert isinstance(one, Submitted)
        ended(world, one.job)
    world.clock.at += 1
    another_id, second = batch(submission, "a", "b", key="k")
    assert another_id != batch_id
    assert {one.job.batch_id for one in second if isinstance(one, Submitted)} == {another_id}


# Equal requests


@pytest.mark.parametrize(("days", "lives_ms"), [(1, DAY_MS // 2), (2, DAY_MS), (30, 29 * DAY_MS)])
def test_a_job_is_reused_while_its_files_live(world: World, parts: Parts, days: int, lives_ms: int) -> None:
    submission = parts.submission(retention_days=days)
    first = ended(world, submit(submission, order(reuse=True)).job)
    world.clock.at = START + lives_ms - 1
    assert submit(submission, order(reuse=True)) == Submitted(replace(first, joined=1), is_reused=True)
    world.clock.at += 1
    second = submit(submission, order(reuse=True))
    assert (second.is_reused, second.job.id == first.id) == (False, False)
    world.clock.at += lives_ms - 1
    assert submit(submission, order(reuse=True)).job.id == second.job.id, "the new one has a life of its own"


def test_files_that_live_shorter_by_now_are_not_reused(world: World, parts: Parts) -> None:
    first = submit(parts.submission(retention_days=30), order(reuse=True)).job
    world.put(replace(ended(world, first), completed_at=START))
    world.clock.at = START + 2 * DAY_MS
    assert submit(parts.submission(retention_days=3), order(reuse=True)).is_reused
    assert not submit(parts.submission(retention_days=2), order(reuse=True)).is_reused


def test_without_an_end_of_the_files_a_job_is_reused_for_good(world: World, parts: Parts) -> None:
    submission = parts.submission()
    first = ended(world, submit(submission, order(reuse=True)).job)
    world.clock.at += 10_000 * DAY_MS
    assert submit(submission, order(reuse=True)).job.id == first.id


def test_a_job_that_cannot_be_joined_again_and_again_is_no_endless_loop(world: World, parts: Parts) -> None:
    submission = parts.submission()
    submit(submission, order(reuse=True))

    def fails(**_: object) -> None:
        for item in world.dynamodb.scan(TableName=world.jobs_table)["Items"]:
            if item["pk"]["S"].startswith("job#"):
                failed = {**item, "status": {"S": "failed"}}
                world.dynamodb.put_item(TableName=world.jobs_table, Item=failed)

    with listening(world, "before-call.dynamodb.UpdateItem", fails):
        again = submit(submission, order(reuse=True))
    assert not again.is_reused


# Contention


def test_an_order_that_never_passes_is_refused_and_its_permit_given_back(world: World) -> None:
    with composed(world, rate=100) as parts:
        submission = parts.submission()
        with Conflicts(world, "TransactWriteItems"), pytest.raises(Refusal) as refused:
            submit(submission)
        assert refused.value.code is Code.RATE_LIMITED
        submit(submission)
        item = world.dynamo.get(world.accounts_table, "upstream#replicate")
    assert item is not None
    assert item["used"] == {"N": "1"}
    assert len(world.jobs_written()) == 1


def test_a_batch_that_never_passes_is_refused_as_a_whole(world: World, parts: Parts) -> None:
    with Conflicts(world, "TransactWriteItems"), pytest.raises(Refusal) as refused:
        batch(parts.submission(), "a", "b")
    assert refused.value.code is Code.RATE_LIMITED
    assert world.jobs_written() == []


def test_a_batch_passes_when_other_transactions_were_in_the_way(world: World, parts: Parts) -> None:
    with Conflicts(world, "TransactWriteItems", times=5) as conflicts:
        _, results = batch(parts.submission(), "a", "b", key="k")
    assert conflicts.met == 5
    assert all(isinstance(one, Submitted) for one in results)


def test_a_batch_ends_in_time_and_a_repeat_goes_on(world: World, parts: Parts) -> None:
    submission = parts.submission()

    def slowly(**_: object) -> None:
        world.clock.at += LONGEST_ADMISSION_MS // 2 + 1

    with listening(world, "after-call.dynamodb.TransactWriteItems", slowly):
        batch_id, results = batch(submission, "a", "b", "c", key="k")
    accepted = [one.job.id for one in results if isinstance(one, Submitted)]
    refused = [one for one in results if isinstance(one, Refusal)]
    assert {one.code for one in refused} == {Code.UPSTREAM_UNAVAILABLE}
    assert all(one.retry_after for one in refused)
    assert 0 < len(accepted) < 3
    assert [order.job_id for order, _ in parts.orders()] == accepted
    again_id, again = batch(submission, "a", "b", "c", key="k")
    assert again_id == batch_id
    assert [one.job.id for one in again[: len(accepted)] if isinstance(one, Submitted)] == accepted
    assert all(isinstance(one, Submitted) for one in again)
    assert len(world.jobs_written()) == 3


# Replicate's limit


def test_what_goes_beyond_replicates_limit_is_accepted_and_queued(world: World) -> None:
    with composed(world, rate=1) as parts:
        submission = parts.submission()
        first, second = submit(submission).job, submit(submission).job
        assert (first.status, second.status) == (Status.STARTING, Status.QUEUED)
        ((sent, delay),) = parts.orders()
    assert (sent.job_id, delay) == (second.id, 60)
    assert len(parts.replicate.created) == 1


@pytest.mark.parametrize(
    ("late_ms", "status"), [(LATEST_START_MS, Status.STARTING), (LATEST_START_MS + 1, Status.QUEUED)]
)
def test_what_could_not_be_answered_in_time_is_started_by_dispatch(
    world: World, parts: Parts, late_ms: int, status: Status
) -> None:
    submission = parts.submission()
    world.clock.at += late_ms
    job = submission.submit(order(), CALLER, body="body", key=None, received_at=START).job
    assert job.status is status
    is_queued = status is Status.QUEUED
    assert (len(parts.replicate.created), len(parts.orders())) == (int(not is_queued), int(is_queued))


# Refusals of several parts


def refusal(code: Code, *fields: str) -> Refusal:
    found = tuple(InvalidField(field, "no") for field in fields)
    return Refusal(code, "no", found)


def test_all_refused_is_the_first_with_the_fields_of_all_that_are_alike() -> None:
    one = all_refused(
        [
            refusal(Code.INVALID_INPUT, "prompts.0"),
            refusal(Code.BUDGET_EXCEEDED),
            refusal(Code.INVALID_INPUT, "prompts.2", "input.seed"),
        ]
    )
    assert one.code is Code.INVALID_INPUT
    assert [field.field for field in one.invalid_fields] == ["prompts.0", "prompts.2", "input.seed"]
    assert all(field.field in one.detail for field in one.invalid_fields)
    assert all_refused([refusal(Code.BUDGET_EXCEEDED), refusal(Code.INVALID_INPUT, "a")]).invalid_fields == ()
