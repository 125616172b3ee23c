"""Removing a tenant: nothing is left of it, wherever the removal was interrupted, and others keep theirs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, override

import pytest

from shared.canceling import Canceler
from shared.job import Job, Millis, Status, TenantId
from shared.job_store import SHARDS
from shared.removing import QUIET_MS, Remover, Stage, Sweep
from shared.tenants import Tenants, Unknown
from shared.trained_models import TrainedModels, claim_pk
from shared.uploads import FORM_S, Uploads
from tests.support.catalog import train
from tests.support.submits import Died
from tests.support.world import ALICE, BOB, LIMITS, START, World, job


class Canceling(Canceler):
    """Cancels at once, as what was never sent is."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.canceled: list[str] = []

    @override
    def cancel(self, job: Job) -> Job:
        self.canceled.append(job.id)
        return self.world.put(ended(job, Status.CANCELED))


def ended(one: Job, status: Status = Status.SUCCEEDED) -> Job:
    at = Millis(START)
    return replace(one, status=status, hold=None, due_at=None, due_shard=None, completed_at=at, archived_at=at)


def stored(world: World, tenant: TenantId, **changes: Any) -> Job:
    """Give a finished job with a file and an input."""
    one = world.put(ended(job(tenant=tenant, **changes)))
    for place in ("jobs", "inputs"):
        for content in (b"older", b"newer"):
            world.s3.put_object(Bucket=world.bucket, Key=f"{place}/{tenant}/{one.id}/0.webp", Body=content)
    return one


def uploads_of(world: World) -> Uploads:
    return Uploads(world.dynamo, world.jobs_table, files=lambda: world.files, now=world.clock)


def remover(world: World, tenant: TenantId = ALICE) -> Remover:
    """Give what removes a tenant in a process that has seen nothing."""
    return Remover(
        tenant,
        tenants=Tenants(world.dynamo, world.accounts_table, defaults=LIMITS, now=world.clock),
        jobs=world.jobs,
        canceler=Canceling(world),
        archive=world.archive_queue,
        uploads=uploads_of(world),
        files=world.files,
        trained=TrainedModels(world.dynamo, world.accounts_table),
        now=world.clock,
    )


def furnish(world: World, tenant: TenantId) -> None:
    """Give a tenant something of everything."""
    world.s3.put_bucket_versioning(Bucket=world.bucket, VersioningConfiguration={"Status": "Enabled"})
    stored(world, tenant)
    world.put(job(tenant=tenant, status=Status.QUEUED))
    uploads_of(world).keep(b"a fox", name="fox.png", metadata={}, tenant=tenant)
    world.files.put_input(f"inputs/{tenant}/refused/0.png", "image/png", b"of a request that was refused")
    train(world, f"acme/{tenant}", "a" * 64, tenant=tenant)
    claim: Any = {"pk": {"S": claim_pk(f"acme/{tenant}")}, "tenant": {"S": tenant}}
    world.dynamodb.put_item(TableName=world.accounts_table, Item=claim)


def left_of(world: World, tenant: TenantId) -> set[str]:
    """Name what still is a tenant's: but for books, and tombstones that hold nothing."""
    found = world.s3.list_object_versions(Bucket=world.bucket)
    keys = {one["Key"] for one in [*found.get("Versions", []), *found.get("DeleteMarkers", [])]}
    objects = {key for key in keys if f"/{tenant}/" in key}
    rows = set()
    for name, item in world.everything().items():
        table, _, pk = name.partition("/")
        if table == world.bucket:
            continue
        is_tombstone = pk.startswith("job#") and item.get("purged_at") is not None
        if tenant in str(item) and not is_tombstone and not pk.startswith("spending#"):
            rows.add(pk)
    return objects | (rows - {claim_pk(f"acme/{tenant}")})


def finish(world: World, tenant: TenantId = ALICE) -> Sweep:
    """Sweep as often as it takes, while `archive` and `reconcile` do their work and time passes."""
    for _ in range(6):
        sweep = remover(world, tenant).sweep()
        if sweep.is_done:
            return sweep
        for job_id in [
            found for shard in range(SHARDS) for found in world.jobs.due(f"due#{shard}", now=2**53, limit=9)
        ]:
            if world.read(job_id).ended:
                world.archive_queue.send_ended(job_id)
        world.archive()
        if sweep.until is not None:
            world.clock.at = max(world.clock.at, sweep.until)
    raise AssertionError(sweep)


def test_nothing_is_left_of_a_tenant_and_all_of_the_others(world: World) -> None:
    furnish(world, ALICE)
    furnish(world, BOB)
    before = left_of(world, BOB)
    assert len(before) == 10
    sweep = finish(world)
    assert (sweep.jobs, sweep.models) == ({Stage.GONE: 2}, [f"acme/{ALICE}"])
    assert left_of(world, ALICE) == set()
    assert left_of(world, BOB) == before
    with pytest.raises(Unknown):
        remover(world).sweep()


def test_each_sweep_goes_as_far_as_it_can(world: World) -> None:
    furnish(world, ALICE)
    one = remover(world)
    assert one.sweep().jobs == {Stage.UNFINISHED: 1, Stage.DELETED: 1}
    assert one.sweep().jobs == {Stage.DELETED: 2}
    world.archive()
    assert one.sweep() == Sweep({Stage.GONE: 2}, until=Millis(START + QUIET_MS))
    assert f"account#{ALICE}" in left_of(world, ALICE)
    world.clock.go_on(QUIET_MS / 1000)
    assert one.sweep().is_done


def test_what_is_being_stored_is_waited_for_and_what_was_canceled_is_not_canceled_again(world: World) -> None:
    storing = world.put(job(status=Status.STORING))
    canceled = world.put(job(cancel_requested_at=START))
    unarchived = world.put(replace(ended(job()), archived_at=None))
    assert remover(world).sweep().jobs == {Stage.UNFINISHED: 3}
    assert [world.read(one.id) for one in (storing, canceled, unarchived)] == [storing, canceled, unarchived]


def test_a_form_that_can_still_bring_a_file_is_waited_for(world: World) -> None:
    world.clock.go_on(-60)
    upload, _ = uploads_of(world).prepare(name="fox.png", size=None, metadata={}, tenant=ALICE)
    world.clock.go_on(60)
    one = remover(world)
    one.sweep()
    world.clock.go_on(QUIET_MS / 1000)
    assert one.sweep().until == upload.created_at + FORM_S * 1000
    world.files.put_input(upload.key, "image/png", b"in the last moment")
    assert finish(world).is_done
    assert left_of(world, ALICE) == set()


def test_a_name_of_a_trained_model_stays_nobodys(world: World) -> None:
    furnish(world, ALICE)
    finish(world)
    trained = TrainedModels(world.dynamo, world.accounts_table)
    world.accounts.create_tenant(ALICE)
    assert trained.of(ALICE) == {}
    assert trained.owner(f"acme/{ALICE}") not in {ALICE, BOB, None}


def test_what_was_spent_stays_in_the_books(world: World) -> None:
    world.dynamodb.put_item(
        TableName=world.accounts_table, Item={"pk": {"S": f"spending#{ALICE}#20261101"}, "acme/x": {"N": "5"}}
    )
    finish(world)
    assert list(world.ledger().books(since="20261101")) == [(ALICE, "20261101", {"acme/x": 5})]


@contextmanager
def dying_at(world: World, n: int) -> Iterator[list[str]]:
    """Let the process end just before its write number `n` to AWS, from 1; gives the writes that were begun.

    To end before a read is to end after the write before it.
    """
    calls: list[str] = []

    def count(**given: Any) -> None:
        name = given["model"].name
        if name.startswith(("Get", "BatchGet", "Query", "Scan", "List")):
            return
        calls.append(name)
        if len(calls) == n:
            raise Died

    clients = (world.dynamodb, world.s3, world.sqs)
    for client in clients:
        client.meta.events.register_first("before-call", count)
    try:
        yield calls
    finally:
        for client in clients:
            client.meta.events.unregister("before-call", count)


def test_wherever_it_was_interrupted_it_goes_on(world: World) -> None:
    furnish(world, BOB)
    bobs = left_of(world, BOB)
    deaths, number = 0, 0
    while True:
        tenant = TenantId(f"tenant-{number}-")
        number += 1
        world.accounts.create_tenant(tenant)
        world.accounts.create_key(tenant)
        furnish(world, tenant)
        died = _interrupted(world, tenant, number)
        deaths += died
        if not died:
            break
        finish(world, tenant)
        assert left_of(world, tenant) == set()
    assert left_of(world, BOB) == bobs
    # At least one for each thing that it had: the account twice, two jobs, four objects in versions, and so on.
    assert deaths >= 15


def _interrupted(world: World, tenant: TenantId, n: int) -> bool:
    """Remove, but end at the write number `n` of the removal itself; says whether it came that far."""
    made = 0
    for _ in range(6):
        try:
            with dying_at(world, n - made) as calls:
                sweep = remover(world, tenant).sweep()
        except Died:
            return True
        made += len(calls)
        if sweep.is_done:
            return False
        world.archive()
        if sweep.until is not None:
            world.clock.at = max(world.clock.at, sweep.until)
    raise AssertionError(sweep)
