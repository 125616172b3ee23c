"""Every expression that a store sends, judged by dynalite as by moto and by the rules in memory.

Most of these are the tests of moto, run on other tables. dynalite has no transactions: their parts go one by one.
"""

from dataclasses import replace

import pytest

from shared.accounts import Limits
from shared.errors import Code, Refusal
from shared.job import (
    Adopted,
    Ignored,
    Job,
    JobId,
    Kind,
    Millis,
    PredictionId,
    Reason,
    Settled,
    Status,
    apply,
)
from shared.ledger import idempotency_pointer, reuse_pointer
from shared.trained_models import TrainedModels
from shared.upstream_limit import PK, UpstreamLimit
from tests.dynalite.world import DynaliteWorld
from tests.shared.test_accounts import (
    test_a_key_belongs_to_its_tenant,
    test_a_key_works_until_it_expires,
    test_a_tenant_can_be_made_with_limits,
    test_a_tenant_is_made_once,
    test_anything_but_the_key_itself_is_refused,
)
from tests.shared.test_job_store import (
    test_a_filter_narrows_by_kind_status_and_batch,
    test_a_job_is_in_the_due_index_until_it_is_archived,
    test_a_list_is_newest_first_and_only_of_the_tenant,
    test_an_event_for_no_job_says_so,
    test_many_jobs_are_read_in_spite_of_unprocessed_keys,
    test_pages_follow_each_other_without_gap_or_overlap,
    test_pages_of_a_filter_that_matches_little_still_lead_to_the_end,
)
from tests.shared.test_job_writes import (
    test_a_write_agrees_with_the_rules_around_every_guard,
    test_a_write_agrees_with_the_rules_for_every_combination_of_values_around_the_guards,
    test_a_write_agrees_with_the_rules_for_every_event_in_every_status,
    test_dynamodb_takes_and_gives_back_every_job,
)
from tests.support.conflicts import listening
from tests.support.events import SAMPLES
from tests.support.world import ALICE, BOB, LIMITS, START, job

__all__ = [
    "test_a_filter_narrows_by_kind_status_and_batch",
    "test_a_job_is_in_the_due_index_until_it_is_archived",
    "test_a_key_belongs_to_its_tenant",
    "test_a_key_works_until_it_expires",
    "test_a_list_is_newest_first_and_only_of_the_tenant",
    "test_a_tenant_can_be_made_with_limits",
    "test_a_tenant_is_made_once",
    "test_a_write_agrees_with_the_rules_around_every_guard",
    "test_a_write_agrees_with_the_rules_for_every_combination_of_values_around_the_guards",
    "test_a_write_agrees_with_the_rules_for_every_event_in_every_status",
    "test_an_event_for_no_job_says_so",
    "test_anything_but_the_key_itself_is_refused",
    "test_dynamodb_takes_and_gives_back_every_job",
    "test_many_jobs_are_read_in_spite_of_unprocessed_keys",
    "test_pages_follow_each_other_without_gap_or_overlap",
    "test_pages_of_a_filter_that_matches_little_still_lead_to_the_end",
]

pytestmark = pytest.mark.sockets


# The due index


def test_what_is_due_by_now_comes_oldest_first(world: DynaliteWorld) -> None:
    at = {seconds: world.put(job(due_at=START + seconds * 1000, due_shard="due#3")).id for seconds in (3, 1, 2, 4)}
    world.put(job(due_at=START, due_shard="due#4"))
    world.put(job(due_at=None, due_shard=None))

    def due(seconds: int, limit: int = 10) -> list[JobId]:
        return world.jobs.due("due#3", now=START + seconds * 1000, limit=limit)

    assert due(0) == []
    assert due(3) == [at[1], at[2], at[3]]
    assert due(3, limit=2) == [at[1], at[2]]


# The limit towards Replicate


def process(world: DynaliteWorld) -> UpstreamLimit:
    return UpstreamLimit(world.dynamo, world.accounts_table, rate=300, now=world.clock)


def figures(world: DynaliteWorld) -> dict[str, str]:
    item = world.dynamo.get(world.accounts_table, PK) or {}
    return {name: value["N"] for name, value in item.items() if name in {"rate", "used"}}


def granted(*processes: UpstreamLimit) -> int:
    """Let these take permits in turn until each is refused, and count."""
    count = 0
    while taken := [one for one in processes if one.take() == 0]:
        count += len(taken)
    return count


def test_processes_share_the_rate_of_a_minute(world: DynaliteWorld) -> None:
    one, other = process(world), process(world)
    assert granted(one, other) == 300
    assert one.take() == 60
    world.clock.go_on(60)
    assert granted(one, other) == 300


def test_throttling_halves_the_rate_once_and_a_quiet_minute_raises_it(world: DynaliteWorld) -> None:
    one, other = process(world), process(world)
    assert one.take() == 0
    one.throttled(30)
    other.throttled(40)
    assert (one.take(), other.take()) == (30, 30)
    assert figures(world) == {"rate": "150", "used": "3"}
    world.clock.go_on(30)
    assert granted(one, other) == 147
    for rate in (150, 225, 300, 300):
        world.clock.go_on(60)
        assert granted(one, other) == rate


def test_pauses_that_follow_each_other_double(world: DynaliteWorld) -> None:
    one = process(world)
    for seconds in (2, 4, 8):
        one.pause(2)
        assert one.take() == seconds
        world.clock.go_on(seconds)
    assert one.take() == 0


def test_a_batch_that_another_process_took_meanwhile_is_not_leased_twice(world: DynaliteWorld) -> None:
    one, other = process(world), process(world)
    between = iter([other.take])

    def meanwhile(**_: object) -> None:
        for take in between:
            assert take() == 0

    with listening(world, "before-call.dynamodb.UpdateItem", meanwhile):
        assert one.take() == 0
    assert figures(world) == {"rate": "300", "used": "6"}


# The parts of transactions


def test_each_part_of_admission_and_settlement_is_taken(world: DynaliteWorld) -> None:
    ledger, limits = world.ledger(), Limits(rate_per_minute=3, max_in_flight=2, daily_budget=LIMITS.daily_budget)
    event = SAMPLES[Settled].event
    assert isinstance(event, Settled)
    one, other = SAMPLES[Settled].fitting(Status.STORING), job()
    assert ledger.admit(one, limits) is None
    assert ledger.admit(other, limits, idempotency_pointer(ALICE, "digest", "f", START)) is None
    taken = {"win": START, "n": 2, "inflight": 2, "committed_20261101": 6_000}
    assert taken.items() <= world.account().items()

    with pytest.raises(Refusal) as refused:
        ledger.admit(job(), limits)
    assert refused.value.code is Code.TOO_MANY_IN_FLIGHT
    assert ledger.settle(one, event) == apply(one, event) == world.read(one.id)
    assert {**taken, "inflight": 1}.items() <= world.account().items()

    met = ledger.admit(job(), limits, idempotency_pointer(ALICE, "digest", "f", START))
    assert met is not None
    assert (met.job_id, met.fingerprint) == (other.id, "f")
    with pytest.raises(Refusal) as refused:
        ledger.admit(job(), limits)
    assert refused.value.code is Code.RATE_LIMITED


def test_the_parts_of_a_batch_and_of_reuse_are_taken(world: DynaliteWorld) -> None:
    ledger, meant = world.ledger(), reuse_pointer(ALICE, "meant", None)
    one, other = job(), job()
    assert ledger.admit(one, LIMITS, meant, counts=False) is None
    assert {"n": 0, "inflight": 1, "committed_20261101": 3_000}.items() <= world.account().items()
    with pytest.raises(Refusal) as refused:
        ledger.admit(job(), replace(LIMITS, daily_budget=1), counts=False)
    assert refused.value.code is Code.BUDGET_EXCEEDED
    with pytest.raises(Refusal) as refused:
        ledger.admit(job(tenant=BOB), replace(LIMITS, daily_budget=1))
    assert refused.value.code is Code.BUDGET_EXCEEDED, "nor does a day without spending let it pass"
    world.begin_again()
    assert ledger.admit(one, LIMITS, meant) is None
    assert ledger.admit(other, LIMITS, replace(meant, instead_of=one.id)) is None
    met = ledger.point(meant, "another")
    assert met is not None
    assert met.job_id == other.id
    assert ledger.point(replace(meant, instead_of=other.id), "another") is None
    assert ledger.point(idempotency_pointer(ALICE, "digest", "f", START), "another") is None


def test_what_a_training_costs_and_makes_is_written(world: DynaliteWorld) -> None:
    ledger, sample = world.ledger(), SAMPLES[Settled]
    one = replace(sample.fitting(Status.STORING), kind=Kind.TRAINING, model="acme/trainer", destination="acme/fox")
    event = sample.event
    assert isinstance(event, Settled)
    assert ledger.admit(one, LIMITS) is None
    ended = replace(event, outcome=replace(event.outcome, cost=700, text={"version": "acme/fox:abc"}))
    assert isinstance(ledger.settle(one, ended), Job)
    assert ledger.spent(ALICE, "20261101").by_model == {"acme/trainer": 700}
    assert set(TrainedModels(world.dynamo, world.accounts_table).of(ALICE)) == {"acme/fox"}


def test_each_part_of_adoption_is_taken(world: DynaliteWorld) -> None:
    one, other, late = world.put(job()), world.put(job()), world.put(job(cancel_requested_at=START))
    adopted = Adopted(PredictionId("p1"), Millis(START + 1))
    assert world.jobs.adopt(one.id, adopted) is None
    assert world.read(one.id) == apply(one, adopted)
    assert world.jobs.adopt(one.id, adopted) == Ignored(Reason.DUPLICATE, world.read(one.id))
    assert world.jobs.adopt(other.id, adopted) == Ignored(Reason.STRAY)
    canceled = world.jobs.adopt(late.id, Adopted(PredictionId("p2"), Millis(START + 1)))
    assert canceled == Ignored(Reason.CANCEL_REQUESTED, late)
    assert world.read(late.id).prediction_id == "p2"
