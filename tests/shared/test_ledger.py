"""Admission and settlement: limits are exact, refusals consume nothing, and money moves once in each direction."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from shared.accounts import Limits
from shared.errors import Code, Problem, Refusal
from shared.job import (
    Abandoned,
    Hold,
    Ignored,
    Job,
    JobId,
    Kind,
    Millis,
    Outcome,
    PredictionId,
    Reason,
    Settled,
    Status,
    StoredFile,
    TenantId,
    apply,
)
from shared.ledger import POINTER_VALID_MS, Met, Pointer, Spent, day_of, idempotency_pointer, reuse_pointer
from shared.trained_models import TrainedModel, TrainedModels
from tests.support.cloudwatch import by_name
from tests.support.conflicts import Conflicts, listening
from tests.support.world import ALICE, BOB, LIMITS, START, World, job

DAY = "committed_20261101"
MINUTE_S = 60


def costing(amount: int, **changes: Any) -> Job:
    return job(hold=Hold("20261101", amount), **changes)


def limits(rate: int = 1_000, in_flight: int = 1_000, budget: int = 10**9) -> Limits:
    return Limits(rate_per_minute=rate, max_in_flight=in_flight, daily_budget=budget)


def refused(world: World, one: Job, given: Limits, *pointers: Pointer, counts: bool = True) -> Refusal:
    """Admit in a fresh process, and again in one that knows the window: both must refuse and leave all as it was."""
    process = world.ledger()
    for _ in range(2):
        before = world.everything()
        with pytest.raises(Refusal) as caught:
            process.admit(one, given, *pointers, counts=counts)
        assert world.everything() == before, "a refusal consumes nothing"
    return caught.value


# Admission


def test_an_admitted_job_is_written_and_counted(world: World) -> None:
    one = job()
    assert world.ledger().admit(one, LIMITS) is None
    assert world.read(one.id) == one
    account = world.account()
    assert (account["n"], account["inflight"], account[DAY], account["win"]) == (1, 1, 3_000, START)


def test_tenants_are_counted_apart(world: World) -> None:
    ledger = world.ledger()
    ledger.admit(job(), LIMITS)
    ledger.admit(job(tenant=BOB), LIMITS)
    assert world.account(ALICE)["n"] == world.account(BOB)["n"] == 1


def test_a_minute_takes_exactly_the_limit(world: World) -> None:
    ledger = world.ledger()
    for _ in range(5):
        assert ledger.admit(job(), limits(rate=5)) is None
        world.clock.go_on(2)
    refusal = refused(world, job(), limits(rate=5))
    assert refusal.code is Code.RATE_LIMITED
    assert refusal.retry_after == MINUTE_S - 10
    assert "5 requests a minute" in refusal.detail
    with pytest.raises(Refusal):
        ledger.admit(job(), limits(rate=5))


@pytest.mark.parametrize(("later_ms", "passes"), [(59_999, False), (60_000, True), (3_600_000, True)])
def test_a_new_minute_begins_sixty_seconds_after_the_first_request(
    world: World, later_ms: int, *, passes: bool
) -> None:
    ledger = world.ledger()
    ledger.admit(job(), limits(rate=1))
    world.clock.at += later_ms
    if passes:
        assert ledger.admit(job(), limits(rate=1)) is None
        assert (world.account()["n"], world.account()["win"]) == (1, START + later_ms)
    else:
        assert refused(world, job(), limits(rate=1)).retry_after == 0.001


def test_a_process_that_knows_no_window_joins_the_open_one(world: World) -> None:
    world.ledger().admit(job(), LIMITS)
    world.clock.go_on(30)
    world.ledger().admit(job(), LIMITS)
    assert (world.account()["n"], world.account()["win"]) == (2, START)


def test_a_process_with_an_outdated_window_begins_the_new_one(world: World) -> None:
    old = world.ledger()
    old.admit(job(), LIMITS)
    world.clock.go_on(MINUTE_S)
    world.ledger().admit(job(), LIMITS)
    world.clock.go_on(1)
    old.admit(job(), LIMITS)
    assert (world.account()["n"], world.account()["win"]) == (2, START + 60_000)


def test_no_more_jobs_than_allowed_are_in_flight(world: World) -> None:
    ledger = world.ledger()
    for _ in range(3):
        ledger.admit(job(), limits(in_flight=3))
    for later in (0, MINUTE_S):
        world.clock.go_on(later)
        refusal = refused(world, job(), limits(in_flight=3))
        assert refusal.code is Code.TOO_MANY_IN_FLIGHT
        assert refusal.retry_after is not None
        assert refusal.retry_after > 0
    assert "3" in refusal.detail


def test_the_budget_is_spent_to_the_last_micro(world: World) -> None:
    ledger = world.ledger()
    ledger.admit(costing(600), limits(budget=1_000))
    refusal = refused(world, costing(401), limits(budget=1_000))
    assert refusal.code is Code.BUDGET_EXCEEDED
    assert refusal.retry_after == 12 * 3600, "until midnight UTC"
    assert ledger.admit(costing(400), limits(budget=1_000)) is None
    assert world.account()[DAY] == 1_000
    assert refused(world, costing(1), limits(budget=1_000)).code is Code.BUDGET_EXCEEDED


def test_a_refusal_tells_how_much_of_the_budget_was_used(world: World, logged: list[str]) -> None:
    world.ledger().admit(costing(900), limits(budget=1_000))
    refused(world, costing(101), limits(budget=1_000))
    assert set(by_name(logged)["BudgetUsedPercent"]) == {90}


def test_a_free_job_passes_under_a_budget_that_is_spent(world: World) -> None:
    ledger = world.ledger()
    ledger.admit(costing(1_000), limits(budget=1_000))
    assert ledger.admit(costing(0), limits(budget=1_000)) is None


def test_a_cost_above_the_whole_budget_is_refused_for_good_on_a_day_without_spending(world: World) -> None:
    refusal = refused(world, costing(1_001), limits(budget=1_000))
    assert refusal.code is Code.BUDGET_EXCEEDED
    assert refusal.retry_after is None, "no time of day makes it fit"


def test_a_new_day_has_its_own_budget(world: World) -> None:
    ledger = world.ledger()
    ledger.admit(costing(1_000), limits(budget=1_000))
    world.clock.go_on(12 * 3600)
    assert ledger.admit(job(hold=Hold("20261102", 1_000)), limits(budget=1_000)) is None
    assert world.account()["committed_20261102"] == world.account()[DAY] == 1_000


@pytest.mark.parametrize(
    ("at", "day"), [(START, "20261101"), (START + 43_199_999, "20261101"), (START + 43_200_000, "20261102")]
)
def test_a_day_ends_at_midnight_utc(at: int, day: str) -> None:
    assert day_of(Millis(at)) == day


def test_the_rate_is_named_before_the_budget(world: World) -> None:
    world.ledger().admit(costing(1_000), limits(rate=1, budget=1_000))
    assert refused(world, costing(1), limits(rate=1, in_flight=1, budget=1_000)).code is Code.RATE_LIMITED


def test_a_job_of_a_tenant_that_is_gone_is_forbidden(world: World) -> None:
    assert refused(world, job(tenant=TenantId("nobody")), LIMITS).code is Code.FORBIDDEN


def test_a_job_without_a_hold_is_a_mistake(world: World) -> None:
    with pytest.raises(ValueError, match="hold"):
        world.ledger().admit(job(hold=None), LIMITS)


def test_an_admission_that_took_effect_although_its_answer_was_lost_is_not_refused(world: World) -> None:
    one = job()
    assert world.ledger().admit(one, LIMITS) is None
    before = world.everything()
    assert world.ledger().admit(one, LIMITS) is None, "its own job is there, and nobody else knows the id"
    assert world.everything() == before


# Pointers


def pointer(fingerprint: str = "body") -> Pointer:
    return idempotency_pointer(ALICE, "digest-of-the-key", fingerprint, START)


def test_a_repeated_request_meets_the_first_job_and_consumes_nothing(world: World) -> None:
    first = job()
    ledger = world.ledger()
    assert ledger.admit(first, LIMITS, pointer()) is None
    before = world.everything()
    expected = Met(pointer().pk, first.id, "body", Millis(START + POINTER_VALID_MS))
    assert ledger.admit(job(), LIMITS, pointer()) == expected
    assert world.ledger().admit(job(), LIMITS, pointer("another body")) == expected
    assert world.everything() == before


def test_a_repeated_request_is_met_even_when_every_limit_is_reached(world: World) -> None:
    tight = limits(rate=1, in_flight=1, budget=3_000)
    first = job()
    world.ledger().admit(first, tight, pointer())
    met = world.ledger().admit(job(), tight, pointer())
    assert met is not None
    assert met.job_id == first.id


def test_a_request_that_was_refused_leaves_no_pointer(world: World) -> None:
    tight = limits(rate=1)
    world.ledger().admit(job(), tight)
    refused(world, job(), tight, pointer())
    world.clock.go_on(MINUTE_S)
    assert world.ledger().admit(job(), tight, pointer()) is None


def test_keys_of_two_tenants_do_not_meet(world: World) -> None:
    ledger = world.ledger()
    ledger.admit(job(), LIMITS, pointer())
    assert ledger.admit(job(tenant=BOB), LIMITS, idempotency_pointer(BOB, "digest-of-the-key", "body", START)) is None


def test_an_outdated_pointer_is_replaced_only_for_the_job_that_was_read(world: World) -> None:
    first, second, third = job(), job(), job()
    ledger = world.ledger()
    ledger.admit(first, LIMITS, pointer())
    world.clock.at += POINTER_VALID_MS
    wrong = ledger.admit(second, LIMITS, replace(pointer("new"), instead_of="someone-else"))
    assert wrong is not None
    assert wrong.job_id == first.id
    assert ledger.admit(second, LIMITS, replace(pointer("new"), instead_of=first.id)) is None
    late = ledger.admit(third, LIMITS, replace(pointer("newer"), instead_of=first.id))
    assert late is not None
    assert (late.job_id, late.fingerprint) == (second.id, "new")


def test_a_pointer_outlives_its_validity_in_the_table(world: World) -> None:
    world.ledger().admit(job(), LIMITS, pointer())
    item = world.everything()[f"{world.jobs_table}/{pointer().pk}"]
    assert int(item["expires_at"]["N"]) * 1000 > int(item["valid_until"]["N"]) == START + POINTER_VALID_MS


def reuse(fingerprint: str = "meant", valid_until: int | None = None) -> Pointer:
    return reuse_pointer(ALICE, fingerprint, None if valid_until is None else Millis(valid_until))


def test_a_job_can_be_pointed_at_in_several_ways_and_the_first_that_meets_speaks(world: World) -> None:
    one, other = job(), job()
    ledger = world.ledger()
    assert ledger.admit(one, LIMITS, pointer(), reuse()) is None
    assert ledger.admit(other, LIMITS, replace(pointer(), pk="pointer#alice#key#other"), reuse("other")) is None
    for pointers, met in (
        ((pointer(), reuse("other")), one),
        ((reuse("other"), pointer()), other),
        ((replace(pointer(), pk="pointer#new"), reuse()), one),
    ):
        before = world.everything()
        found = ledger.admit(job(), LIMITS, *pointers)
        assert found is not None
        assert found.job_id == met.id
        assert world.everything() == before, "neither a job nor the other pointer"


def test_a_pointer_is_replaced_together_with_the_admission_or_not_at_all(world: World) -> None:
    first, second = job(), job()
    ledger = world.ledger()
    ledger.admit(first, LIMITS, reuse())
    refused(world, second, limits(in_flight=1), replace(reuse(), instead_of=first.id))
    assert ledger.admit(second, LIMITS, replace(reuse(), instead_of=first.id)) is None
    met = ledger.admit(job(), LIMITS, replace(reuse(), instead_of=first.id))
    assert met is not None
    assert met.job_id == second.id


@pytest.mark.parametrize(("valid_until", "kept"), [(START + 5_000, str((START + 5_000) // 1000)), (None, None)])
def test_a_pointer_for_reuse_is_kept_as_long_as_it_counts(
    world: World, valid_until: int | None, kept: str | None
) -> None:
    world.ledger().admit(job(), LIMITS, reuse(valid_until=valid_until))
    item = world.everything()[f"{world.jobs_table}/{reuse().pk}"]
    assert item.get("expires_at", {}).get("N") == kept
    met = world.ledger().admit(job(), LIMITS, reuse())
    assert met is not None
    assert met.valid_until == (valid_until or 2**53)


def test_a_request_is_met_although_its_cost_is_above_the_whole_budget_by_now(world: World) -> None:
    first = costing(1_000)
    ledger = world.ledger()
    ledger.admit(first, limits(budget=1_000), pointer())
    met = ledger.admit(costing(1_000), limits(budget=10), pointer())
    assert met is not None
    assert met.job_id == first.id
    world.clock.go_on(12 * 3600)
    assert refused(world, job(hold=Hold("20261102", 1_000)), limits(budget=10)).code is Code.BUDGET_EXCEEDED


def test_a_job_that_exists_is_pointed_at_once(world: World) -> None:
    ledger = world.ledger()
    assert ledger.point(pointer(), "first") is None
    met = ledger.point(pointer("another body"), "second")
    assert met == Met(pointer().pk, JobId("first"), "body", Millis(START + POINTER_VALID_MS))
    assert ledger.point(replace(pointer(), instead_of="someone-else"), "second") == met
    assert ledger.point(replace(pointer("new"), instead_of="first"), "second") is None
    found = ledger.point(pointer(), "third")
    assert found is not None
    assert (found.job_id, found.fingerprint) == ("second", "new")


def test_a_pointer_passes_when_other_transactions_were_in_the_way(world: World) -> None:
    with Conflicts(world, "TransactWriteItems", times=3) as conflicts:
        assert world.ledger().point(pointer(), "first") is None
    assert conflicts.met == 3


# Jobs of a request that has been counted


def test_a_job_that_does_not_count_takes_no_request_of_the_minute(world: World) -> None:
    ledger = world.ledger()
    for counts in (True, False, False):
        assert ledger.admit(job(), limits(rate=1), counts=counts) is None
    assert (world.account()["n"], world.account()["inflight"], world.account()[DAY]) == (1, 3, 9_000)
    assert refused(world, job(), limits(rate=1)).code is Code.RATE_LIMITED
    world.clock.go_on(MINUTE_S)
    assert ledger.admit(job(), limits(rate=1), counts=False) is None
    assert (world.account()["n"], world.account()["win"]) == (1, START), "nor does it begin a new one"


def test_a_job_that_does_not_count_has_all_other_limits(world: World) -> None:
    ledger = world.ledger()
    ledger.admit(costing(600), limits())
    assert refused(world, costing(401), limits(budget=1_000), counts=False).code is Code.BUDGET_EXCEEDED
    assert refused(world, costing(1), limits(in_flight=1), counts=False).code is Code.TOO_MANY_IN_FLIGHT
    assert refused(world, job(tenant=TenantId("nobody")), LIMITS, counts=False).code is Code.FORBIDDEN


# Contention


def test_an_admission_passes_when_other_transactions_were_in_the_way(world: World) -> None:
    with Conflicts(world, "TransactWriteItems", times=4) as conflicts:
        assert world.ledger().admit(job(), LIMITS) is None
    assert conflicts.met == len(world.sleeps) == 4
    assert len(set(world.sleeps)) > 1, "the waits are spread"
    assert world.account()["n"] == 1


@pytest.mark.parametrize("reason", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
def test_an_admission_that_never_passes_is_refused_with_a_time_to_come_back(world: World, reason: str) -> None:
    with Conflicts(world, "TransactWriteItems", reason=reason):
        refusal = refused(world, job(), LIMITS)
    assert refusal.code is Code.RATE_LIMITED
    assert refusal.retry_after is not None
    assert sum(world.sleeps) < 10, "submit must answer in time"


def test_a_settlement_passes_when_other_transactions_were_in_the_way(world: World) -> None:
    one = storing(world)
    with Conflicts(world, "TransactWriteItems", times=4):
        assert isinstance(world.ledger().settle(one, settled(cost=3_000)), Job)
    assert world.account()["inflight"] == 0


# Settlement


def storing(world: World, amount: int = 3_000, **changes: Any) -> Job:
    """Give an admitted job whose files are being stored."""
    one = costing(amount, status=Status.STORING, prediction_id=PredictionId("p1"), lease="me", **changes)
    world.ledger().admit(one, LIMITS)
    return one


def settled(cost: int, *, lease: str = "me", status: Status = Status.SUCCEEDED) -> Settled:
    file = StoredFile(0, "jobs/alice/x/0.webp", "image/webp", 12, "a" * 64)
    outcome = Outcome(status=status, completed_at=Millis(START + 9), cost=cost, files=(file,))
    return Settled(outcome=outcome, due_at=Millis(START + 99), lease=lease)


@pytest.mark.parametrize("cost", [0, 2_000, 3_000, 5_000])
def test_settling_gives_the_place_back_and_corrects_the_money(world: World, cost: int) -> None:
    one, event = storing(world), settled(cost)
    ended = world.ledger().settle(one, event)
    assert ended == apply(one, event) == world.read(one.id)
    assert (world.account()["inflight"], world.account()[DAY], world.account()["n"]) == (0, cost, 1)


def test_a_job_is_settled_exactly_once(world: World) -> None:
    one = storing(world)
    ended = world.ledger().settle(one, settled(1_000))
    again = world.ledger().settle(one, settled(2_000, status=Status.FAILED))
    assert again == Ignored(Reason.ENDED, world.read(one.id))
    assert world.read(one.id) == ended
    assert (world.account()["inflight"], world.account()[DAY]) == (0, 1_000)
    assert isinstance(ended, Job)
    assert world.ledger().settle(ended, settled(0)) == Ignored(Reason.ENDED, ended)


def test_only_the_holder_of_the_lease_settles(world: World) -> None:
    one = storing(world)
    ignored = world.ledger().settle(one, settled(1_000, lease="you"))
    assert ignored == Ignored(Reason.BUSY, one)
    assert (world.account()["inflight"], world.account()[DAY]) == (1, 3_000)


def test_money_goes_back_to_the_day_it_was_taken_from(world: World) -> None:
    one = storing(world)
    world.clock.go_on(36 * 3600)
    world.ledger().settle(one, settled(0))
    assert world.account()[DAY] == 0
    assert not any(name.startswith("committed_") and name != DAY for name in world.account())


def test_a_job_that_never_ran_costs_nothing(world: World) -> None:
    one = costing(3_000)
    world.ledger().admit(one, LIMITS)
    problem = Problem(Code.UPSTREAM_REJECTED, "no")
    outcome = Outcome(status=Status.FAILED, completed_at=START, cost=0, problem=problem)
    ended = world.ledger().settle(one, Abandoned(outcome=outcome, due_at=START, attempt=1))
    assert isinstance(ended, Job)
    assert (ended.status, ended.problem, ended.hold) == (Status.FAILED, problem, None)
    assert (world.account()["inflight"], world.account()[DAY]) == (0, 0)


def test_an_abandoned_attempt_that_got_a_prediction_is_not_settled(world: World) -> None:
    one = costing(3_000)
    world.ledger().admit(one, LIMITS)
    found = world.put(replace(one, prediction_id=PredictionId("p1")))
    outcome = Outcome(status=Status.FAILED, completed_at=START, cost=0)
    ignored = world.ledger().settle(one, Abandoned(outcome=outcome, due_at=START, attempt=1))
    assert ignored == Ignored(Reason.LATE, found)
    assert world.account()["inflight"] == 1


def test_a_job_that_does_not_exist_is_not_settled(world: World) -> None:
    ignored = world.ledger().settle(job(status=Status.STORING, lease="me"), settled(0))
    assert ignored == Ignored(Reason.MISSING)
    assert world.account()["inflight"] == 0


# What was spent, and what was trained


def test_what_is_spent_is_told_by_day_and_model(world: World) -> None:
    ledger = world.ledger()
    assert ledger.spent(ALICE, "20261101") == Spent(committed=0, by_model={}, in_flight=0)
    for model, cost in (("a/x", 1_000), ("a/x", 2_000), ("b/y", 500), ("c/z", 0)):
        ledger.settle(storing(world, model=model), settled(cost))
    running = storing(world, 700)
    assert ledger.spent(ALICE, "20261101") == Spent(4_200, {"a/x": 3_000, "b/y": 500}, 1)
    assert ledger.spent(ALICE, "20261102") == Spent(0, {}, 1)
    assert ledger.spent(BOB, "20261101") == Spent(0, {}, 0)
    assert ledger.spent(TenantId("nobody"), "20261101") == Spent(0, {}, 0)
    ledger.settle(running, settled(0))
    assert ledger.spent(ALICE, "20261101") == Spent(3_500, {"a/x": 3_000, "b/y": 500}, 0)


def test_money_is_spent_on_the_day_it_was_taken_from(world: World) -> None:
    one = storing(world)
    world.clock.go_on(36 * 3600)
    world.ledger().settle(one, settled(1_000))
    assert world.ledger().spent(ALICE, "20261101").by_model == {one.model: 1_000}
    assert world.ledger().spent(ALICE, "20261102").by_model == {}


def test_a_settlement_that_is_repeated_spends_once(world: World) -> None:
    one = storing(world)
    for _ in range(3):
        world.ledger().settle(one, settled(1_000))
    spent = world.ledger().spent(ALICE, "20261101")
    assert (spent.committed, spent.by_model) == (1_000, {one.model: 1_000})


def trained(output: Any, status: Status = Status.SUCCEEDED, cost: int = 5) -> Settled:
    outcome = Outcome(status=status, completed_at=START, cost=cost, text=output)
    return Settled(outcome=outcome, due_at=START, lease="me")


def models(world: World, tenant: TenantId = ALICE) -> dict[str, TrainedModel]:
    return dict(TrainedModels(world.dynamo, world.accounts_table).of(tenant))


TRAINING: dict[str, Any] = {
    "kind": Kind.TRAINING,
    "model": "ostris/flux-dev-lora-trainer",
    "destination": "acme/fox",
    "input": {"trigger_word": "FOXY"},
}


@pytest.mark.parametrize("cost", [0, 5])
def test_a_training_that_succeeds_registers_its_model_in_the_same_transaction(world: World, cost: int) -> None:
    one = storing(world, **TRAINING)
    world.ledger().settle(one, trained({"version": "acme/fox:abc", "weights": "https://x"}, cost=cost))
    expected = TrainedModel("acme/fox", "abc", "ostris/flux-dev-lora-trainer", "FOXY", one.id)
    assert models(world) == {"acme/fox": expected}
    assert models(world, BOB) == {}
    again = storing(world, **TRAINING)
    world.ledger().settle(again, trained({"version": "acme/fox:def"}))
    assert (models(world)["acme/fox"].version, models(world)["acme/fox"].job_id) == ("def", again.id)


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELED])
def test_a_training_that_does_not_succeed_registers_nothing(world: World, status: Status) -> None:
    world.ledger().settle(storing(world, **TRAINING), trained({"version": "acme/fox:abc"}, status))
    assert models(world) == {}


@pytest.mark.parametrize("output", [None, "acme/fox:abc", {}, {"version": None}, {"version": ""}, {"version": ":"}, []])
def test_a_training_that_names_no_version_registers_nothing(world: World, output: Any) -> None:
    one = storing(world, **TRAINING)
    assert isinstance(world.ledger().settle(one, trained(output)), Job)
    assert models(world) == {}
    assert world.account()["inflight"] == 0


def test_a_prediction_registers_nothing(world: World) -> None:
    world.ledger().settle(storing(world), trained({"version": "acme/fox:abc"}))
    assert models(world) == {}


def test_a_settlement_that_is_not_the_first_registers_nothing(world: World) -> None:
    one = storing(world, **TRAINING)
    world.ledger().settle(one, trained(None, Status.FAILED))
    late = world.ledger().settle(one, trained({"version": "acme/fox:abc"}))
    assert late == Ignored(Reason.ENDED, world.read(one.id))
    assert models(world) == {}


# Lost answers: what took effect is never told otherwise


class LostAnswers:
    """Lets a transaction take effect, and its answer be lost; `code` is what boto3's own tries meet in the end."""

    def __init__(self, code: str) -> None:
        self.calls = 0
        self._code = code

    def __call__(self, parsed: dict[str, Any], **_: Any) -> None:
        self.calls += 1
        if self.calls == 1 and "Error" not in parsed:
            parsed["Error"] = {"Code": self._code, "Message": ""}
            parsed["ResponseMetadata"]["HTTPStatusCode"] = 400


@pytest.fixture(params=["TransactionInProgressException", "RequestTimeout", "InternalServerError"])
def lost(world: World, request: pytest.FixtureRequest) -> Iterator[LostAnswers]:
    lost = LostAnswers(request.param)

    def answered(http_response: Any, parsed: dict[str, Any], **_: Any) -> None:
        # What boto3 makes of an answer depends on its status, which is read after this.
        lost(parsed)
        if "Error" in parsed and lost.calls == 1:
            http_response.status_code = 400

    with listening(world, "after-call.dynamodb.TransactWriteItems", answered):
        yield lost


@pytest.mark.parametrize("tight", [LIMITS, limits(rate=1, in_flight=1, budget=3_000)], ids=["room", "the last place"])
@pytest.mark.parametrize("keyed", [False, True])
def test_an_admission_whose_answer_was_lost_is_an_admission(
    world: World, lost: LostAnswers, tight: Limits, *, keyed: bool
) -> None:
    one = job()
    assert world.ledger().admit(one, tight, *([pointer()] if keyed else [])) is None
    assert lost.calls >= 1
    assert world.read(one.id) == one
    assert (world.account()["n"], world.account()["inflight"], world.account()[DAY]) == (1, 1, 3_000)


def test_an_admission_that_did_not_take_effect_is_not_taken_for_one(world: World) -> None:
    one = job()
    answer: Any = {"Error": {"Code": "InternalServerError", "Message": ""}}

    def fail(**_: Any) -> Any:
        return AWSResponse("", 500, {}, None), answer  # type: ignore[arg-type]

    with listening(world, "before-call.dynamodb.TransactWriteItems", fail), pytest.raises(ClientError):
        world.ledger().admit(one, LIMITS)
    assert world.jobs_written() == []


def test_a_settlement_whose_answer_was_lost_moves_the_money_once(world: World, lost: LostAnswers) -> None:
    lost.calls = 1  # not yet
    one = storing(world)
    lost.calls = 0
    with contextlib.suppress(ClientError):
        world.ledger().settle(one, settled(cost=1_000))
    assert world.ledger().settle(one, settled(cost=1_000)) == Ignored(Reason.ENDED, world.read(one.id))
    assert (world.account()["inflight"], world.account()[DAY]) == (0, 1_000)


def test_the_books_tell_what_every_tenant_spent_on_which_model(world: World) -> None:
    for tenant, cost in ((ALICE, 3_000), (BOB, 2_000)):
        one = job(tenant=tenant, status=Status.STORING, lease="l")
        world.ledger().admit(one, LIMITS)
        outcome = Outcome(status=Status.SUCCEEDED, completed_at=START, cost=cost)
        world.ledger().settle(one, Settled(outcome=outcome, due_at=START, lease="l"))
    model = "black-forest-labs/flux-schnell"
    books = sorted(world.ledger().books(since=day_of(START)))
    assert books == [(ALICE, day_of(START), {model: 3_000}), (BOB, day_of(START), {model: 2_000})]
    assert list(world.ledger().books(since="99991231")) == []


def test_a_pointer_is_found(world: World) -> None:
    pointer = idempotency_pointer(ALICE, "digest", "fingerprint", START)
    assert world.ledger().find(pointer.pk) is None
    world.ledger().point(pointer, "one")
    met = world.ledger().find(pointer.pk)
    assert met is not None
    assert (met.job_id, met.fingerprint) == ("one", "fingerprint")
