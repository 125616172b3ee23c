"""Deleting a job: nothing of it is left in any version, and nothing that comes late brings any of it back."""

import json
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from shared.file_store import FileStore, prefix_of
from shared.job import Job, Status
from shared.job_store import encode
from shared.manifest import manifest_of
from shared.services import now
from tests.functions.test_notify import manifest_of as event_of
from tests.support.problems import check_problem
from tests.support.replicate import FakeReplicate, prediction
from tests.support.submits import Caller
from tests.support.world import World, data_uri, image

pytestmark = pytest.mark.sockets

MODEL = "black-forest-labs/flux-dev"
LARGE = data_uri(image("PNG") + bytes(10_000), "image/png")
BODY: Mapping[str, Any] = {
    "prompt": "a private fox", "model": MODEL, "num_images": 1, "seed": 5,
    "webhook": "https://hooks.example.com/private", "input": {"image": LARGE},
}  # fmt: skip
OUTPUT = [data_uri(image())]
TIME_ENOUGH = SimpleNamespace(get_remaining_time_in_millis=lambda: 120_000)


@pytest.fixture(scope="module", autouse=True)
def _versioned(standing: tuple[World, FakeReplicate]) -> None:
    """Keep versions, as the template says."""
    world, _ = standing
    world.s3.put_bucket_versioning(Bucket=world.bucket, VersioningConfiguration={"Status": "Enabled"})


def finished(caller: Caller) -> Job:
    """Give a job with an input, a file, a manifest, and older versions of each."""
    one = caller.finish(caller.job(caller.generate(BODY, idempotency_key="the same")), logs="private", output=OUTPUT)
    world = caller.world
    for key in kept(world, one):
        world.s3.put_object(Bucket=world.bucket, Key=key, Body=world.object(key))
    assert {key.split("/")[0] for key in kept(world, one)} == {"jobs", "inputs"}
    assert len(kept(world, one)) == 6, "a file, a manifest and an input, twice each"
    return one


def kept(world: World, one: Job) -> list[str]:
    """Give the keys of all versions and marks that there are of a job."""
    found = world.s3.list_object_versions(Bucket=world.bucket)
    both = [*found.get("Versions", []), *found.get("DeleteMarkers", [])]
    return [version["Key"] for version in both if one.id in version["Key"]]


def delete(caller: Caller, one: Job) -> None:
    """Delete a job, and let everything be done that this orders."""
    assert caller.world.request("DELETE", f"/predictions/{one.id}", key=caller.key).status == 204
    assert caller.world.archive() == []


def check_gone(caller: Caller, one: Job) -> None:
    """Require that the job is there for nobody, and that nothing is left of what it held."""
    world = caller.world
    assert kept(world, one) == []
    for path in (f"/predictions/{one.id}", f"/v1/predictions/{one.id}"):
        check_problem(caller.get(path), 404, "not_found", instance=path)
    assert one.id not in [found["id"] for found in caller.get("/v1/predictions").json["results"]]
    left = world.read(one.id)
    assert left.deleted_at is not None
    assert left.purged_at is not None
    assert (left.status, left.files, left.input, left.due_at) == (Status.SUCCEEDED, (), {}, None)
    assert "private" not in json.dumps(encode(left))


def webhook(**fields: Any) -> Callable[[Caller, Job], None]:
    """Let a webhook of Replicate's come late."""

    def happen(caller: Caller, one: Job) -> None:
        document = prediction(str(one.prediction_id), **fields)
        assert caller.world.webhook(one.id, document, attempt=one.attempt).status == 200
        assert caller.world.archive() == []

    return happen


def message(**fields: Any) -> Callable[[Caller, Job], None]:
    """Let a message of the archive queue be delivered once more."""

    def happen(caller: Caller, one: Job) -> None:
        body: dict[str, Any] = {"job_id": one.id}
        known = {"job_id": one.id, "prediction_id": one.prediction_id}
        document = prediction(str(one.prediction_id), "succeeded", output=OUTPUT, logs="private")
        named: Mapping[str, dict[str, Any]] = {"known": known, "prediction": {"prediction": document}}
        for name in fields["holds"]:
            body |= named[name]
        assert caller.world.deliver(json.dumps(body | fields.get("more", {})), fields.get("message_id", "again"))

    return happen


def manifest_again(caller: Caller, one: Job) -> None:
    """Let the event of its manifest come again: its webhook is not called, or this would try to resolve its host."""
    record = {"messageId": "m", "receiptHandle": "r", "attributes": {"ApproximateReceiveCount": "1"}}
    event = {"Records": [{**record, "body": event_of(one)}]}
    assert caller.world.call("NotifyFunction", event) == {"batchItemFailures": []}


def late_writer(caller: Caller, one: Job) -> None:
    """Let somebody who had read the job before write a file and the manifest only now, and look again, as it does."""
    world = caller.world
    world.s3.put_object(Bucket=world.bucket, Key=f"{prefix_of(one)}0.webp", Body=image())
    world.files.put_manifest(one, manifest_of(one))
    assert kept(world, one)
    message(holds=())(caller, one)


def reconciled(caller: Caller, one: Job) -> None:
    """Let `reconcile` look after whatever is due."""
    assert one.id not in [due for n in range(8) for due in caller.world.jobs.due(f"due#{n}", now=2**53, limit=100)]
    caller.world.call("ReconcileFunction", {}, TIME_ENOUGH)
    assert caller.world.archive() == []


def repeated(caller: Caller, one: Job) -> None:
    """Let the very same request come again: its key still names the job, which is not there."""
    answered = caller.generate(BODY, idempotency_key="the same")
    assert answered.status < 500
    assert "images" not in answered.json or answered.json["images"] is None
    assert caller.jobs() == [caller.world.read(one.id)], "and nothing is paid again under an old key"


def reused(caller: Caller, one: Job) -> None:
    """Let the identical request ask for a job to reuse: it is given another one."""
    again = caller.job(caller.generate({**BODY, "reuse": True}))
    assert again.id != one.id
    caller.finish(again, output=OUTPUT)
    assert kept(caller.world, again)


def canceled(caller: Caller, one: Job) -> None:
    for path in (f"/predictions/{one.id}/cancel", f"/v1/predictions/{one.id}/cancel"):
        check_problem(caller.post(path, None), 404, "not_found", instance=path)


def deleted_again(caller: Caller, one: Job) -> None:
    path = f"/v1/predictions/{one.id}"
    check_problem(caller.world.request("DELETE", path, key=caller.key), 404, "not_found", instance=path)


LATE: Mapping[str, Callable[[Caller, Job], None]] = {
    "a webhook of its start": webhook(status="starting"),
    "a webhook of its progress": webhook(status="processing", logs="private 50%|"),
    "a webhook of its end": webhook(status="succeeded", output=OUTPUT, logs="private"),
    "a webhook of its failure": webhook(status="failed", error="private"),
    "a webhook with a status that nobody knows": webhook(status="paused", logs="private"),
    "the order to store it": message(holds=("known", "prediction")),
    "the order to store it, as the same message": message(holds=("known", "prediction"), message_id="message-1"),
    "the order to store what Replicate has forgotten": message(holds=("known",), more={"forgotten": True}),
    "the order to write its manifest": message(holds=()),
    "the order to store it, sent again by a former holder": message(
        holds=("known", "prediction"), more={"lease": "former", "tries": 3}
    ),
    "somebody who had read it before": late_writer,
    "the event of its manifest": manifest_again,
    "the minutely repair": reconciled,
    "the same request": repeated,
    "an identical request that would reuse it": reused,
    "a cancel": canceled,
    "a second deletion": deleted_again,
}  # fmt: skip


@pytest.mark.parametrize("name", LATE)
def test_nothing_that_comes_late_brings_a_deleted_job_back(caller: Caller, name: str) -> None:
    one = finished(caller)
    delete(caller, one)
    check_gone(caller, one)
    LATE[name](caller, one)
    check_gone(caller, one)


@pytest.mark.parametrize(
    "name",
    [
        "a webhook of its end",
        "the order to store it",
        "the order to write its manifest",
        "the event of its manifest",
    ],
)
def test_nothing_that_comes_between_the_tombstone_and_the_removal_shows_or_keeps_anything(
    caller: Caller, name: str
) -> None:
    one = finished(caller)
    assert caller.world.request("DELETE", f"/predictions/{one.id}", key=caller.key).status == 204
    check_problem(caller.get(f"/predictions/{one.id}"), 404, "not_found", instance=f"/predictions/{one.id}")
    LATE[name](caller, one)
    assert caller.world.archive() == []
    check_gone(caller, one)


def test_a_removal_that_dies_half_way_is_done_again(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tombstone puts the job back among what is due, and it leaves only when nothing is left."""
    one = finished(caller)
    real, removed = FileStore.purge, list[str]()

    def die_once(self: FileStore, job: Job) -> None:
        if not removed:
            removed.append(job.id)
            raise RuntimeError
        real(self, job)

    monkeypatch.setattr("shared.file_store.FileStore.purge", die_once)
    assert caller.world.request("DELETE", f"/predictions/{one.id}", key=caller.key).status == 204
    assert len(caller.world.archive()) == 1
    assert caller.get(f"/predictions/{one.id}").status == 404
    assert one.id in [due for n in range(8) for due in caller.world.jobs.due(f"due#{n}", now=now(), limit=100)]
    caller.world.call("ReconcileFunction", {}, TIME_ENOUGH)
    assert caller.world.archive() == []
    check_gone(caller, one)


@pytest.mark.parametrize("status", [Status.QUEUED, Status.STARTING, Status.PROCESSING, Status.STORING])
def test_what_has_not_ended_is_not_deleted(caller: Caller, status: Status) -> None:
    one = caller.job(caller.generate(BODY))
    running = caller.world.put(type(one)(**{**vars(one), "status": status}))
    path = f"/predictions/{one.id}"
    answered = caller.world.request("DELETE", path, key=caller.key)
    check_problem(answered, 409, "not_finished", instance=path, retryable=True)
    assert caller.world.read(one.id) == running
    assert kept(caller.world, one), "its input is still there"


def test_one_job_goes_and_all_others_stay(caller: Caller, other: Caller) -> None:
    first, second, foreign = finished(caller), caller.finish(caller.job(caller.generate(BODY))), finished(other)
    before = [kept(caller.world, one) for one in (second, foreign)]
    delete(caller, first)
    check_gone(caller, first)
    assert [kept(caller.world, one) for one in (second, foreign)] == before
    assert caller.get(f"/predictions/{second.id}").json["images"]
    assert other.get(f"/predictions/{foreign.id}").json["images"]


def test_the_money_that_was_spent_stays_spent(caller: Caller) -> None:
    one = finished(caller)
    before = caller.committed
    delete(caller, one)
    assert caller.committed == before > 0
