"""Deleting a job: not before its end, at once for its owner, and in the end nothing of it is left."""

from collections.abc import Iterator

import pytest

from shared.identifiers import new_job_id
from shared.job import Job, Status
from shared.job_store import encode
from shared.manifest import manifest_of
from tests.support.problems import check_problem
from tests.support.world import ALICE, BOB, START, World, deployed, job


@pytest.fixture(scope="module")
def module_world() -> Iterator[World]:
    with deployed() as world:
        yield world


@pytest.fixture
def world(module_world: World) -> World:
    return module_world


def stored(world: World, **changes: object) -> Job:
    """Give a job that has ended, with a file, an input and its manifest in the bucket."""
    job_id = new_job_id(START)
    prefix = f"jobs/{ALICE}/{job_id}"
    one = job(
        **{
            "id": job_id,
            "status": Status.SUCCEEDED,
            "hold": None,
            "completed_at": START,
            "archived_at": START,
            "due_at": None,
            "due_shard": None,
            "logs": "a secret",
            "text": {"a": "secret"},
            "webhook": "https://example.com/a-secret",
            **changes,
        }
    )
    world.put(one)
    for key in (f"{prefix}/0.webp", f"inputs/{ALICE}/{job_id}/0.png"):
        for content in (b"older", b"newer"):
            world.s3.put_object(Bucket=world.bucket, Key=key, Body=content)
    world.files.put_manifest(one, manifest_of(one))
    return one


def versions(world: World, one: Job) -> list[str]:
    found = world.s3.list_object_versions(Bucket=world.bucket)
    both = [*found.get("Versions", []), *found.get("DeleteMarkers", [])]
    return [version["Key"] for version in both if one.id in version["Key"]]


@pytest.mark.parametrize("path", ["/v1/predictions/{}", "/predictions/{}"])
def test_a_deleted_job_is_gone_for_its_owner_and_soon_from_everywhere(world: World, path: str) -> None:
    world.s3.put_bucket_versioning(Bucket=world.bucket, VersioningConfiguration={"Status": "Enabled"})
    one = stored(world)
    assert len(versions(world, one)) == 5
    url = path.format(one.id)
    answer = world.request("DELETE", url, key=world.keys[ALICE])
    assert (answer.status, answer.body) == (204, b"")
    for again in ("GET", "DELETE"):
        check_problem(world.request(again, url, key=world.keys[ALICE]), 404, "not_found", instance=url)
    listed = world.request("GET", "/v1/predictions", key=world.keys[ALICE]).json["results"]
    assert one.id not in [found["id"] for found in listed]
    assert world.archive() == []
    assert versions(world, one) == []
    left = world.read(one.id)
    assert left.purged_at is not None
    assert (left.input, left.files, left.due_at) == ({}, (), None)
    assert "secret" not in str(encode(left))


def test_a_job_is_deleted_only_after_its_end(world: World) -> None:
    for status in (Status.QUEUED, Status.STARTING, Status.PROCESSING, Status.STORING):
        running = world.put(job(status=status))
        url = f"/v1/predictions/{running.id}"
        answer = world.request("DELETE", url, key=world.keys[ALICE])
        check_problem(answer, 409, "not_finished", instance=url, retryable=True)
        assert world.read(running.id) == running
    unarchived = stored(world, archived_at=None)
    answer = world.request("DELETE", f"/predictions/{unarchived.id}", key=world.keys[ALICE])
    assert (answer.status, answer.json["code"]) == (409, "not_finished")


def test_only_its_owner_can_delete_a_job(world: World) -> None:
    one = stored(world)
    url = f"/v1/predictions/{one.id}"
    check_problem(world.request("DELETE", url, key=world.keys[BOB]), 404, "not_found", instance=url)
    check_problem(world.request("DELETE", url), 401, "unauthorized", instance=url)
    assert world.read(one.id) == one


def test_a_deletion_whose_message_was_lost_is_found_again(world: World) -> None:
    one = stored(world)
    world.request("DELETE", f"/v1/predictions/{one.id}", key=world.keys[ALICE])
    world.orders()  # lost
    due = [found for shard in range(8) for found in world.jobs.due(f"due#{shard}", now=2**53, limit=100)]
    assert one.id in due
    world.archive_queue.send_ended(one.id)  # as `reconcile` does for whatever has ended and is due
    assert world.archive() == []
    assert versions(world, one) == []


def test_what_a_late_archiver_still_writes_does_not_stay(world: World) -> None:
    one = stored(world)
    world.request("DELETE", f"/v1/predictions/{one.id}", key=world.keys[ALICE])
    world.archive()
    # Another delivery of its last order had read the job before it was archived, and writes only now.
    world.files.put_manifest(one, manifest_of(one))
    assert versions(world, one)
    world.archive_queue.send_ended(one.id)
    world.archive()
    assert versions(world, one) == []
