"""Jobs in DynamoDB: adoption is exclusive, lists are pages, and what is in the way is waited for."""

from typing import Any

import pytest

from shared.errors import Contended
from shared.identifiers import ids_between, new_job_id
from shared.job import (
    Adopted,
    Archived,
    CancelRequested,
    Ignored,
    Job,
    JobId,
    Kind,
    Millis,
    PredictionId,
    Reason,
    Status,
)
from shared.job_store import BATCH_MS, decode, encode, shard_of
from tests.support.conflicts import Conflicts, listening
from tests.support.world import ALICE, BOB, START, World, adopted, job

DUE = Millis(START + 30_000)
P1, P2 = PredictionId("p1"), PredictionId("p2")


def test_attributes_of_a_later_version_do_not_hinder_reading() -> None:
    one = job()
    assert decode({**encode(one), "of_the_future": {"S": "new"}, "expires_at": {"N": "1"}}) == one


def test_an_event_for_no_job_says_so(world: World) -> None:
    assert world.jobs.record("nothing", CancelRequested(START, DUE)) == Ignored(Reason.MISSING)
    assert world.jobs.get("nothing") is None


def test_a_write_passes_when_a_transaction_was_in_the_way(world: World) -> None:
    one = world.put(job())
    with Conflicts(world, "UpdateItem", times=3) as conflicts:
        outcome = world.jobs.record(one.id, CancelRequested(START, DUE))
    assert isinstance(outcome, Job)
    assert conflicts.met == 3
    assert len(world.sleeps) == 3


def test_a_write_that_transactions_keep_from_passing_is_contended(world: World) -> None:
    one = world.put(job())
    with Conflicts(world, "UpdateItem"), pytest.raises(Contended):
        world.jobs.record(one.id, CancelRequested(START, DUE))
    assert world.read(one.id) == one
    assert all(0 <= slept <= 0.5 for slept in world.sleeps)


def test_jobs_spread_over_the_shards_of_the_due_index() -> None:
    shards = {shard_of(new_job_id(START)) for _ in range(500)}
    assert shards == {f"due#{shard}" for shard in range(8)}


# The due index


def due(world: World) -> list[str]:
    return [
        item["pk"]["S"]
        for shard in range(8)
        for item in world.dynamodb.query(
            TableName=world.jobs_table,
            IndexName="due",
            KeyConditionExpression="due_shard = :shard",
            ExpressionAttributeValues={":shard": {"S": f"due#{shard}"}},
        )["Items"]
    ]


def test_a_job_is_in_the_due_index_until_it_is_archived(world: World) -> None:
    one = world.put(job(status=Status.FAILED, hold=None, completed_at=START))
    assert due(world) == [f"job#{one.id}"]
    world.jobs.record(one.id, Archived(START))
    assert due(world) == []


# Adoption


def owner_of(world: World, prediction_id: str) -> str | None:
    key = {"pk": {"S": f"prediction#{prediction_id}"}}
    item = world.dynamodb.get_item(TableName=world.jobs_table, Key=key).get("Item")
    return item["job_id"]["S"] if item else None


@pytest.mark.parametrize("status", [Status.QUEUED, Status.STARTING])
def test_a_job_without_a_prediction_adopts_one(world: World, status: Status) -> None:
    one = world.put(job(status=status, unclear_at=START))
    assert world.jobs.adopt(one.id, Adopted(P1, DUE)) is None
    kept = world.read(one.id)
    assert (kept.prediction_id, kept.status, kept.unclear_at, kept.due_at) == (P1, Status.STARTING, None, DUE)
    assert owner_of(world, "p1") == one.id


def test_adopting_the_same_prediction_again_is_a_duplicate(world: World) -> None:
    one = world.put(job())
    world.jobs.adopt(one.id, Adopted(P1, DUE))
    again = world.jobs.adopt(one.id, Adopted(P1, DUE))
    assert again is not None
    assert again.reason is Reason.DUPLICATE
    assert again.job == world.read(one.id)


def test_a_second_prediction_of_a_job_is_a_stray(world: World) -> None:
    one = world.put(job())
    world.jobs.adopt(one.id, Adopted(P1, DUE))
    second = world.jobs.adopt(one.id, Adopted(P2, DUE))
    assert second is not None
    assert second.reason is Reason.STRAY
    assert world.read(one.id).prediction_id == "p1"
    assert owner_of(world, "p2") is None


def test_a_prediction_of_another_job_is_a_stray(world: World) -> None:
    first, second = world.put(job()), world.put(job())
    world.jobs.adopt(first.id, Adopted(P1, DUE))
    ignored = world.jobs.adopt(second.id, Adopted(P1, DUE))
    assert ignored is not None
    assert ignored.reason is Reason.STRAY
    assert world.read(second.id) == second
    assert owner_of(world, "p1") == first.id


@pytest.mark.parametrize("status", [Status.PROCESSING, Status.STORING])
def test_a_running_job_adopts_nothing_else(world: World, status: Status) -> None:
    one = world.put(adopted("p1", status=status))
    same, other = world.jobs.adopt(one.id, Adopted(P1, DUE)), world.jobs.adopt(one.id, Adopted(P2, DUE))
    assert same is not None
    assert other is not None
    assert (same.reason, other.reason) == (Reason.DUPLICATE, Reason.STRAY)
    assert world.read(one.id) == one


def test_an_ended_job_adopts_nothing(world: World) -> None:
    one = world.put(job(status=Status.FAILED, hold=None))
    ignored = world.jobs.adopt(one.id, Adopted(P1, DUE))
    assert ignored is not None
    assert ignored.reason is Reason.ENDED
    assert owner_of(world, "p1") is None


def test_no_job_adopts_nothing(world: World) -> None:
    assert world.jobs.adopt("nothing", Adopted(P1, DUE)) == Ignored(Reason.MISSING)
    assert owner_of(world, "p1") is None


# Lists


def some(world: World, count: int, **changes: Any) -> list[JobId]:
    """Write jobs a millisecond apart; gives their ids, newest first."""
    ids = [world.put(job(created_at=Millis(START + n), **changes)).id for n in range(count)]
    return ids[::-1]


def listed(world: World, *, limit: int = 100, after: str | None = None, **among: list[str]) -> tuple[list[str], Any]:
    page = world.jobs.page(ALICE, limit=limit, after=after, among=among)
    return [one.id for one in page.jobs], page.cursor


def test_a_list_is_newest_first_and_only_of_the_tenant(world: World) -> None:
    ids = some(world, 5)
    some(world, 3, tenant=BOB)
    assert listed(world) == (ids, None)


def test_pages_follow_each_other_without_gap_or_overlap(world: World) -> None:
    ids = some(world, 7)
    found: list[str] = []
    cursor = None
    for _ in range(10):
        page, cursor = listed(world, limit=3, after=cursor)
        found += page
        if cursor is None:
            break
    assert found == ids


def test_a_filter_narrows_by_kind_status_and_batch(world: World) -> None:
    plain = some(world, 2)
    ended = some(world, 2, status=Status.SUCCEEDED)
    trained = some(world, 2, kind=Kind.TRAINING, batch_id="b1")
    assert sorted(listed(world, status=["starting", "queued"])[0]) == sorted(plain + trained)
    assert listed(world, status=["succeeded"])[0] == ended
    assert listed(world, kind=["training"])[0] == trained
    assert listed(world, kind=["training"], status=["succeeded"])[0] == []
    assert listed(world, batch_id=["b1"])[0] == trained
    assert listed(world, batch_id=["b2"])[0] == []


def test_pages_of_a_filter_that_matches_little_still_lead_to_the_end(world: World) -> None:
    wanted = world.put(job(created_at=START, status=Status.SUCCEEDED)).id
    for n in range(1, 60):
        world.put(job(created_at=Millis(START + n)))
    found: list[str] = []
    cursor = None
    for _ in range(60):
        page, cursor = listed(world, limit=2, after=cursor, status=["succeeded"])
        found += page
        if cursor is None:
            break
    assert found == [wanted]


def test_jobs_of_the_same_body_are_found_newest_first_within_a_time(world: World) -> None:
    ids = some(world, 4, fingerprint="a" * 64)
    some(world, 2, fingerprint="b" * 64)
    some(world, 2, fingerprint="a" * 64, tenant=BOB)

    def alike(since: int, until: int) -> list[JobId]:
        return world.jobs.alike(ALICE, "a" * 64, since=Millis(START + since), now=Millis(START + until))

    assert alike(0, 9) == ids
    assert alike(1, 2) == ids[1:3]
    assert alike(4, 9) == alike(-9, -1) == []


def test_a_batch_is_counted_and_listed_within_the_time_that_its_id_tells(world: World) -> None:
    batch = new_job_id(Millis(START + 1))
    inside = some(world, 3, batch_id=batch)[:2]
    world.put(job(created_at=Millis(START + BATCH_MS + 2), batch_id=batch))
    other = some(world, 1, batch_id=new_job_id(START))
    assert world.jobs.statuses(ALICE, batch) == [Status.STARTING] * 2
    page = world.jobs.page(ALICE, limit=100, among={"batch_id": [batch]}, batch=batch)
    assert [one.id for one in page.jobs] == inside
    assert world.jobs.statuses(BOB, batch) == []
    assert other[0] not in inside


def test_pointers_and_owners_are_not_in_lists(world: World) -> None:
    one = world.put(job())
    world.jobs.adopt(one.id, Adopted(P1, DUE))
    assert listed(world) == ([one.id], None)


def test_many_jobs_are_read_in_spite_of_unprocessed_keys(world: World) -> None:
    ids = some(world, 4)

    def half_done(parsed: dict[str, Any], **_: Any) -> None:
        items = parsed["Responses"].get(world.jobs_table, [])
        if len(items) > 1:
            left = items[1:]
            parsed["Responses"][world.jobs_table] = items[:1]
            parsed["UnprocessedKeys"] = {world.jobs_table: {"Keys": [{"pk": item["pk"]} for item in left]}}

    with listening(world, "after-call.dynamodb.BatchGetItem", half_done):
        assert listed(world) == (ids, None)


def test_all_jobs_of_a_tenant_are_given_newest_first_deleted_ones_too(world: World) -> None:
    jobs = [world.put(job(created_at=Millis(START + n))) for n in range(130)]
    world.put(job(tenant=BOB))
    deleted = world.put(job(created_at=Millis(START + 200), status=Status.FAILED, deleted_at=START))
    assert list(world.jobs.each(ALICE)) == [deleted, *reversed(jobs)]
    between = ids_between(Millis(START + 10), Millis(START + 19))
    assert list(world.jobs.each(ALICE, between=between)) == jobs[19:9:-1]
    assert list(world.jobs.each(ALICE, among={"status": ["failed"]})) == [deleted]


def test_owners_of_predictions_are_read_at_once(world: World) -> None:
    one = world.put(job())
    world.jobs.adopt(one.id, Adopted(P1, DUE))
    assert world.jobs.owners([P1, P2, P1]) == {P1: one.id}
    assert world.jobs.owners([]) == {}


def test_what_is_read_at_once_is_waited_for_only_if_something_is_missing(world: World) -> None:
    one = world.put(job())
    assert world.jobs.get_many([one.id]) == [one]
    assert world.jobs.get_many([]) == []
    assert world.sleeps == []
