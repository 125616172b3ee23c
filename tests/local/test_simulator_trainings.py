"""Trainings in the simulator: what Replicate's own client and a plain one see of them, and what can go wrong."""

import base64
import hashlib
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from replicate.exceptions import ReplicateError
from replicate.training import Training
from standardwebhooks import Webhook

from tests.local.simulation import SECRET, Receiver, Stage, eventually, fetch, receiving, staged

pytestmark = pytest.mark.sockets

TRAINER = "ostris/flux-dev-lora-trainer"
MINE = "simulated-user/my-style"
IMAGES = "https://example.com/images.zip"


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A simulator where the model to train is there, and was not run."""
    with staged() as stage:
        stage.client.models.create("simulated-user", "my-style", visibility="private", hardware="cpu")
        stage.control.http.delete("/calls").raise_for_status()
        yield stage


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def trainer(stage: Stage) -> str:
    version = stage.client.models.get(TRAINER).latest_version
    assert version
    return version.id


def train(stage: Stage, destination: str = MINE, **given: Any) -> Training:
    """Start a training with Replicate's client."""
    return stage.client.trainings.create(
        model=TRAINER,
        version=trainer(stage),
        destination=destination,
        input={"input_images": IMAGES, **given},
    )


def post(stage: Stage, **body: Any) -> httpx.Response:
    """Start a training without it."""
    given = {"destination": MINE, "input": {"input_images": IMAGES}, **body}
    return stage.api.post(f"/models/{TRAINER}/versions/{trainer(stage)}/trainings", json=given)


def trained(stage: Stage, **given: Any) -> dict[str, Any]:
    return stage.finished(train(stage, **given).id, "trainings")


# What comes of it.


def test_a_trained_version_runs_at_once_like_a_flux_lora(stage: Stage) -> None:
    name, version = trained(stage)["output"]["version"].split(":")

    assert name == MINE
    assert re.fullmatch("[0-9a-f]{64}", version)
    given = {"prompt": "TOK by the sea", "num_outputs": 2, "megapixels": "0.25", "lora_scale": 1.2}
    assert len(list(stage.client.run(f"{MINE}:{version}", input=given))) == 2
    prediction = stage.client.predictions.create(version=version, input={"prompt": "TOK"})
    assert (prediction.model, prediction.version) == (MINE, version)
    refused = stage.api.post("/predictions", json={"version": version, "input": {"prompt": "TOK", "lora_scale": 9}})
    assert refused.json()["invalid_fields"][0]["field"] == "input.lora_scale"


def test_each_training_adds_a_version_of_which_the_newest_is_the_latest(stage: Stage) -> None:
    versions = [trained(stage)["output"]["version"].rpartition(":")[2] for _ in range(2)]

    model = stage.client.models.get(MINE)
    assert [each.id for each in model.versions.list()] == versions[::-1]
    assert len(set(versions)) == 2
    assert model.latest_version
    assert model.latest_version.id == versions[1]
    assert "prompt" in model.versions.get(versions[0]).openapi_schema["components"]["schemas"]["Input"]["properties"]


def test_its_weights_are_an_archive_that_expires(stage: Stage) -> None:
    shown = trained(stage, trigger_word="MYSTYLE")
    weights = shown["output"]["weights"]

    answer = fetch(weights)
    assert (weights.rpartition("/")[2], answer.headers["content-type"]) == ("trained_model.tar", "application/x-tar")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        assert archive.getnames()[0] == "output/flux_train_replicate/lora.safetensors"
        settings = archive.extractfile("output/flux_train_replicate/config.yaml")
        assert settings
        assert b"MYSTYLE" in settings.read()
    assert stage.control.http.delete("/outputs").json() == {"dropped": 1}
    assert fetch(weights).status_code == 404
    after = stage.api.get(f"/trainings/{shown['id']}").json()
    assert (after["output"], after["data_removed"], after["status"]) == (None, True, "succeeded")


def test_a_training_has_replicates_shape(stage: Stage, receiver: Receiver) -> None:
    answer = post(stage, webhook=receiver.url, input={"input_images": IMAGES, "steps": 500})
    taken, shown = answer.json(), stage.finished(answer.json()["id"], "trainings")

    assert (answer.status_code, taken["status"], taken["output"]) == (201, "starting", None)
    assert (taken["model"], taken["version"]) == (TRAINER, trainer(stage))
    assert taken["urls"]["get"] == f"{stage.simulator.replicate_url}/v1/trainings/{taken['id']}"
    assert taken["urls"]["cancel"] == taken["urls"]["get"] + "/cancel"
    assert (taken["metrics"], taken["webhook"], "destination" in taken) == ({}, receiver.url, False)
    assert (shown["status"], shown["input"]["steps"], shown["error"]) == ("succeeded", 500, None)
    assert shown["metrics"]["predict_time"] == 600.0
    assert shown["metrics"]["total_time"] > 600


def test_the_bars_of_other_things_come_to_their_end_before_the_trainings_own(stage: Stage) -> None:
    lines = trained(stage, steps=430)["logs"].splitlines()
    bars = [(label or "", int(part), int(total)) for label, part, total in _bars(lines)]
    labels = [label for label, _, _ in bars]

    assert list(dict.fromkeys(labels)) == ["Downloading weights", "Caching latents", "flux_train_replicate"]
    assert [part for label, part, _ in bars if label == "Downloading weights"][-1] == 100
    assert [part for label, part, _ in bars if label == "Caching latents"][-1] == 100
    own = [(part, total) for label, part, total in bars if label == "flux_train_replicate"]
    assert {total for _, total in own} == {430}
    assert own[0][0] < 20
    assert own[-1][0] == 100
    assert own == sorted(own)
    assert re.search(r"\| 430/430 \[08:36<00:00,  1\.20s/it, lr: 4\.0e-04 loss: ", lines[-1])


def _bars(lines: list[str]) -> list[Any]:
    found = [re.match(r"(?:([^:]+): )? *(\d+)%\|.*\| \d+/(\d+) \[", line) for line in lines]
    return [match.groups() for match in found if match]


# What is refused.


@pytest.mark.parametrize("destination", ["simulated-user/none", "black-forest-labs/flux-dev", "nonsense"])
def test_a_destination_must_be_there_and_be_ones_own(stage: Stage, destination: str) -> None:
    with pytest.raises(ReplicateError) as refused:
        train(stage, destination)

    assert (refused.value.status, refused.value.detail) == (404, "The specified training destination does not exist")
    assert stage.control.calls()["predictions"] == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"stream": True}, "- Additional property stream is not allowed\n"),
        ({"destination": 7}, "- destination: Invalid type. Expected: string, given: integer\n"),
        ({"webhook": "ftp://example.com"}, "- webhook: Not a valid HTTPS URL\n"),
    ],
)
def test_the_body_takes_nothing_else(stage: Stage, body: dict[str, Any], says: str) -> None:
    answer = post(stage, **body)

    assert (answer.status_code, answer.json()["detail"]) == (422, says)


def test_the_body_needs_its_destination(stage: Stage) -> None:
    url = f"/models/{TRAINER}/versions/{trainer(stage)}/trainings"

    assert stage.api.post(url, json={"input": {}}).json()["detail"] == "- destination is required\n"


def test_only_a_version_that_trains_can_be_trained(stage: Stage) -> None:
    sdxl = stage.api.get("/models/stability-ai/sdxl").json()["latest_version"]["id"]
    body = {"destination": MINE, "input": {}}

    assert stage.api.post(f"/models/stability-ai/sdxl/versions/{sdxl}/trainings", json=body).status_code == 422
    assert stage.api.post(f"/models/{TRAINER}/versions/{sdxl}/trainings", json=body).status_code == 404


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, '{"loc":["body","input","input_images"],"msg":"field required","type":"value_error.missing"}'),
        ({"steps": 1}, '"msg":"ensure this value is greater than or equal to 3","type":"value_error.number.not_ge"'),
        ({"steps": 6001}, '"type":"value_error.number.not_le","ctx":{"limit_value":6000}'),
        ({"steps": "many"}, '"msg":"value is not a valid integer"'),
        ({"lora_rank": None}, '"msg":"none is not an allowed value"'),
        ({"input_images": "images.zip"}, "'' is not a valid URL scheme. 'data', 'http', or 'https' is supported."),
    ],
)
def test_an_input_is_taken_as_it_is_and_fails_when_it_runs(stage: Stage, given: dict[str, Any], says: str) -> None:
    body = {"input_images": IMAGES, **given} if given else {}
    taken = post(stage, input=body)
    shown = stage.finished(taken.json()["id"], "trainings")

    assert (taken.status_code, shown["status"]) == (201, "failed")
    assert shown["error"].startswith('Prediction input failed validation: {"detail":[{"loc":["body","input",')
    assert says in shown["error"]
    assert shown["metrics"]["predict_time"] == 0


def test_images_that_can_be_read_must_be_a_zip_file(stage: Stage) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("1.txt", "TOK")

    def ends(content: bytes) -> tuple[str, str | None]:
        shown = trained(stage, input_images=f"data:application/zip;base64,{base64.b64encode(content).decode()}")
        return shown["status"], shown["error"]

    assert ends(file.getvalue()) == ("succeeded", None)
    assert ends(b"no zip") == ("failed", "input_images must be a zip file")


# Reading and canceling.


def test_trainings_are_listed_and_read_apart_from_predictions(stage: Stage) -> None:
    ids = [train(stage).id for _ in range(2)]
    prediction = stage.client.models.predictions.create("black-forest-labs/flux-schnell", input={"prompt": "x"})

    assert [each.id for each in stage.client.trainings.list()] == ids[::-1]
    assert [each.id for each in stage.client.predictions.list()] == [prediction.id]
    assert stage.client.trainings.get(ids[0]).id == ids[0]
    assert stage.api.get(f"/predictions/{ids[0]}").status_code == 404
    assert stage.api.post(f"/trainings/{prediction.id}/cancel").status_code == 404


def test_trainings_cannot_be_listed_by_time(stage: Stage) -> None:
    training = train(stage)

    listed = stage.api.get("/trainings", params={"created_before": "2020-01-01T00:00:00Z"}).json()
    assert [each["id"] for each in listed["results"]] == [training.id]


def test_trainings_come_in_pages(stage: Stage) -> None:
    stage.control.faults({"on": "prediction", "kind": "never"})
    for _ in range(101):
        post(stage)

    first = stage.client.trainings.list()
    assert first.next
    assert (len(first), len(stage.client.trainings.list(first.next))) == (100, 1)


def test_a_canceled_training_is_paid_for_as_far_as_it_came(stage: Stage) -> None:
    stage.control.faults({"on": "prediction", "kind": "held", "times": 1})
    training = train(stage)
    eventually(lambda: stage.client.trainings.get(training.id).status == "processing")

    training.cancel()

    assert training.status == "canceled"
    shown = stage.api.get(f"/trainings/{training.id}").json()
    assert (shown["status"], shown["output"], shown["metrics"]["predict_time"]) == ("canceled", None, 0)
    assert stage.client.models.get(MINE).latest_version is None


# Webhooks.


def test_webhooks_of_a_training_verify_and_end_with_its_output(stage: Stage, receiver: Receiver) -> None:
    post(stage, webhook=receiver.url, webhook_events_filter=["start", "output", "logs", "completed"])
    eventually(lambda: "completed" in [each["event"] for each in stage.control.webhooks()])

    for headers, body in receiver.got:
        Webhook(SECRET).verify(body, headers)
    assert {each["event"] for each in stage.control.webhooks()} == {"start", "logs", "completed"}
    *before, last = receiver.bodies
    assert {each["output"] for each in before} == {None}
    assert last["output"]["version"].startswith(f"{MINE}:")


def test_long_logs_make_large_webhooks(stage: Stage, receiver: Receiver) -> None:
    stage.control.faults({"on": "prediction", "kind": "long_logs", "bytes": 6_500_000})
    post(stage, webhook=receiver.url, webhook_events_filter=["completed"])
    eventually(lambda: receiver.got)

    ((_, body),) = receiver.got
    logs = json.loads(body)["logs"]
    assert len(body) > 6_500_000
    assert logs.startswith("INFO")
    assert "flux_train_replicate: 100%" in logs[-200:]


# Faults.


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"kind": "throttled"}, 429),
        ({"kind": "insufficient_credit"}, 402),
        ({"kind": "invalid", "field": "webhook"}, 422),
        ({"kind": "error_500", "status": 503}, 503),
    ],
)
def test_a_refused_training_starts_nothing(stage: Stage, fault: dict[str, Any], status: int) -> None:
    stage.control.faults({"on": "create", "times": 1, **fault})

    assert post(stage).status_code == status
    assert stage.control.calls()["charged"] == 0
    assert post(stage).status_code == 201


@pytest.mark.parametrize(("kind", "charged"), [("cut_after_taken", 1), ("cut_before_taken", 0)])
def test_a_cut_training_has_no_answer(stage: Stage, kind: str, charged: int) -> None:
    stage.control.faults({"on": "create", "kind": kind, "times": 1})

    with pytest.raises(httpx.RemoteProtocolError):
        post(stage)

    told = stage.control.calls()
    create = next(each for each in told["calls"] if each["on"] == "create")
    assert (create["kind"], create["status"], create["fault"]) == ("training", "cut", kind)
    assert [(each["kind"], each["destination"]) for each in told["predictions"]] == [("training", MINE)] * charged
    assert told["charged"] == charged


@pytest.mark.parametrize(
    ("fault", "status", "charged"),
    [
        ({"kind": "fail", "error": "CUDA out of memory"}, "failed", True),
        ({"kind": "aborted"}, "aborted", False),
        ({"kind": "canceled"}, "canceled", True),
        ({"kind": "unknown_status", "at": "end"}, "suspended", True),
        ({"kind": "nsfw"}, "succeeded", True),
    ],
)
def test_a_training_ends_as_told(stage: Stage, fault: dict[str, Any], status: str, *, charged: bool) -> None:
    stage.control.faults({"on": "prediction", "times": 1, **fault})

    shown = stage.finished(post(stage).json()["id"], "trainings")

    assert (shown["status"], shown["error"]) == (status, fault.get("error"))
    assert stage.control.calls()["predictions"][0]["charged"] is charged
    assert bool(shown["output"]) is (status in {"succeeded", "suspended"})


def test_reading_trainings_meets_the_faults_of_reading(stage: Stage, receiver: Receiver) -> None:
    training_id = post(stage, webhook=receiver.url, webhook_events_filter=["completed"]).json()["id"]
    stage.control.faults(
        {"on": "list", "kind": "lag", "seconds": 60, "times": 1},
        {"on": "get", "kind": "hide_webhook", "times": 1},
        {"on": "cancel", "kind": "not_found", "times": 1},
    )

    assert stage.api.get("/trainings").json()["results"] == []
    assert "webhook" not in stage.api.get(f"/trainings/{training_id}").json()
    assert stage.api.post(f"/trainings/{training_id}/cancel").status_code == 404
    calls = stage.control.calls()["calls"]
    assert [(each["on"], each["kind"]) for each in calls[-3:]] == [
        ("list", "training"),
        ("get", "training"),
        ("cancel", "training"),
    ]
    assert stage.control.active() == []


# Secrets.


def test_the_secrets_of_a_training_are_never_shown_back(stage: Stage, receiver: Receiver) -> None:
    given = {"input_images": IMAGES, "hf_token": "hf_made_up", "wandb_api_key": "wandb made up", "hf_repo_id": "me/it"}
    taken = post(stage, input=given, webhook=receiver.url, webhook_events_filter=["completed"]).json()
    eventually(lambda: receiver.got)

    shown = {**given, "hf_token": "[REDACTED]", "wandb_api_key": "[REDACTED]"}
    assert [taken["input"], receiver.bodies[0]["input"]] == [shown, shown]
    (told,) = stage.control.calls()["predictions"]
    assert told["input"] == shown
    assert told["secrets"] == {
        name: hashlib.sha256(given[name].encode()).hexdigest() for name in ("hf_token", "wandb_api_key")
    }
