"""What callers see of a job: files of any shape as our own links, trainings, costs, and what there is to say beside."""

import json
from typing import Any

import pytest

from shared.canceling import cancel_warnings
from shared.job import ENDED, Job, Kind, Makes, Shape, Status, StoredFile
from shared.links import FileLinks
from shared.manifest import manifest_of
from shared.pricing import Price, Unit
from shared.views import View, Views
from tests.support.world import ORIGIN, START, Clock, job

DAY_MS = 86_400_000
VERSION = "acme/fox:" + "5" * 64
TRAINED = {"version": VERSION, "weights": {"$file": 0}}


def stored(n: int, extension: str = "webp", content_type: str = "image/webp") -> StoredFile:
    return StoredFile(n, f"jobs/alice/x/{n}.{extension}", content_type, 12, "a" * 64)


def succeeded(**changes: Any) -> Job:
    ended = {"status": Status.SUCCEEDED, "hold": None, "cost": 3_000, "completed_at": START}
    return job(**{**ended, **changes})


def training(**changes: Any) -> Job:
    fields: dict[str, Any] = {
        "kind": Kind.TRAINING,
        "makes": Makes.MODEL,
        "model": "ostris/flux-dev-lora-trainer",
        "destination": "acme/fox",
        "text": TRAINED,
        "files": (stored(0, "zip", "application/zip"),),
        "files_shape": Shape.NESTED,
    }
    return succeeded(**{**fields, **changes})


def views(clock: Clock | None = None) -> Views:
    return Views(FileLinks(key="made-up", link_days=7, retention_days=30), now=clock or Clock())


def both(one: Job, **told: Any) -> tuple[View, View]:
    return views().replicate(one, ORIGIN, **told), views().short(one, ORIGIN, **told)


def replicate(one: Job, **told: Any) -> dict[str, Any]:
    return views().replicate(one, ORIGIN, **told).document


def short(one: Job, **told: Any) -> dict[str, Any]:
    return views().short(one, ORIGIN, **told).document


def names(value: Any, one: Job) -> Any:
    """Give a document's part with the name of the file in the place of each of our links."""
    base = f"{ORIGIN}/files/{one.id}/"
    match value:
        case str() if value.startswith(base):
            return value.removeprefix(base).partition("?")[0]
        case list():
            return [names(inner, one) for inner in value]
        case dict():
            return {key: names(inner, one) for key, inner in value.items()}
    return value


# Outputs


@pytest.mark.parametrize(
    ("files", "shape", "text", "output"),
    [
        (2, Shape.LIST, None, ["0.webp", "1.webp"]),
        (1, Shape.LIST, None, ["0.webp"]),
        (1, Shape.SINGLE, None, "0.webp"),
        (2, Shape.NESTED, {"b": {"$file": 1}, "a": [{"$file": 0}, 5]}, {"b": "1.webp", "a": ["0.webp", 5]}),
        (1, Shape.NESTED, [{"$file": 0}, {"$file": 0}, {"$file": [0]}], ["0.webp", "0.webp", {"$file": 0}]),
        (1, Shape.NESTED, {"$file": 0}, "0.webp"),
        (0, Shape.LIST, ["some", " text"], ["some", " text"]),
        (0, Shape.LIST, {"$file": 0}, {"$file": 0}),
        (0, Shape.LIST, None, None),
        (0, Shape.LIST, 0, 0),
    ],
)
def test_an_output_has_replicates_shape_and_our_links(files: int, shape: Shape, text: Any, output: Any) -> None:
    one = succeeded(makes=Makes.ANYTHING, files=tuple(map(stored, range(files))), files_shape=shape, text=text)
    assert json.dumps(names(replicate(one)["output"], one)) == json.dumps(output), "in this order"
    assert short(one)["output"] == replicate(one)["output"]
    keys = json.dumps(manifest_of(one)["output"]).replace("jobs/alice/x/", "")
    assert keys == json.dumps(output)


def test_a_file_is_found_by_its_number() -> None:
    one = succeeded(files=(stored(1), stored(3)), files_shape=Shape.NESTED, text=[{"$file": n} for n in range(4)])
    assert names(replicate(one)["output"], one) == [None, "1.webp", None, "3.webp"]
    assert [file["url"] for file in replicate(one)["afterimage"]["files"]] == short(one)["images"]


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.SUCCEEDED}))
def test_nothing_but_success_has_an_output(status: Status) -> None:
    one = succeeded(
        makes=Makes.ANYTHING, status=status, files=(stored(0),), text={"a": {"$file": 0}}, files_shape=Shape.NESTED
    )
    assert (replicate(one)["output"], short(one)["output"], short(one)["images"]) == (None, None, None)


def test_after_the_files_life_no_output_is_left_of_any_shape() -> None:
    late = views(Clock(START + 30 * DAY_MS))
    one = succeeded(makes=Makes.ANYTHING, files=(stored(0),), text={"a": {"$file": 0}}, files_shape=Shape.NESTED)
    document = late.replicate(one, ORIGIN).document
    assert (document["output"], document["data_removed"], document["afterimage"]["files"]) == (None, True, [])
    brief = late.short(one, ORIGIN).document
    assert (brief["output"], brief["images"]) == (None, None)


@pytest.mark.parametrize(
    ("makes", "shape", "images"),
    [
        (Makes.IMAGES, Shape.LIST, ["0.webp", "1.bin"]),
        (Makes.IMAGES, Shape.NESTED, ["0.webp"]),
        (Makes.ANYTHING, Shape.LIST, ["0.webp"]),
        (Makes.ANYTHING, Shape.NESTED, ["0.webp"]),
    ],
)
def test_the_short_images_are_images(makes: Makes, shape: Shape, images: list[str]) -> None:
    files = (stored(0), stored(1, "bin", "application/octet-stream"))
    one = succeeded(makes=makes, files=files, files_shape=shape, text=[{"$file": 0}, {"$file": 1}])
    assert names(short(one)["images"], one) == images


@pytest.mark.parametrize("makes", [Makes.IMAGES, Makes.IMAGE, Makes.MODEL])
def test_only_what_may_make_anything_has_an_output_beside_its_images(makes: Makes) -> None:
    assert "output" not in short(succeeded(makes=makes))


# Trainings


def test_a_training_is_told_as_replicate_tells_trainings() -> None:
    one = training()
    document = replicate(one)
    url = f"{ORIGIN}/v1/trainings/{one.id}"
    assert (document["urls"]["get"], document["urls"]["cancel"]) == (url, f"{url}/cancel")
    assert (document["model"], document["status"]) == ("ostris/flux-dev-lora-trainer", "succeeded")
    assert names(document["output"], one) == {"version": VERSION, "weights": "0.zip"}


def test_the_weights_of_a_training_may_be_missing() -> None:
    one = training(files=(), warnings=("The weights were not stored.",))
    assert replicate(one)["output"] == {"version": VERSION, "weights": None}
    assert replicate(one)["afterimage"]["warnings"] == short(one)["warnings"] == ["The weights were not stored."]


def test_the_short_form_of_a_training_names_what_it_made() -> None:
    one = training()
    assert (short(one)["trained_model"], short(one)["images"]) == (VERSION, None)
    gone = views(Clock(START + 30 * DAY_MS)).short(one, ORIGIN).document
    assert gone["trained_model"] == VERSION, "the model outlives our copy of its weights"


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.SUCCEEDED}))
def test_a_training_that_has_not_succeeded_made_nothing(status: Status) -> None:
    assert short(training(status=status))["trained_model"] is None


def test_a_prediction_has_trained_nothing() -> None:
    assert "trained_model" not in short(succeeded(text={"version": VERSION}))


# Beside it


@pytest.mark.parametrize(("estimate", "cost"), [(0, None), (12_000, None), (12_000, 9_000), (0, 0)])
def test_what_it_costs_is_told_beside_what_was_expected(estimate: int, cost: int | None) -> None:
    told = replicate(job(estimate=estimate, cost=cost))["afterimage"]
    assert (told["estimated_cost_usd"], told["cost_usd"]) == (estimate / 1e6, None if cost is None else cost / 1e6)


def test_the_manifest_tells_everything_about_money() -> None:
    manifest = manifest_of(succeeded(price=Price(975, Unit.SECOND), estimate=12_000, deployment="acme/fast"))
    assert manifest["price"] == {"usd": 0.000975, "per": "second"}
    assert (manifest["estimated_cost_usd"], manifest["cost_usd"]) == (0.012, 0.003)
    assert (manifest["version"], manifest["deployment"], manifest["destination"]) == (1, "acme/fast", None)
    assert manifest["warnings"] == []
    json.dumps(manifest)


def test_an_answer_says_if_the_job_was_there_before() -> None:
    one = succeeded()
    for reused in (True, False):
        assert replicate(one, reused=reused)["afterimage"]["reused"] is reused
    assert short(one, reused=True)["reused"] is True
    assert "reused" not in short(one)


def test_warnings_are_told_in_both_interfaces() -> None:
    for one, told in ((job(), ["now"]), (job(warnings=("first", "second")), ["first", "second", "now"])):
        assert replicate(one, warnings=["now"])["afterimage"]["warnings"] == told
        assert short(one, warnings=["now"])["warnings"] == told
    assert "warnings" not in short(job())


def test_a_tag_changes_with_what_is_told() -> None:
    tags = {view.tag for told in ({}, {"reused": True}, {"warnings": ["now"]}) for view in both(succeeded(), **told)}
    assert len(tags) == 6


@pytest.mark.parametrize("joined", [0, 1, 4])
@pytest.mark.parametrize(
    ("status", "requested_at", "canceled"),
    [
        (Status.CANCELED, START, True),
        (Status.CANCELED, None, True),
        (Status.STARTING, START, True),
        (Status.PROCESSING, START, True),
        (Status.PROCESSING, None, False),
        (Status.STORING, None, False),
        (Status.SUCCEEDED, START, False),
        (Status.FAILED, START, False),
    ],
)
def test_whoever_cancels_for_others_too_is_told(
    status: Status, requested_at: int | None, joined: int, *, canceled: bool
) -> None:
    one = job(status=status, joined=joined, cancel_requested_at=requested_at)
    told = f"This job is shared by {joined + 1} requests; it is canceled for all of them."
    assert cancel_warnings(one) == ((told,) if joined and canceled else ())


def test_all_documents_can_be_written() -> None:
    for kind in Kind:
        for status in Status:
            one = training(kind=kind, status=status, completed_at=START if status in ENDED else None)
            for view in both(one):
                json.dumps(view.document, allow_nan=False)
