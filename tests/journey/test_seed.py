"""Every example of the document that the project was created from, as its reader would write it for this service.

Its numbers are kept where they are the caller's to choose. Each test is named after its example.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import replicate.exceptions
from PIL import Image
from replicate.client import Client
from replicate.helpers import FileOutput

from tests.journey.local import DEV, SMALL, Local, Tenant, until
from tests.journey.replicate import PATIENCE_S, Replicate

pytestmark = pytest.mark.sockets

ENDED = {"succeeded", "failed", "canceled"}
TRAINER = "ostris/flux-dev-lora-trainer"
# What the document's own model of Flux Dev writes when it is dumped, with the seed that nobody gave.
FLUX_DEV_DUMP: dict[str, Any] = {
    "prompt": "A serene mountain landscape at sunset",
    "aspect_ratio": "21:9",
    "num_outputs": 2,
    "num_inference_steps": 28,
    "guidance_scale": 3.5,
    "output_format": "jpg",
    "output_quality": 80,
    "seed": None,
    "disable_safety_checker": False,
}


def poll(read: Callable[[], dict[str, Any]], on_progress: Callable[[float], None] = lambda _: None) -> dict[str, Any]:
    """Poll with growing pauses, as the document does: 1 s, 1.5 s … 5 s, here at a tenth of that."""
    pause, until_ = 0.1, time.monotonic() + PATIENCE_S
    while time.monotonic() < until_:
        found = read()
        if found.get("progress") is not None:
            on_progress(found["progress"])
        if found["status"] in ENDED:
            return found
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)
    raise TimeoutError


def short(tenant: Tenant, job_id: str) -> dict[str, Any]:
    document: dict[str, Any] = tenant.http.get(f"/predictions/{job_id}").raise_for_status().json()
    return document


def test_basic_image_generation(https_client: Client, opened: Callable[[bytes], Image.Image]) -> None:
    output = https_client.run(
        DEV,
        input={
            "prompt": "A serene mountain landscape at sunset",
            "num_outputs": 1,
            "aspect_ratio": "16:9",
        },
    )
    (image,) = output
    assert isinstance(image, FileOutput)
    width, height = opened(image.read()).size
    assert width / height == pytest.approx(16 / 9, rel=0.05)


def test_async_pattern_with_polling(client: Client) -> None:
    async def generate(prompt: str, num_images: int = 4) -> list[str]:
        prediction = client.predictions.create(
            version=DEV,
            input={
                "prompt": prompt,
                "num_outputs": num_images,
                "guidance_scale": 3.5,
                "num_inference_steps": 28,
                **SMALL,
            },
        )
        while prediction.status not in ENDED:
            await asyncio.sleep(0.1)
            prediction = client.predictions.get(prediction.id)
        assert prediction.status == "succeeded", prediction.error
        return list(prediction.output or [])

    assert len(asyncio.run(generate("a lighthouse"))) == 4


def test_complete_flux_dev_configuration(
    tenant: Tenant, replicate: Replicate, opened: Callable[[bytes], Image.Image], local: Local
) -> None:
    answer = tenant.http.post(f"/v1/models/{DEV}/predictions", json={"input": FLUX_DEV_DUMP})
    assert answer.status_code == 201, answer.text
    (job,) = local.end([answer.json()["id"]])
    assert (job.status, len(job.files)) == ("succeeded", 2)
    sent = replicate.document(job.prediction_id or "")["input"]
    assert sent["guidance"] == 3.5, "the model's own name for it"
    assert "guidance_scale" not in sent
    assert isinstance(sent["seed"], int), "null is not given; then one is drawn"
    image = opened(local.objects(job)["0.jpg"])
    assert image.size[0] / image.size[1] == pytest.approx(21 / 9, rel=0.05)


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("portrait", {"aspect_ratio": "2:3", "num_inference_steps": 30, "guidance": 4, "output_quality": 90}),
        ("landscape", {"aspect_ratio": "16:9", "num_inference_steps": 28, "guidance": 3.5, "output_quality": 85}),
    ],
)
def test_portrait_and_landscape(
    tenant: Tenant, replicate: Replicate, local: Local, preset: str, expected: dict[str, Any]
) -> None:
    job_id = tenant.generate(model=DEV, preset=preset, input={**SMALL, "output_quality": 70})
    (job,) = local.end([job_id])
    sent = replicate.document(job.prediction_id or "")["input"]
    given = {**expected, "output_format": "webp", "output_quality": 70}
    assert {name: sent[name] for name in given} == given, "and what the caller gives wins"


def test_batch_generation(tenant: Tenant, local: Local) -> None:
    prompts = ["a fox", "a hare", "an owl"]
    answer = tenant.http.post("/generate", json={"prompts": prompts, "num_images": 1, "model": DEV, "input": SMALL})
    assert answer.status_code == 202, answer.text
    ids = [one["prediction_id"] for one in answer.json()["predictions"]]
    jobs = local.end(ids)
    assert [(job.input["prompt"], job.status, len(job.files)) for job in jobs] == [
        (prompt, "succeeded", 1) for prompt in prompts
    ]
    listed = tenant.http.get("/predictions", params={"batch_id": answer.json()["batch_id"]}).json()
    assert {one["prediction_id"] for one in listed["predictions"]} == set(ids)
    assert listed["counts"]["succeeded"] == 3


def test_lora_with_trigger_word(tenant: Tenant, replicate: Replicate, local: Local) -> None:
    answer = tenant.http.post(
        "/generate",
        json={
            "prompt": "a portrait in the rain",
            "use_lora": True,
            "lora_model_id": "simulated-user/flux-lora",
            "lora_scale": 0.9,
            "trigger_word": "TOK",
            "num_images": 1,
            "input": {**SMALL, "num_inference_steps": 28, "guidance_scale": 3.5},
        },
    )
    assert answer.status_code == 202, answer.text
    (job,) = local.end([answer.json()["prediction_id"]])
    assert (job.status, len(job.files)) == ("succeeded", 1)
    sent = replicate.document(job.prediction_id or "")["input"]
    assert (sent["prompt"], sent["lora_scale"]) == ("TOK a portrait in the rain", 0.9)


def test_training_a_custom_lora(client: Client, tenant: Tenant, local: Local, replicate: Replicate) -> None:
    training = client.trainings.create(
        version=TRAINER,
        input={
            "input_images": "https://example.com/images.zip",
            "trigger_word": "FOXY",
            "steps": 1000,
            "lora_rank": 16,
            "optimizer": "adamw8bit",
            "batch_size": 1,
            "learning_rate": 4e-4,
            "caption_prefix": "a photo of FOXY",
        },
        destination="simulated-user/my-lora-model",
    )

    def ended() -> bool:
        training.reload()
        return training.status in ENDED

    until(ended, what="the end of the training")
    assert training.status == "succeeded", training.error
    output: Any = training.output
    assert output["version"].startswith("simulated-user/my-lora-model:")
    (job,) = local.end([training.id])
    sent = replicate.training(job.prediction_id or "")["input"]
    assert sent["autocaption_prefix"] == "a photo of FOXY"
    assert "caption_prefix" not in sent
    # It can be used at once, by its name, and its trigger word is known.
    job_id = tenant.generate("a walk in the park", model=None, use_lora=True, lora_model_id="my-lora-model")
    (made,) = local.end([job_id])
    assert (made.status, made.version) == ("succeeded", output["version"].partition(":")[2])
    assert made.input["prompt"] == "FOXY a walk in the park"


def test_polling_with_progress(tenant: Tenant, replicate: Replicate) -> None:
    replicate.hold(part=0.7)
    job_id = tenant.generate()
    seen: list[float] = []

    def on_progress(progress: float) -> None:
        seen.append(progress)
        if progress >= 0.5:
            replicate.misbehave()

    done = poll(lambda: short(tenant, job_id), on_progress)
    assert done["status"] == "succeeded"
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(set(seen)) > 1, "something was seen on the way"


def test_webhook(tenant: Tenant, replicate: Replicate, local: Local) -> None:
    (job,) = local.end([tenant.generate()])

    def answers() -> list[int]:
        return [one["status"] for one in replicate.webhooks_of(job.id) if one["event"] == "completed"]

    until(lambda: 200 in answers(), what="the webhook's answer")
    manifest = local.manifest(job)
    assert (manifest["status"], len(manifest["files"])) == ("succeeded", 1)


def test_webhook_of_a_failure(tenant: Tenant, replicate: Replicate, local: Local) -> None:
    replicate.misbehave({"on": "prediction", "kind": "fail", "error": "E1001: out of memory", "times": 1})
    (job,) = local.end([tenant.generate()])
    assert local.manifest(job)["problem"]["code"] == "out_of_memory"


def test_error_handling_rate_limit(local: Local) -> None:
    with local.tenant(rate_per_minute=2) as tenant:
        answers = [tenant.predict(), tenant.predict()]
        # The third is refused, but on a machine that takes a minute for three.
        while answers[-1].is_success:
            answers.append(tenant.predict())
    assert [answer.status_code for answer in (*answers[:2], answers[-1])] == [201, 201, 429]
    assert answers[-1].json()["code"] == "rate_limited"
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60


def test_error_handling_model_not_found(client: Client) -> None:
    with pytest.raises(replicate.exceptions.ReplicateError) as caught:
        client.run("black-forest-labs/flux-nonsense", input={"prompt": "a fox"})
    assert caught.value.status == 404
    assert "flux-nonsense" in str(caught.value.detail)


def test_error_handling_retries(tenant: Tenant, replicate: Replicate, local: Local) -> None:
    # Where the document tries again itself, the service does: a throttled create is accepted, and started later.
    replicate.misbehave({"on": "create", "kind": "throttled", "retry_after": 1, "times": 1})
    answer = tenant.predict()
    assert (answer.status_code, answer.json()["status"]) == (201, "starting")
    (job,) = local.end([answer.json()["id"]], seconds=150)
    assert (job.status, job.attempt) == ("succeeded", 2)


def test_generate_and_predictions_endpoints(tenant: Tenant, replicate: Replicate) -> None:
    replicate.hold()
    answer = tenant.http.post(
        "/generate", json={"prompt": "a fox", "num_images": 4, "use_lora": False, "lora_model_id": None}
    )
    assert answer.status_code == 202, answer.text
    assert (answer.json()["status"], answer.json()["images"]) == ("starting", None)
    replicate.misbehave()
    done = poll(lambda: short(tenant, answer.json()["prediction_id"]))
    assert (done["status"], len(done["images"])) == ("succeeded", 4)
    missing = tenant.http.get("/predictions/nonsense")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


def test_generate_with_the_configured_lora(tenant: Tenant, local: Local) -> None:
    answer = tenant.http.post("/generate", json={"prompt": "a fox", "num_images": 1, "use_lora": True, "input": SMALL})
    assert answer.status_code == 202, answer.text
    (job,) = local.end([answer.json()["prediction_id"]])
    assert (job.status, job.model) == ("succeeded", "simulated-user/flux-lora")


def test_rate_limiting(local: Local) -> None:
    with local.tenant(rate_per_minute=50) as tenant:
        local.hold_minute(tenant)
        answers = tenant.at_once(60, tenant.predict)
    assert sorted(answer.status_code for answer in answers) == [201] * 50 + [429] * 10


def test_production_service_blocking_generate(tenant: Tenant) -> None:
    def answered() -> httpx.Response | None:
        """Ask for another, where a machine is so slow that it takes longer than that."""
        answer = tenant.http.post(
            "/generate",
            json={
                "prompt": "a fox",
                "num_images": 4,
                "model": DEV,
                "input": {"num_inference_steps": 28, "guidance_scale": 3.5, **SMALL},
            },
            headers={"Prefer": "wait=25"},
        )
        assert answer.is_success, answer.text
        return answer if answer.status_code == 200 else None

    answer: httpx.Response = until(answered, what="an end within the wait")
    assert (answer.json()["status"], len(answer.json()["images"])) == ("succeeded", 4)
