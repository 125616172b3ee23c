"""Starting a failed job's order anew: once, at the tenant's cost, and never where it may have been paid for."""

from dataclasses import fields, replace
from typing import Any

import pytest

from shared.dispatch_queue import DispatchQueue, order_for
from shared.errors import Code, Problem, Refusal
from shared.job import Hold, Job, JobId, Kind, Makes, Millis, Status
from shared.job_store import shard_of
from shared.ledger import day_of
from shared.pricing import Price
from shared.retrying import ORDER, NotRetried, Retrier
from tests.support.world import ALICE, LIMITS, START, World, job

LATER = Millis(START + 3_600_000)


def retrier(world: World) -> Retrier:
    queue = DispatchQueue(world.sqs, world.physical["DispatchQueue"])
    return Retrier(ledger=world.ledger(), queue=queue, files=world.files, now=world.clock)


def failed(world: World, **changes: Any) -> Job:
    """Give a job that has failed an hour ago, at no cost."""
    fields: dict[str, Any] = {
        "status": Status.FAILED,
        "hold": None,
        "cost": 0,
        "estimate": 3_000,
        "due_at": None,
        "due_shard": None,
        "completed_at": START,
        "archived_at": START,
        "error": "CUDA",
        "problem": Problem(Code.UPSTREAM_FAILED, "CUDA"),
    }
    world.clock.at = LATER
    return world.put(job(**{**fields, **changes}))


def test_the_same_order_becomes_a_new_job_that_is_queued_and_started(world: World) -> None:
    one = failed(world, webhook="https://example.com/h", webhook_events=("completed",), deadline_s=300)
    new = retrier(world).retry(one, LIMITS)
    assert world.read(new.id) == new
    assert new == job(
        id=new.id,
        status=Status.QUEUED,
        attempt=0,
        claimed_at=None,
        created_at=LATER,
        webhook=one.webhook,
        webhook_events=one.webhook_events,
        deadline_s=300,
        estimate=3_000,
        hold=Hold(day_of(LATER), 3_000),
        due_at=LATER + 300_000,
        due_shard=shard_of(new.id),
    )
    assert world.dispatch_orders() == [order_for(new)]
    assert (world.account()["inflight"], world.account()[f"committed_{day_of(LATER)}"]) == (1, 3_000)
    # It is not the tenant who asked.
    assert world.account()["n"] == 0
    assert world.read(one.id) == one


def test_what_it_was_about_is_carried_over(world: World) -> None:
    one = failed(
        world,
        kind=Kind.TRAINING,
        makes=Makes.MODEL,
        model="ostris/trainer",
        version="a" * 64,
        destination="acme/fox",
        deployment="acme/fast",
        price=Price(5),
        family="trainer",
        cancel_after_at=Millis(START + 90_000),
    )
    new = retrier(world).retry(one, LIMITS)
    assert [getattr(new, name) for name in ORDER] == [getattr(one, name) for name in ORDER]
    assert new.cancel_after_at == LATER + 90_000


ITS_OWN = {
    *("id", "status", "batch_id", "input", "stored_inputs", "sealed", "seed", "drawn_seed", "warnings"),
    *("created_at", "started_at", "completed_at", "claimed_at", "unclear_at", "cancel_requested_at"),
    *("cancel_after_at", "deadline_hit_at", "archived_at", "deleted_at", "purged_at", "due_at", "due_shard"),
    *("attempt", "absences", "takes", "joined", "retries", "lease", "lease_until"),
    *("prediction_id", "upstream_status", "percent", "logs", "metrics", "error", "problem", "text"),
    *("files", "files_shape", "hold", "cost"),
}


def test_of_every_field_it_was_thought_whether_it_belongs_to_the_order() -> None:
    assert {spec.name for spec in fields(Job)} == {*ORDER, *ITS_OWN}
    assert not set(ORDER) & ITS_OWN


def test_it_is_retried_once(world: World) -> None:
    one = failed(world)
    assert retrier(world).retried_as(one) is None
    new = retrier(world).retry(one, LIMITS)
    assert retrier(world).retried_as(one) == new.id
    with pytest.raises(NotRetried, match=f"as {new.id}"):
        retrier(world).retry(one, LIMITS)
    assert sorted(world.jobs_written()) == sorted([one.id, new.id])
    assert (world.account()["inflight"], len(world.dispatch_orders())) == (1, 1)
    # What has failed again is another job.
    again = world.put(replace(failed(world), id=new.id))
    assert retrier(world).retry(again, LIMITS).id != new.id


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"status": Status.SUCCEEDED}, "it is succeeded"),
        ({"status": Status.CANCELED}, "it is canceled"),
        ({"status": Status.PROCESSING}, "it is processing"),
        ({"deleted_at": START}, "deleted"),
        ({"cost": 1}, "0.000001 USD"),
        ({"problem": Problem(Code.OUTCOME_UNKNOWN, "?")}, "may have been paid"),
        ({"altered": ("hf_api_token",)}, r"secret inputs \(hf_api_token\)"),
        ({"stored_inputs": {"image": f"uploads/{ALICE}/gone.png"}, "altered": ("image",)}, "a file"),
    ],
)
def test_what_may_have_been_paid_for_or_cannot_be_repeated_is_refused(
    world: World, changes: dict[str, Any], why: str
) -> None:
    one = failed(world, **changes)
    before = world.everything()
    with pytest.raises(NotRetried, match=why):
        retrier(world).retry(one, LIMITS)
    assert world.everything() == before
    assert world.dispatch_orders() == []


def test_a_seed_that_nobody_gave_is_drawn_anew(world: World) -> None:
    drawn = retrier(world).retry(failed(world, drawn_seed=7), LIMITS)
    assert drawn.drawn_seed == drawn.seed == drawn.input["seed"] != 7
    given = retrier(world).retry(failed(world), LIMITS)
    assert (given.seed, given.drawn_seed, given.input["seed"]) == (7, None, 7)


def test_files_that_go_with_the_former_job_are_copied(world: World) -> None:
    job_id = JobId("01m0000000000000000000000z")
    own, other = f"inputs/{ALICE}/{job_id}/0.png", f"uploads/{ALICE}/x/fox.png"
    for key in (own, other):
        world.files.put_input(key, "image/png", b"a fox")
    given = {"image": own, "mask/0": other}
    one = failed(world, id=job_id, stored_inputs=given, altered=("image", "mask"))
    new = retrier(world).retry(one, LIMITS)
    assert new.stored_inputs == {"image": f"inputs/{ALICE}/{new.id}/0.png", "mask/0": other}
    assert world.object(new.stored_inputs["image"]) == b"a fox"
    kept = world.s3.head_object(Bucket=world.bucket, Key=new.stored_inputs["image"])
    assert (kept["ContentType"], kept["ContentDisposition"]) == ("image/png", "attachment")


def test_the_tenants_limits_hold(world: World) -> None:
    one = failed(world)
    with pytest.raises(Refusal) as refused:
        retrier(world).retry(one, replace(LIMITS, daily_budget=2_999))
    assert refused.value.code is Code.BUDGET_EXCEEDED
    assert retrier(world).retried_as(one) is None
