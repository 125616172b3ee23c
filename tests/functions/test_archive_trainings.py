"""`archive`, for trainings: what counts is the model; its weights are copied if they can be."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared.file_store import prefix_of
from shared.job import Hold, Job, Kind, Makes, Status
from shared.manifest import iso
from shared.pricing import Price, Unit
from shared.services import now
from tests.functions.test_archive import Originals, check_finished, delayed, running, serving_originals
from tests.support.loopback import Answer
from tests.support.replicate import FakeReplicate, answer, training
from tests.support.world import World

pytestmark = pytest.mark.sockets

VERSION = "acme/fox:" + "5" * 64
WEIGHTS = b"PK\x03\x04" + bytes(1_000)
FOREIGN = "https://huggingface.co/acme/fox/weights.tar"
ENDED = {"started_at": "2026-11-01T12:00:02.000Z", "completed_at": "2026-11-01T12:00:09.000Z"}


@pytest.fixture
def originals(world: World) -> Iterator[Originals]:
    with serving_originals(world) as one:
        one.answers["/weights"] = Answer(body=WEIGHTS)
        yield one


def run_training(world: World, **changes: Any) -> Job:
    """Give an admitted training that is running."""
    fields: dict[str, Any] = {
        "kind": Kind.TRAINING,
        "makes": Makes.MODEL,
        "model": "ostris/flux-dev-lora-trainer",
        "version": "d" * 64,
        "destination": "acme/fox",
        "input": {"input_images": "https://example.com/fox.zip", "trigger_word": "FOXY", "steps": 1000},
        "price": Price(1_525, Unit.SECOND),
        "hold": Hold("20261101", 1_830_000),
        "estimate": 1_830_000,
    }
    return running(world, **{**fields, **changes})


def end_of(one: Job, status: str = "succeeded", **fields: Any) -> str:
    document = training("p1", status, **{**ENDED, **fields})
    return json.dumps({"job_id": one.id, "prediction_id": "p1", "prediction": document})


def output(originals: Originals) -> dict[str, Any]:
    return {"version": VERSION, "weights": f"{originals.origin}/weights"}


def test_a_training_names_its_version_and_keeps_its_weights(world: World, originals: Originals) -> None:
    one = run_training(world)
    assert world.deliver(end_of(one, output=output(originals), metrics={"predict_time": 6.5}))
    ended = check_finished(world, one, Status.SUCCEEDED, cost=9_913, files=1)
    assert ended.text == {"version": VERSION, "weights": {"$file": 0}}
    assert ended.warnings == ()
    manifest = world.manifest(one)
    assert manifest["output"] == {"version": VERSION, "weights": ended.files[0].key}
    assert world.object(ended.files[0].key) == WEIGHTS
    assert (manifest["kind"], manifest["destination"]) == ("training", "acme/fox")
    assert (manifest["estimated_cost_usd"], manifest["price"]) == (1.83, {"usd": 0.001525, "per": "second"})


@pytest.mark.parametrize("weights", [{}, {"weights": None}])
def test_a_training_may_have_no_weights(world: World, weights: dict[str, None]) -> None:
    one = run_training(world)
    assert world.deliver(end_of(one, output={"version": VERSION, **weights}))
    assert check_finished(world, one, Status.SUCCEEDED, cost=10_675, files=0).warnings == ()


@pytest.mark.parametrize(
    ("answered", "reason"),
    [
        (Answer(404), "it after an hour"),
        (Answer(503), "it after an hour"),
        (Answer(400), "answered 400"),
        (Answer(body=b""), "is empty"),
        (Answer(body=bytes(1_048_577)), "more than the 1048576 that are allowed"),
    ],
)
def test_a_training_whose_weights_cannot_be_copied_has_still_succeeded(
    world: World, originals: Originals, answered: Answer, reason: str
) -> None:
    world.parameters["MaxOutputMegabytes"] = "1"
    originals.answers["/weights"] = answered
    one = run_training(world, warnings=("before",))
    assert world.deliver(end_of(one, output=output(originals)))
    ended = check_finished(world, one, Status.SUCCEEDED, cost=10_675, files=0)
    assert ended.problem is None
    first, warning = ended.warnings
    assert (first, warning.startswith("The weights were not stored.")) == ("before", True)
    assert reason in warning
    assert originals.origin not in json.dumps(world.manifest(one)), "a URL that dies is not shown"
    assert world.manifest(one)["output"] == {"version": VERSION, "weights": None}


def test_weights_on_a_foreign_host_are_neither_fetched_nor_shown(world: World) -> None:
    one = run_training(world)
    assert world.deliver(end_of(one, output={"version": VERSION, "weights": FOREIGN}))
    ended = check_finished(world, one, Status.SUCCEEDED, cost=10_675, files=0)
    assert "host that is not allowed" in ended.warnings[0]
    assert world.manifest(one)["output"] == {"version": VERSION, "weights": None}


def test_weights_that_cannot_be_had_now_are_had_later(world: World, originals: Originals) -> None:
    originals.answers["/weights"] = Answer(503)
    one = run_training(world)
    body = end_of(one, output=output(originals), completed_at=iso(now()))
    world.deliver(body)
    assert (world.read(one.id).status, delayed(world)) == (Status.STORING, 1)
    originals.answers["/weights"] = Answer(body=WEIGHTS)
    assert world.deliver(body)
    ended = world.read(one.id)
    assert (ended.status, len(ended.files), ended.warnings) == (Status.SUCCEEDED, 1, ())


@pytest.mark.parametrize("named", [None, {}, [], "acme/fox", {"version": None}, {"version": ""}, {"version": 5}])
def test_a_training_that_names_no_version_has_failed(world: World, named: Any) -> None:
    one = run_training(world)
    assert world.deliver(end_of(one, output=named))
    ended = check_finished(world, one, Status.FAILED, cost=10_675, files=0)
    assert ended.problem is not None
    assert ended.problem.code == "upstream_failed"


def test_the_weights_of_a_training_without_a_version_are_kept_all_the_same(world: World, originals: Originals) -> None:
    one = run_training(world)
    assert world.deliver(end_of(one, output={"weights": f"{originals.origin}/weights"}))
    check_finished(world, one, Status.FAILED, cost=10_675, files=1)


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_a_training_that_did_not_end_well_costs_its_seconds(world: World, status: str) -> None:
    one = run_training(world)
    assert world.deliver(end_of(one, status, error="CUDA out of memory"))
    ended = check_finished(world, one, Status(status), cost=10_675, files=0)
    assert (ended.problem.code if ended.problem else None) == ("out_of_memory" if status == "failed" else None)


def test_a_training_is_asked_for_as_a_training(world: World, originals: Originals, replicate: FakeReplicate) -> None:
    one = run_training(world)
    replicate.will(answer(200, training("p1", "succeeded", **ENDED, output=output(originals))))
    assert world.deliver(json.dumps({"job_id": one.id, "prediction_id": "p1"}))
    check_finished(world, one, Status.SUCCEEDED, cost=10_675, files=1)
    assert [(call.method, call.path) for call in replicate.calls] == [("GET", "/v1/trainings/p1")]


def test_a_training_is_canceled_as_a_training(world: World, replicate: FakeReplicate) -> None:
    one = run_training(world)
    replicate.will(answer(200, training("p1", "canceled", **ENDED)))
    assert world.deliver(json.dumps({"job_id": one.id, "cancel": "p1"}))
    check_finished(world, one, Status.CANCELED, cost=10_675, files=0)
    assert [(call.method, call.path) for call in replicate.calls] == [("POST", "/v1/trainings/p1/cancel")]


def test_what_no_job_is_known_of_is_canceled_as_a_prediction(world: World, replicate: FakeReplicate) -> None:
    replicate.will(answer(404, {"detail": "not found"}))
    assert world.deliver(json.dumps({"job_id": "0" * 26, "cancel": "p1"}))
    assert [call.path for call in replicate.calls] == ["/v1/predictions/p1/cancel"]


def test_a_training_that_was_interrupted_is_continued(world: World, originals: Originals) -> None:
    one = run_training(world, status=Status.STORING, lease="dead", lease_until=1, takes=1)
    metadata = {"job-id": one.id, "prediction-id": "p1"}
    world.s3.put_object(Bucket=world.bucket, Key=f"{prefix_of(one)}0.zip", Body=WEIGHTS, Metadata=metadata)
    assert world.deliver(end_of(one, output=output(originals)), "message-2")
    check_finished(world, one, Status.SUCCEEDED, cost=10_675, files=1)
    assert originals.calls == []
