"""Models that are made and listed, deployments, outputs of all shapes, and inputs that nobody may see."""

import base64
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from PIL import Image
from replicate.exceptions import ModelError, ReplicateError

from tests.local.simulation import Receiver, Stage, eventually, fetch, receiving, staged

pytestmark = pytest.mark.sockets

NEW = {"owner": "simulated-user", "name": "new", "visibility": "public", "hardware": "gpu-l40s"}


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staged() as stage:
        yield stage


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


# Creating models.


def test_a_new_model_has_no_version_and_cannot_be_run(stage: Stage) -> None:
    model = stage.client.models.create(
        "simulated-user", "new", visibility="public", hardware="cpu", description="Something"
    )

    assert (model.id, model.description, model.visibility, model.latest_version) == (
        "simulated-user/new",
        "Something",
        "public",
        None,
    )
    assert stage.client.models.get("simulated-user/new") == model
    assert list(model.versions.list()) == []
    given = {"input": {"prompt": "x"}}
    assert stage.api.post("/models/simulated-user/new/predictions", json=given).status_code == 404
    answer = stage.api.post("/predictions", json={"version": "simulated-user/new", **given})
    assert (answer.status_code, answer.json()["title"]) == (422, "Invalid version or not permitted")


def test_a_name_is_given_once(stage: Stage) -> None:
    stage.api.post("/models", json=NEW).raise_for_status()

    with pytest.raises(ReplicateError) as refused:
        stage.client.models.create("simulated-user", "new", visibility="public", hardware="cpu")

    assert refused.value.status == 409
    assert "A model with that name and owner already exists." in str(refused.value.detail)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"owner": "black-forest-labs"}, 403, "You do not have permission"),
        ({"hardware": "gpu-t4"}, 400, "hardware: gpu-t4 is not a valid hardware SKU. Your options are: cpu, gpu-a100"),
        ({"name": "My Model"}, 400, "name: Model name can only contain lowercase letters"),
        ({"name": None}, 400, "name: This field is required."),
        ({"visibility": "secret"}, 400, "visibility: Must be one of: public, private."),
    ],
)
def test_a_model_that_cannot_be_is_refused(stage: Stage, body: dict[str, Any], status: int, says: str) -> None:
    answer = stage.api.post("/models", json=NEW | body)

    assert answer.status_code == status
    assert says in answer.json()["detail"]


# Lists.


def pages(api: httpx.Client, url: str = "/models") -> list[list[str]]:
    found = []
    while url:
        page = api.get(url).json()
        found.append([f"{each['owner']}/{each['name']}" for each in page["results"]])
        url = page["next"]
    return found


def test_the_list_of_models_has_pages_that_lead_to_the_end(stage: Stage) -> None:
    stage.api.post("/models", json=NEW).raise_for_status()
    stage.api.post("/models", json=NEW | {"name": "hidden", "visibility": "private"}).raise_for_status()

    found = pages(stage.api)
    names = [name for page in found for name in page]
    assert [len(page) for page in found[:2]] == [10, 10]
    assert names[0] == "simulated-user/new"
    assert {"black-forest-labs/flux-dev", "ostris/flux-dev-lora-trainer"} < set(names)
    assert "simulated-user/hidden" not in names
    assert len(set(names)) == len(names)


def test_replicates_client_walks_the_pages_both_ways(stage: Stage) -> None:
    first = stage.client.models.list()
    assert first.next
    second = stage.client.models.list(first.next)
    assert second.previous

    assert [each.id for each in stage.client.models.list(second.previous)] == [each.id for each in first]


# Deployments.


def test_deployments_are_listed_and_read(stage: Stage) -> None:
    assert {each.id for each in stage.client.deployments.list()} == {
        "simulated-user/fast-flux",
        "simulated-user/my-lora",
    }
    release = stage.client.deployments.get("simulated-user/my-lora").current_release
    assert release
    assert (release.number, release.model) == (1, "simulated-user/flux-lora")
    assert release.version == stage.api.get("/models/simulated-user/flux-lora").json()["latest_version"]["id"]
    assert (release.configuration.min_instances, release.configuration.max_instances) == (1, 5)
    assert release.created_by
    assert release.created_by.username == "simulated-user"
    assert stage.api.get("/deployments/simulated-user/none").status_code == 404


@pytest.mark.parametrize(
    ("deployment", "model"),
    [("fast-flux", "black-forest-labs/flux-dev"), ("my-lora", "simulated-user/flux-lora")],
)
def test_a_deployment_runs_its_model(stage: Stage, deployment: str, model: str) -> None:
    name = f"simulated-user/{deployment}"
    made = stage.client.deployments.predictions.create(name, {"prompt": "a boat", "megapixels": "0.25"})

    shown = stage.finished(made.id)
    assert (shown["status"], shown["deployment"], shown["model"], len(shown["output"])) == (
        "succeeded",
        name,
        model,
        1,
    )
    assert shown["version"] == stage.api.get(f"/models/{model}").json()["latest_version"]["id"]
    (told,) = stage.control.calls()["predictions"]
    assert (told["deployment"], told["kind"], told["charged"]) == (name, "prediction", True)


@pytest.mark.parametrize(
    ("deployment", "body", "status"),
    [
        ("none", {"input": {"prompt": "x"}}, 404),
        ("fast-flux", {"input": {}}, 422),
        ("fast-flux", {"input": {"prompt": "x"}, "version": "0" * 64}, 422),
    ],
)
def test_a_deployment_refuses_as_a_model_does(stage: Stage, deployment: str, body: dict[str, Any], status: int) -> None:
    answer = stage.api.post(f"/deployments/simulated-user/{deployment}/predictions", json=body)

    assert answer.status_code == status


def test_predictions_of_models_name_no_deployment(stage: Stage) -> None:
    shown = run(stage, "black-forest-labs/flux-schnell")

    assert "deployment" not in shown


# Outputs.


def run(stage: Stage, model: str, **given: Any) -> dict[str, Any]:
    """Run a model of any kind; its prediction at the end."""
    version = stage.api.get(f"/models/{model}").json()["latest_version"]["id"]
    body = {"version": version, "input": {"prompt": "a cat", "megapixels": "0.25", **given}}
    created = stage.api.post("/predictions", json=body)
    assert created.status_code == 201, created.text
    return stage.finished(created.json()["id"])


def is_file(url: Any) -> bool:
    return bool(Image.open(io.BytesIO(fetch(url).content)).format == "PNG")


def is_inline_image(value: Any) -> bool:
    head, _, body = value.partition(",")
    return head == "data:image/png;base64" and Image.open(io.BytesIO(base64.b64decode(body))).size == (64, 64)


def is_batches(value: Any) -> bool:
    return [[is_file(url) for url in row] for row in value] == [[True, True], [True]]


def is_segments(value: Any) -> bool:
    return (
        is_file(value["image"])
        and [mask["label"] for mask in value["masks"]] == ["cat", "sofa"]
        and all(is_file(mask["mask"]) for mask in value["masks"])
        and (value["score"], value["source"]) == (0.9, "https://example.com/page")
    )


@pytest.mark.parametrize(
    ("model", "fits", "files"),
    [
        ("text", lambda value: len(value) > 5 and "a cat" in "".join(value), 0),
        ("segments", is_segments, 3),
        ("batches", is_batches, 3),
        ("inline", is_inline_image, 0),
        ("caption", lambda value: isinstance(value, str) and "a cat" in value, 0),
        ("nothing", lambda value: value is None, 0),
    ],
)
def test_an_output_has_the_shape_of_its_model(
    stage: Stage, model: str, fits: Callable[[Any], bool], files: int
) -> None:
    shown = run(stage, f"simulated-user/{model}")

    assert shown["status"] == "succeeded"
    assert fits(shown["output"]), shown["output"]
    assert stage.control.calls()["predictions"][0]["images"] == files


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "", "plain words"])
def test_a_hostile_model_gives_back_what_it_is_told(stage: Stage, url: str) -> None:
    assert run(stage, "simulated-user/hostile-output", url=url)["output"] == url
    assert stage.control.calls()["fetched"] == []


def test_an_official_model_of_text_needs_no_version(stage: Stage) -> None:
    model = "meta/meta-llama-3-8b-instruct"

    assert "a poem" in "".join(stage.client.run(model, input={"prompt": "a poem"}))


def test_text_grows_while_it_is_made(stage: Stage, receiver: Receiver) -> None:
    stage.control.faults({"on": "prediction", "kind": "held", "part": 0.5})
    hooks = {"webhook": receiver.url, "webhook_events_filter": ["output", "completed"]}
    body = {"input": {"prompt": "a poem"}, **hooks}
    stage.api.post("/models/meta/meta-llama-3-8b-instruct/predictions", json=body).raise_for_status()
    eventually(lambda: receiver.bodies)
    stage.control.faults()
    eventually(lambda: receiver.bodies[-1]["status"] == "succeeded")

    first, *_, last = (each["output"] for each in receiver.bodies)
    assert 0 < len(first) < len(last)
    assert last[: len(first)] == first


@pytest.mark.parametrize(
    ("model", "output"), [("black-forest-labs/flux-dev", []), ("black-forest-labs/flux-kontext-pro", None)]
)
def test_all_images_can_be_dropped_without_a_failure(stage: Stage, model: str, output: Any) -> None:
    shown = run(stage, model, prompt="x nsfw-empty")

    assert (shown["status"], shown["output"], shown["error"]) == ("succeeded", output, None)


def test_sdxl_has_words_of_its_own_for_nsfw(stage: Stage) -> None:
    version = stage.api.get("/models/stability-ai/sdxl").json()["latest_version"]["id"]

    with pytest.raises(ModelError, match=r"^NSFW content detected\. Try running it again, or try a different prompt\."):
        stage.client.run(f"stability-ai/sdxl:{version}", input={"prompt": "nsfw-all"})


# Faults and secrets.


def test_reading_models_can_fail(stage: Stage) -> None:
    stage.control.faults({"on": "model", "kind": "error_500", "times": 2})

    assert stage.api.get("/models/black-forest-labs/flux-dev").status_code == 500
    assert stage.api.get("/deployments/simulated-user/my-lora").status_code == 500
    assert stage.api.get("/models/black-forest-labs/flux-dev").status_code == 200
    assert [each["on"] for each in stage.control.calls()["calls"]] == ["model"] * 3


def test_a_model_can_be_created_without_an_answer(stage: Stage) -> None:
    stage.control.faults({"on": "model", "kind": "cut_after_taken", "times": 1})

    with pytest.raises(httpx.RemoteProtocolError):
        stage.api.post("/models", json=NEW)

    assert stage.api.get("/models/simulated-user/new").status_code == 200


def test_secrets_are_redacted_everywhere(stage: Stage, receiver: Receiver) -> None:
    secrets = {"hf_api_token": "hf_made_up_token", "civitai_api_token": "civitai_made_up_token"}
    body = {
        "input": {"prompt": "x", "megapixels": "0.25", **secrets},
        "webhook": receiver.url,
        "webhook_events_filter": ["start", "completed"],
    }
    answer = stage.api.post("/models/black-forest-labs/flux-dev-lora/predictions", json=body)
    eventually(lambda: len(receiver.got) == 2)

    told = stage.control.calls()
    redacted = {"prompt": "x", "megapixels": "0.25", **dict.fromkeys(secrets, "[REDACTED]")}
    listed = stage.api.get("/predictions")
    assert [answer.json()["input"], receiver.bodies[1]["input"], listed.json()["results"][0]["input"]] == [redacted] * 3
    assert told["predictions"][0]["secrets"] == {
        name: hashlib.sha256(value.encode()).hexdigest() for name, value in secrets.items()
    }
    everything = [answer.text, listed.text, json.dumps(told), *(body.decode() for _, body in receiver.got)]
    assert not [text for text in everything for value in secrets.values() if value in text]
