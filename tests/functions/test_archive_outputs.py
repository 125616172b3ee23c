"""`archive`: files are found and stored wherever in an output they are, and what is missing is said plainly."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared.file_store import prefix_of
from shared.job import Job, Makes, Shape, Status
from shared.job_store import encode
from shared.manifest import iso
from shared.outputs import DEEPEST, LARGEST_TEXT, MOST_FILES
from shared.services import now
from tests.functions.test_archive import (
    IMAGES,
    Originals,
    check_finished,
    interrupted,
    order,
    running,
    serving_originals,
)
from tests.support.loopback import Answer
from tests.support.world import World, data_uri

pytestmark = pytest.mark.sockets

FOREIGN = "https://storage.googleapis.com/somebody/elses.png"
FOUR = {"prompt": "a fox", "num_outputs": 4}


@pytest.fixture
def originals(world: World) -> Iterator[Originals]:
    with serving_originals(world) as one:
        yield one


def keys(one: Job) -> list[str]:
    return [f"{prefix_of(one)}{file.name}" for file in one.files]


def code_of(one: Job) -> str | None:
    return one.problem.code if one.problem else None


# Shapes


@pytest.mark.parametrize("makes", [Makes.ANYTHING, Makes.IMAGES])
def test_files_inside_of_an_output_are_stored_and_the_rest_of_it_kept(
    world: World, originals: Originals, makes: Makes
) -> None:
    one = running(world, makes=makes, images=3)
    first, second = originals.urls(2)
    output = {
        "z": [{"mask": first, "score": 0.5}, {"mask": second, "score": None}],
        "a": {"again": first, "inline": data_uri(IMAGES[2]), "by": FOREIGN},
        "text": "https:// is how it begins",
    }
    assert world.deliver(order(one, output=output))
    ended = check_finished(world, one, Status.SUCCEEDED, cost=9_000, files=3)
    assert ended.files_shape is Shape.NESTED
    assert json.dumps(ended.text) == json.dumps(
        {
            "z": [{"mask": {"$file": 0}, "score": 0.5}, {"mask": {"$file": 1}, "score": None}],
            "a": {"again": {"$file": 0}, "inline": {"$file": 2}, "by": FOREIGN},
            "text": "https:// is how it begins",
        }
    ), "in this order"
    assert [world.object(key) for key in keys(ended)] == IMAGES[:3]
    placed = world.manifest(one)["output"]
    assert [placed["z"][0]["mask"], placed["z"][1]["mask"], placed["a"]["inline"]] == keys(ended)
    assert (placed["a"]["again"], placed["a"]["by"], list(placed)) == (keys(ended)[0], FOREIGN, ["z", "a", "text"])
    assert len(originals.calls) == 2, "and nothing is fetched from anywhere else"


@pytest.mark.parametrize(
    "output",
    [
        FOREIGN,
        [FOREIGN],
        [FOREIGN, "https://example.com/"],
        ["See ", FOREIGN, " for", " more"],
        "https://replicate.delivery/x is a link",
        "https://replicate.delivery",
        "https://replicate.delivery.example.com/x",
        "https://[replicate.delivery/x",
        "http://169.254.169.254/latest/meta-data/",
        "data: is what I need",
        "data:",
        "data:,",
        ["data:", "data:x,", "data:image/png;base64"],
    ],
)
def test_text_that_looks_like_a_url_stays_text(world: World, originals: Originals, output: Any) -> None:
    one = running(world, makes=Makes.ANYTHING)
    assert world.deliver(order(one, output=output))
    ended = check_finished(world, one, Status.SUCCEEDED, cost=0, files=0)
    assert ended.text == output
    assert originals.calls == []


@pytest.mark.parametrize("makes", Makes)
@pytest.mark.parametrize(
    ("output", "shape"),
    [
        (data_uri(IMAGES[0]), Shape.SINGLE),
        ([data_uri(IMAGES[0])], Shape.LIST),
        ({"version": data_uri(IMAGES[0])}, Shape.NESTED),
        ([[data_uri(IMAGES[0], "image/webp;charset=x").replace("data:", "DATA:")]], Shape.NESTED),
    ],
)
def test_data_uris_are_files_wherever_they_are(world: World, makes: Makes, output: Any, shape: Shape) -> None:
    one = running(world, makes=makes)
    assert world.deliver(order(one, output=output))
    ended = world.read(one.id)
    assert (ended.files_shape, [world.object(key) for key in keys(ended)]) == (shape, IMAGES[:1])


@pytest.mark.parametrize("makes", [Makes.IMAGES, Makes.IMAGE, Makes.MODEL])
@pytest.mark.parametrize("output", [FOREIGN, [FOREIGN], [FOREIGN, FOREIGN]])
def test_where_files_must_be_a_foreign_url_is_refused(world: World, makes: Makes, output: Any) -> None:
    one = running(world, makes=makes, images=2)
    assert world.deliver(order(one, output=output))
    ended = world.read(one.id)
    assert (ended.status, code_of(ended)) == (Status.FAILED, "output_rejected")
    assert FOREIGN not in json.dumps(world.manifest(one))


def test_a_url_on_a_host_of_outputs_that_may_not_be_fetched_is_never_shown(world: World) -> None:
    one = running(world, makes=Makes.ANYTHING)
    assert world.deliver(order(one, output={"file": "http://replicate.delivery/x.png"}))
    ended = check_finished(world, one, Status.FAILED, cost=3_000, files=0)
    assert code_of(ended) == "output_rejected"
    assert world.manifest(one)["output"] == {"file": None}


def test_what_looks_like_a_mark_of_ours_is_kept_as_it_is(world: World, originals: Originals) -> None:
    one = running(world, makes=Makes.ANYTHING)
    output = [{"$file": 0}, {"$file": [7]}, {"$file": {"$file": None}}, {"$file": 1, "x": 2}, *originals.urls(1)]
    assert world.deliver(order(one, output=output))
    check_finished(world, one, Status.SUCCEEDED, cost=3_000, files=1)
    assert world.manifest(one)["output"] == [*output[:-1], keys(world.read(one.id))[0]]


def test_one_file_that_cannot_be_had_fails_the_job_and_keeps_the_others(world: World, originals: Originals) -> None:
    originals.answers["/0"] = Answer(404)
    one = running(world, makes=Makes.ANYTHING, images=2)
    assert world.deliver(order(one, output={"images": originals.urls(2)}))
    ended = check_finished(world, one, Status.FAILED, cost=6_000, files=1)
    assert code_of(ended) == "output_expired"
    assert world.manifest(one)["output"] == {"images": [None, *keys(ended)]}


# Too much for a job


def long_output(originals: Originals) -> dict[str, Any]:
    return {"images": originals.urls(2), "words": ["word"] * 30_000}


def test_an_output_that_no_job_holds_is_stored_with_the_keys_of_its_files(world: World, originals: Originals) -> None:
    one = running(world, makes=Makes.ANYTHING, images=2)
    output = long_output(originals)
    assert world.deliver(order(one, output=output))
    ended = check_finished(world, one, Status.SUCCEEDED, cost=6_000, files=3)
    assert (ended.text, ended.files_shape) == ({"$file": 2}, Shape.NESTED)
    document = json.loads(world.object(ended.files[2].key))
    assert document == {**output, "images": keys(ended)[:2]}
    assert world.manifest(one)["output"] == keys(ended)[2]


def test_a_run_that_died_after_such_a_document_is_continued(world: World, originals: Originals) -> None:
    one = interrupted(world, 2, 2, makes=Makes.ANYTHING)
    key = f"{prefix_of(one)}2.bin"
    world.s3.put_object(Bucket=world.bucket, Key=key, Body=b"{}", Metadata={"job-id": one.id, "prediction-id": "p1"})
    assert world.deliver(order(one, output=long_output(originals)), "message-2")
    ended = check_finished(world, one, Status.SUCCEEDED, cost=6_000, files=3)
    assert (ended.text, originals.calls) == ({"$file": 2}, [])


@pytest.mark.parametrize("levels", [DEEPEST + 1, 5_000])
def test_an_output_that_is_too_deep_is_stored_as_it_is(world: World, levels: int) -> None:
    one = running(world, makes=Makes.ANYTHING)
    text = f"{'[' * levels}0{']' * levels}"
    body = order(one, output="deep").replace('"deep"', text)
    assert world.deliver(body)
    ended = check_finished(world, one, Status.SUCCEEDED, cost=0, files=1)
    assert ended.text == {"$file": 0}
    assert world.object(ended.files[0].key).decode() == text


def test_an_output_as_deep_as_is_looked_into_is_kept(world: World, originals: Originals) -> None:
    one = running(world, makes=Makes.ANYTHING)
    output: Any = originals.urls(1)[0]
    for n in range(DEEPEST):
        output = [output] if n % 2 else {"$file": output}
    assert world.deliver(order(one, output=output))
    check_finished(world, one, Status.SUCCEEDED, cost=3_000, files=1)


def test_a_document_that_is_larger_than_any_file_may_be_fails_the_job(world: World) -> None:
    world.parameters["MaxOutputMegabytes"] = "1"
    one = running(world, makes=Makes.ANYTHING)
    assert world.deliver(order(one, output="x" * 1_048_576))
    ended = check_finished(world, one, Status.FAILED, cost=0, files=0)
    assert (code_of(ended), world.manifest(one)["output"]) == ("output_rejected", None)


@pytest.mark.parametrize("nested", [True, False])
def test_more_files_than_a_job_can_name_are_not_stored(world: World, originals: Originals, *, nested: bool) -> None:
    one = running(world, images=1)
    urls = [f"{originals.origin}/{n}" for n in range(MOST_FILES + 1)]
    assert world.deliver(order(one, output={"images": urls} if nested else urls))
    ended = check_finished(world, one, Status.FAILED, cost=3_000 * (MOST_FILES + 1), files=0)
    assert code_of(ended) == "output_rejected"
    assert str(MOST_FILES) in (ended.problem.detail if ended.problem else "")
    assert originals.calls == []


def test_a_job_has_room_for_as_many_files_as_are_stored_beside_all_else(world: World) -> None:
    one = running(world, makes=Makes.ANYTHING, input={"prompt": "x" * 190_000})
    output = {"text": "x" * (LARGEST_TEXT - 10_000), "files": [f"data:a/b,{n}" for n in range(MOST_FILES)]}
    text = "\U0001f98a" * 4_000
    metrics = {"words": "\u00e9" * 1_300}
    assert world.deliver(order(one, "failed", output=output, error=text, logs=text, metrics=metrics))
    ended = check_finished(world, one, Status.FAILED, cost=3_000 * MOST_FILES, files=MOST_FILES)
    assert ended.problem is not None
    assert (ended.metrics, ended.problem.detail) == (metrics, text)
    sizes = {name: len(name) + len(str(*value.values()).encode()) for name, value in encode(ended).items()}
    # A tenant's name, the caller's webhook and what a real file has of its own take no more than is left.
    assert sum(sizes.values()) < 370_000, sizes


# Images that are not there


@pytest.mark.parametrize(
    ("made", "warning"),
    [
        (1, "3 of 4 images were withheld by the safety checker."),
        (2, "2 of 4 images were withheld by the safety checker."),
        (3, "1 of 4 images was withheld by the safety checker."),
        (4, None),
    ],
)
def test_fewer_images_than_asked_are_a_success_with_a_warning(
    world: World, originals: Originals, made: int, warning: str | None
) -> None:
    one = running(world, images=4, input=FOUR, warnings=("before",))
    assert world.deliver(order(one, output=originals.urls(made)))
    ended = check_finished(world, one, Status.SUCCEEDED, cost=3_000 * made, files=made)
    assert list(ended.warnings) == world.manifest(one)["warnings"] == (["before", warning] if warning else ["before"])


def test_places_of_withheld_images_may_be_told(world: World, originals: Originals) -> None:
    one = running(world, images=4, input=FOUR)
    first, second = originals.urls(2)
    assert world.deliver(order(one, output=[None, first, None, second]))
    ended = check_finished(world, one, Status.SUCCEEDED, cost=6_000, files=2)
    assert world.manifest(one)["output"] == [None, keys(ended)[0], None, keys(ended)[1]]
    assert ended.warnings == ("2 of 4 images were withheld by the safety checker.",)


@pytest.mark.parametrize("status", ["failed", "canceled", "aborted"])
def test_of_what_did_not_succeed_no_images_are_missed(world: World, originals: Originals, status: str) -> None:
    one = running(world, images=4, input=FOUR)
    assert world.deliver(order(one, status, output=originals.urls(2)))
    assert world.read(one.id).warnings == ()


def test_nobody_knows_how_many_images_another_model_should_make(world: World, originals: Originals) -> None:
    one = running(world, images=4, makes=Makes.ANYTHING, input={"num_outputs": "many"})
    assert world.deliver(order(one, output=originals.urls(2)))
    assert check_finished(world, one, Status.SUCCEEDED, cost=6_000, files=2).warnings == ()


@pytest.mark.parametrize("makes", [Makes.IMAGES, Makes.IMAGE])
@pytest.mark.parametrize(
    ("output", "code"),
    [
        ([], "nsfw_content"),
        (None, "upstream_failed"),
        ("", "upstream_failed"),
        ({}, "upstream_failed"),
        ("no image today", "upstream_failed"),
        ([None], "upstream_failed"),
        ({"image": FOREIGN}, "upstream_failed"),
        (0, "upstream_failed"),
    ],
)
def test_success_without_an_image_is_no_success(world: World, makes: Makes, output: Any, code: str) -> None:
    one = running(world, makes=makes)
    assert world.deliver(order(one, output=output))
    ended = check_finished(world, one, Status.FAILED, cost=0, files=0)
    assert code_of(ended) == code
    assert world.manifest(one)["problem"]["detail"]


def test_outputs_that_replicate_has_removed_are_not_called_withheld(world: World) -> None:
    one = running(world)
    assert world.deliver(order(one, output=[], data_removed=True))
    assert code_of(check_finished(world, one, Status.FAILED, cost=3_000, files=0)) == "output_expired"


@pytest.mark.parametrize(("makes", "found"), [(Makes.ANYTHING, 2), (Makes.ANYTHING, 0), (Makes.MODEL, 1)])
def test_of_a_removed_output_that_is_no_list_of_images_nobody_knows_if_all_is_there(
    world: World, makes: Makes, found: int
) -> None:
    one = interrupted(world, 2, found, makes=makes, input={"num_outputs": "many"})
    assert world.deliver(order(one, output=None, data_removed=True), "message-2")
    ended = check_finished(world, one, Status.FAILED, cost=3_000 * max(1, found), files=found)
    assert code_of(ended) == "output_expired"


def test_a_removed_single_output_that_was_stored_stays_single(world: World) -> None:
    one = interrupted(world, 1, 1, makes=Makes.IMAGE)
    assert world.deliver(order(one, output=None, data_removed=True), "message-2")
    assert check_finished(world, one, Status.SUCCEEDED, cost=3_000, files=1).files_shape is Shape.SINGLE


def test_a_nested_file_that_cannot_be_had_now_is_had_later(world: World, originals: Originals) -> None:
    good, originals.answers["/1"] = originals.answers["/1"], Answer(503)
    one = running(world, makes=Makes.ANYTHING, images=2)
    body = order(one, output=long_output(originals), completed_at=iso(now()))
    world.deliver(body)
    assert world.read(one.id).status is Status.STORING
    assert len(world.stored()) == 1, "no document before its files"
    originals.answers["/1"] = good
    assert world.deliver(body)
    ended = check_finished(world, one, Status.SUCCEEDED, cost=6_000, files=3)
    assert json.loads(world.object(ended.files[2].key))["images"] == keys(ended)[:2]
