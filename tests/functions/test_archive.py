"""`archive`: files, then the end of the job with its money, then the manifest, whatever dies in between."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from shared.errors import Code
from shared.file_store import MANIFEST, prefix_of
from shared.job import Hold, Job, Makes, Millis, PredictionId, Shape, Status
from shared.manifest import iso
from shared.services import now
from tests.support.loopback import Answer, Call, serving
from tests.support.replicate import FakeReplicate, answer, prediction
from tests.support.world import LIMITS, START, World, data_uri, image, job

pytestmark = pytest.mark.sockets

DAY = "committed_20261101"
IMAGES = [image("WEBP", color=color) for color in ("teal", "red", "navy", "gold")]


class Originals:
    """Where Replicate keeps its outputs."""

    def __init__(self) -> None:
        self.origin = ""
        self.answers = {f"/{n}": Answer(body=content) for n, content in enumerate(IMAGES)}
        self.calls: list[Call] = []

    def respond(self, call: Call) -> Answer:
        self.calls.append(call)
        return self.answers.get(call.path, Answer(404))

    def urls(self, count: int) -> list[str]:
        return [f"{self.origin}/{n}" for n in range(count)]


@contextmanager
def serving_originals(world: World) -> Iterator[Originals]:
    """Serve originals, from where the world may fetch them."""
    one = Originals()
    with serving(one.respond) as one.origin:
        world.parameters["OutputHosts"] = f"replicate.delivery,{one.origin}"
        yield one


@pytest.fixture
def originals(world: World) -> Iterator[Originals]:
    with serving_originals(world) as one:
        yield one


def running(world: World, *, images: int = 1, **changes: Any) -> Job:
    """Give an admitted job that is being worked on."""
    fields: dict[str, Any] = {"hold": Hold("20261101", 3_000 * images), "prediction_id": PredictionId("p1"), **changes}
    one = job(**{"status": Status.PROCESSING, **fields})
    world.ledger().admit(one, LIMITS)
    return one


def order(one: Job, status: str = "succeeded", **fields: Any) -> str:
    document = prediction("p1", status, **{"completed_at": "2026-11-01T12:00:09.000Z", **fields})
    return json.dumps({"job_id": one.id, "prediction_id": "p1", "prediction": document})


def delayed(world: World) -> int:
    name: Any = "ApproximateNumberOfMessagesDelayed"
    found = world.sqs.get_queue_attributes(QueueUrl=world.physical["ArchiveQueue"], AttributeNames=[name])
    return int(found["Attributes"][name])


def check_finished(world: World, one: Job, status: Status, *, cost: int, files: int) -> Job:
    """Require everything that must hold of a job that is over."""
    ended = world.read(one.id)
    assert ended.status is status
    assert (ended.hold, ended.lease, ended.due_at, ended.due_shard) == (None, None, None, None)
    assert ended.archived_at is not None
    assert (ended.cost, len(ended.files)) == (cost, files)
    assert (world.account()["inflight"], world.account()[DAY]) == (0, cost)
    keys = {file.key for file in ended.files}
    assert set(world.stored()) == keys | {prefix_of(one) + MANIFEST}
    manifest = world.manifest(one)
    assert (manifest["job_id"], manifest["status"], manifest["cost_usd"]) == (one.id, status, cost / 1_000_000)
    assert {file["key"] for file in manifest["files"]} == keys
    return ended


# Ends


def test_a_prediction_that_succeeded_is_stored_settled_and_announced(world: World, originals: Originals) -> None:
    one = running(world, images=4)
    body = order(
        one, output=originals.urls(4), logs="done", metrics={"predict_time": 1.5}, started_at="2026-11-01T12:00:02Z"
    )
    assert world.deliver(body)
    ended = check_finished(world, one, Status.SUCCEEDED, cost=12_000, files=4)
    assert [world.object(file.key) for file in ended.files] == IMAGES
    assert [(file.n, file.name, file.width, file.height) for file in ended.files] == [
        (n, f"{n}.webp", 48, 32) for n in range(4)
    ]
    assert (ended.logs, ended.metrics, ended.problem, ended.error) == ("done", {"predict_time": 1.5}, None, None)
    assert (ended.started_at, ended.completed_at) == (START + 2_000, START + 9_000)
    manifest = world.manifest(one)
    assert manifest["version"] == 1
    assert (manifest["tenant"], manifest["prediction_id"], manifest["input"]) == ("alice", "p1", one.input)
    assert manifest["output"] == [file.key for file in ended.files]
    assert not any("authorization" in call.headers for call in originals.calls)


def test_data_uris_are_stored_without_asking_anybody(world: World) -> None:
    one = running(world)
    assert world.deliver(order(one, output=[data_uri(IMAGES[0])]))
    ended = check_finished(world, one, Status.SUCCEEDED, cost=3_000, files=1)
    assert world.object(ended.files[0].key) == IMAGES[0]


def test_a_single_output_stays_single(world: World, originals: Originals) -> None:
    one = running(world)
    assert world.deliver(order(one, output=originals.urls(1)[0]))
    ended = check_finished(world, one, Status.SUCCEEDED, cost=3_000, files=1)
    assert ended.files_shape is Shape.SINGLE
    assert world.manifest(one)["output"] == ended.files[0].key


@pytest.mark.parametrize("output", [None, [], "some text", {"a": [1]}, ["some", " text"], 5, 0, False, "", {}])
def test_an_output_without_files_is_kept_as_it_is(world: World, output: Any) -> None:
    one = running(world, makes=Makes.ANYTHING)
    assert world.deliver(order(one, output=output))
    ended = check_finished(world, one, Status.SUCCEEDED, cost=0, files=0)
    assert ended.text == world.manifest(one)["output"] == output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("All generated images contained NSFW content. Try running it again with a different prompt.", "nsfw_content"),
        ("CUDA out of memory", "out_of_memory"),
        ("Prediction failed: E1001", "out_of_memory"),
        ("something else", "upstream_failed"),
        (None, "upstream_failed"),
        ({"code": 5}, "upstream_failed"),
    ],
)
def test_a_prediction_that_failed_ends_failed_with_a_code(world: World, error: Any, code: str) -> None:
    one = running(world)
    assert world.deliver(order(one, "failed", error=error))
    ended = check_finished(world, one, Status.FAILED, cost=0, files=0)
    assert ended.problem is not None
    assert ended.problem.code == code
    assert world.manifest(one)["problem"]["code"] == code


@pytest.mark.parametrize("status", ["canceled", "aborted"])
def test_a_prediction_that_was_canceled_ends_canceled(world: World, status: str) -> None:
    one = running(world)
    assert world.deliver(order(one, status))
    assert check_finished(world, one, Status.CANCELED, cost=0, files=0).problem is None


@pytest.mark.parametrize("status", ["canceled", "aborted"])
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, Code.DEADLINE_EXCEEDED),
        ({"cancel_after_at": Millis(START + 11_000)}, Code.DEADLINE_EXCEEDED),  # clocks differ
        ({"cancel_after_at": Millis(START + 11_001)}, None),  # somebody did it on Replicate's own pages
        ({"cancel_requested_at": START}, None),
    ],
)
def test_what_replicate_cancels_at_the_deadline_says_so(
    world: World, status: str, changes: dict[str, Any], code: Code | None
) -> None:
    one = running(world, **{"cancel_after_at": Millis(START + 9_000), **changes})
    assert world.deliver(order(one, status))
    problem = check_finished(world, one, Status.CANCELED, cost=0, files=0).problem
    assert (problem.code if problem else None) == code


def test_a_job_that_did_not_know_its_prediction_learns_it_at_the_end(world: World, originals: Originals) -> None:
    one = running(world, prediction_id=None, status=Status.STARTING)
    assert world.deliver(order(one, output=originals.urls(1)))
    assert check_finished(world, one, Status.SUCCEEDED, cost=3_000, files=1).prediction_id == "p1"


def test_an_end_without_a_prediction_gets_its_manifest_too(world: World) -> None:
    one = running(world, status=Status.FAILED, hold=Hold("20261101", 0), prediction_id=None)
    world.put(replace(one, hold=None, cost=0, completed_at=START))
    assert world.deliver(json.dumps({"job_id": one.id}))
    assert world.read(one.id).archived_at is not None
    assert world.manifest(one)["status"] == "failed"


def test_a_prediction_that_did_not_fit_into_the_message_is_asked_for(
    world: World, originals: Originals, replicate: FakeReplicate
) -> None:
    one = running(world)
    replicate.will(answer(200, prediction("p1", "succeeded", output=originals.urls(1))))
    assert world.deliver(json.dumps({"job_id": one.id, "prediction_id": "p1"}))
    check_finished(world, one, Status.SUCCEEDED, cost=3_000, files=1)
    assert [(call.method, call.path) for call in replicate.calls] == [("GET", "/v1/predictions/p1")]


# Outputs that cannot be had


@pytest.mark.parametrize("status", [403, 404, 410])
def test_an_output_that_is_gone_fails_the_job_and_keeps_the_rest(
    world: World, originals: Originals, status: int
) -> None:
    originals.answers["/1"] = Answer(status)
    one = running(world, images=3)
    assert world.deliver(order(one, output=originals.urls(3)))
    ended = check_finished(world, one, Status.FAILED, cost=9_000, files=2)
    assert ended.problem is not None
    assert ended.problem.code == "output_expired"
    assert [file.n for file in ended.files] == [0, 2]


@pytest.mark.parametrize(
    "source",
    [
        "https://evil.example/x.webp",
        "http://169.254.169.254/latest/meta-data/",
        "http://replicate.delivery/x.webp",
        "data:image/webp;base64,!!!",
        "data:,",
    ],
)
def test_an_output_that_must_not_be_fetched_fails_the_job_and_keeps_the_rest(
    world: World, originals: Originals, source: str
) -> None:
    one = running(world, images=2)
    assert world.deliver(order(one, output=[source, originals.urls(1)[0]]))
    ended = check_finished(world, one, Status.FAILED, cost=6_000, files=1)
    assert ended.problem is not None
    assert ended.problem.code == "output_rejected"
    assert source not in ended.problem.detail


def test_an_output_that_is_too_large_is_not_stored(world: World, originals: Originals) -> None:
    world.parameters["MaxOutputMegabytes"] = "1"
    originals.answers["/0"] = Answer(body=bytes(1024 * 1024 + 1))
    one = running(world)
    assert world.deliver(order(one, output=originals.urls(1)))
    ended = check_finished(world, one, Status.FAILED, cost=3_000, files=0)
    assert ended.problem is not None
    assert ended.problem.code == "output_rejected"


def test_a_page_that_claims_to_be_an_image_is_stored_as_bytes(world: World, originals: Originals) -> None:
    originals.answers["/0"] = Answer(body=b"<html><script>x</script>", headers={"Content-Type": "image/webp"})
    one = running(world)
    assert world.deliver(order(one, output=originals.urls(1)))
    assert world.read(one.id).files[0].content_type == "application/octet-stream"


@pytest.mark.parametrize(
    "unavailable", [Answer(500), Answer(503), Answer(429), Answer(body=IMAGES[1], cut=10), Answer(cut=0)]
)
def test_an_output_that_cannot_be_had_now_is_had_later(world: World, originals: Originals, unavailable: Answer) -> None:
    good, originals.answers["/1"] = originals.answers["/1"], unavailable
    one = running(world, images=2)
    body = order(one, output=originals.urls(2), completed_at=iso(now()))
    done = world.deliver(body)
    assert not done or delayed(world) == 1, "the order comes again"
    waiting = world.read(one.id)
    assert (waiting.status, waiting.problem, waiting.archived_at) == (Status.STORING, None, None)
    assert world.account()["inflight"] == 1
    originals.answers |= {"/1": good, "/0": Answer(404)}
    assert world.deliver(body), "by the same holder, though the first source is gone"
    check_finished(world, one, Status.SUCCEEDED, cost=6_000, files=2)


def test_an_output_that_could_not_be_had_for_an_hour_is_gone(world: World, originals: Originals) -> None:
    originals.answers["/1"] = Answer(503)
    one = running(world, images=2)
    assert world.deliver(order(one, output=originals.urls(2)))
    ended = check_finished(world, one, Status.FAILED, cost=6_000, files=1)
    assert ended.problem is not None
    assert ended.problem.code == "output_expired"


@pytest.mark.parametrize("upstream", [Answer(500), Answer(429), Answer(cut=0)])
def test_a_document_that_cannot_be_had_now_is_had_later(
    world: World, originals: Originals, replicate: FakeReplicate, upstream: Answer
) -> None:
    one = running(world)
    replicate.will(upstream, answer(200, prediction("p1", "succeeded", output=originals.urls(1))))
    body = json.dumps({"job_id": one.id, "prediction_id": "p1"})
    done = world.deliver(body)
    assert not done or delayed(world) == 1
    assert not world.read(one.id).ended
    assert world.deliver(body)
    check_finished(world, one, Status.SUCCEEDED, cost=3_000, files=1)


# Repeated and interrupted


def test_the_same_order_again_changes_nothing(world: World, originals: Originals) -> None:
    one = running(world)
    body = order(one, output=originals.urls(1))
    world.deliver(body)
    before = world.everything()
    for message_id in ("message-1", "message-2"):
        assert world.deliver(body, message_id)
    assert world.everything() == before
    assert len(originals.calls) == 1


@pytest.mark.parametrize("other", ["failed", "canceled", "aborted"])
def test_an_end_is_not_changed_by_a_later_word(world: World, originals: Originals, other: str) -> None:
    one = running(world)
    world.deliver(order(one, output=originals.urls(1)))
    before = world.everything()
    assert world.deliver(order(one, other), "message-2")
    assert world.everything() == before


def test_while_one_process_stores_another_does_nothing(world: World, originals: Originals) -> None:
    far = START + 10**12
    one = running(world, status=Status.STORING, lease="message-1", lease_until=far, takes=1)
    world.deliver(order(one, output=originals.urls(1)), "message-2")
    assert world.read(one.id) == one
    assert world.stored() == []


def interrupted(world: World, images: int, stored: int, **changes: Any) -> Job:
    """Give a job whose first holder died after it had stored some files."""
    one = running(world, images=images, status=Status.STORING, lease="dead", lease_until=START, takes=1, **changes)
    for n in range(stored):
        key = f"{prefix_of(one)}{n}.webp"
        metadata = {"job-id": one.id, "prediction-id": "p1"}
        world.s3.put_object(Bucket=world.bucket, Key=key, Body=IMAGES[n], Metadata=metadata, ContentType="image/webp")
    return one


@pytest.mark.parametrize("stored", [0, 1, 2])
def test_a_run_that_died_between_files_is_continued(world: World, originals: Originals, stored: int) -> None:
    one = interrupted(world, 2, stored)
    assert world.deliver(order(one, output=originals.urls(2)), "message-2")
    ended = check_finished(world, one, Status.SUCCEEDED, cost=6_000, files=2)
    assert [world.object(file.key) for file in ended.files] == IMAGES[:2]
    assert len(originals.calls) == 2 - stored


def test_a_source_that_is_gone_is_not_missed_if_its_file_is_in_the_bucket(world: World, originals: Originals) -> None:
    one = interrupted(world, 2, 2)
    originals.answers.clear()
    assert world.deliver(order(one, output=originals.urls(2)), "message-2")
    check_finished(world, one, Status.SUCCEEDED, cost=6_000, files=2)


def test_a_run_that_died_after_the_end_still_writes_the_manifest(world: World, originals: Originals) -> None:
    one = running(world)
    body = order(one, output=originals.urls(1))
    world.deliver(body)
    ended = world.read(one.id)
    world.s3.delete_object(Bucket=world.bucket, Key=prefix_of(one) + MANIFEST)
    world.put(replace(ended, archived_at=None, due_at=START, due_shard="due#1"))
    assert world.deliver(body, "message-2")
    check_finished(world, one, Status.SUCCEEDED, cost=3_000, files=1)


def test_a_run_that_died_after_the_manifest_only_leaves_the_due_index(world: World, originals: Originals) -> None:
    one = running(world)
    body = order(one, output=originals.urls(1))
    world.deliver(body)
    manifest = world.manifest(one)
    world.put(replace(world.read(one.id), archived_at=None, due_at=START, due_shard="due#1"))
    assert world.deliver(body, "message-2")
    check_finished(world, one, Status.SUCCEEDED, cost=3_000, files=1)
    assert world.manifest(one) == manifest


def test_a_lone_manifest_order_finishes_an_ended_job(world: World, originals: Originals) -> None:
    one = running(world)
    world.deliver(order(one, output=originals.urls(1)))
    world.s3.delete_object(Bucket=world.bucket, Key=prefix_of(one) + MANIFEST)
    world.put(replace(world.read(one.id), archived_at=None, due_at=START, due_shard="due#1"))
    assert world.deliver(json.dumps({"job_id": one.id}), "message-2")
    check_finished(world, one, Status.SUCCEEDED, cost=3_000, files=1)


def test_completed_before_start_ends_like_the_natural_order(world: World, originals: Originals) -> None:
    ended = []
    for natural in (True, False):
        one = running(world, status=Status.STARTING)
        start = prediction("p1", "processing", started_at="2026-11-01T12:00:02.000Z")
        done = prediction(
            "p1",
            "succeeded",
            output=originals.urls(1),
            started_at="2026-11-01T12:00:02.000Z",
            completed_at="2026-11-01T12:00:09.000Z",
        )
        for document in (start, done) if natural else (done, start):
            assert world.webhook(one.id, document).status == 200
            assert world.archive() == []
        ended.append(world.read(one.id))
    same: dict[str, Any] = {"id": "", "created_at": START, "takes": 0, "archived_at": None, "due_shard": None}
    without_key = [replace(one, **same, files=tuple(replace(file, key="") for file in one.files)) for one in ended]
    assert without_key[0] == without_key[1]
    assert ended[0].status is Status.SUCCEEDED
    assert world.account()["inflight"] == 0


# Orders that are no use


def test_an_order_of_a_stray_prediction_changes_nothing_about_the_job(world: World, originals: Originals) -> None:
    one = running(world, prediction_id=PredictionId("p2"))
    assert world.deliver(order(one, output=originals.urls(1)))
    assert world.read(one.id) == one
    assert world.stored() == []


def test_an_order_of_a_job_that_does_not_exist_is_done(world: World, originals: Originals) -> None:
    assert world.deliver(order(job(), output=originals.urls(1)))
    assert world.deliver(json.dumps({"job_id": job().id}))
    assert world.stored() == []


def test_a_manifest_order_of_a_job_that_runs_does_nothing(world: World) -> None:
    one = running(world)
    assert world.deliver(json.dumps({"job_id": one.id}))
    assert world.read(one.id) == one
    assert world.stored() == []


@pytest.mark.parametrize("body", ["", "{", "[]", "{}", '{"prediction_id": "p1"}', '{"job_id": "x", "prediction": {}}'])
def test_a_message_that_is_none_of_ours_comes_again_until_it_is_a_dead_letter(world: World, body: str) -> None:
    assert not world.deliver(body)


def test_one_bad_message_does_not_hinder_the_others(world: World, originals: Originals) -> None:
    one = running(world)
    records = [{"messageId": "bad", "body": "{"}, {"messageId": "good", "body": order(one, output=originals.urls(1))}]
    answered = world.call("ArchiveFunction", {"Records": records})
    assert answered == {"batchItemFailures": [{"itemIdentifier": "bad"}]}
    check_finished(world, one, Status.SUCCEEDED, cost=3_000, files=1)


def test_an_object_of_somebody_else_in_the_way_is_no_success(world: World, originals: Originals) -> None:
    one = running(world)
    world.s3.put_object(Bucket=world.bucket, Key=f"{prefix_of(one)}0.webp", Body=b"x", Metadata={"prediction-id": "p9"})
    assert not world.deliver(order(one, output=originals.urls(1)))
    assert world.read(one.id).status is Status.STORING


def test_sources_are_not_logged(world: World, originals: Originals, logged: list[str]) -> None:
    originals.answers["/0"] = Answer(500)
    world.deliver(
        order(
            running(world),
            completed_at=iso(now()),
            output=["https://evil.example/secret-path", *originals.urls(1)],
            logs="secret",
        )
    )
    everything = "".join(logged)
    assert "secret" not in everything
    assert originals.origin not in everything


# Found by review


@pytest.mark.parametrize("status", [403, 404, 410])
@pytest.mark.parametrize("tries", [0, 5, 6])
def test_a_source_that_is_gone_right_after_the_end_is_believed_only_in_the_end(
    world: World, originals: Originals, status: int, tries: int
) -> None:
    good, originals.answers["/0"] = originals.answers["/0"], Answer(status)
    one = running(world)
    body = order(one, output=originals.urls(1), completed_at=iso(now()))
    world.deliver(json.dumps({**json.loads(body), "tries": tries}))
    if tries == 6:
        ended = check_finished(world, one, Status.FAILED, cost=3_000, files=0)
        assert ended.problem is not None
        assert ended.problem.code == "output_expired"
        return
    assert (world.read(one.id).status, delayed(world)) == (Status.STORING, 1)
    originals.answers["/0"] = good
    assert world.deliver(body)
    check_finished(world, one, Status.SUCCEEDED, cost=3_000, files=1)


def test_whatever_is_long_leaves_room_in_the_job(world: World) -> None:
    one = running(world, input={"prompt": "x" * 190_000})
    metrics = {"predict_time": 1.5, "more": "x" * 300_000}
    assert world.deliver(order(one, "failed", error="e" * 210_000, logs="l" * 300_000, metrics=metrics))
    ended = check_finished(world, one, Status.FAILED, cost=0, files=0)
    assert ended.error == "e" * 4_000
    assert ended.logs == "l" * 4_000
    assert ended.metrics is None


def test_a_text_that_no_job_holds_is_stored_as_a_file(world: World) -> None:
    one = running(world, makes=Makes.ANYTHING)
    text = ["word"] * 30_000
    assert world.deliver(order(one, output=text))
    ended = check_finished(world, one, Status.SUCCEEDED, cost=0, files=1)
    assert (ended.text, ended.files_shape) == ({"$file": 0}, Shape.NESTED)
    assert world.manifest(one)["output"] == ended.files[0].key
    assert json.loads(world.object(ended.files[0].key)) == text


def test_a_prediction_that_ends_under_a_cancel_before_it_is_known_is_stored_at_once(
    world: World, originals: Originals
) -> None:
    one = running(world, prediction_id=None, status=Status.STARTING, cancel_requested_at=START)
    assert world.deliver(order(one, output=originals.urls(1)))
    assert check_finished(world, one, Status.SUCCEEDED, cost=3_000, files=1).prediction_id == "p1"


def test_a_status_of_tomorrows_with_an_end_is_a_failure(world: World) -> None:
    one = running(world)
    assert world.deliver(order(one, "exploded"))
    ended = check_finished(world, one, Status.FAILED, cost=0, files=0)
    assert ended.problem is not None
    assert ended.problem.code == "upstream_failed"


@pytest.mark.parametrize(("found", "status"), [(2, Status.SUCCEEDED), (1, Status.FAILED), (0, Status.FAILED)])
def test_outputs_that_replicate_has_removed_were_paid_for(world: World, found: int, status: Status) -> None:
    one = interrupted(world, 2, found, input={"prompt": "a fox", "num_outputs": 2})
    assert world.deliver(order(one, output=None, data_removed=True), "message-2")
    ended = check_finished(world, one, status, cost=6_000, files=found)
    assert (ended.problem.code if ended.problem else None) == (None if found == 2 else "output_expired")
