"""What can be called, and how: versions, LoRAs, batches, reuse and costs, on the whole stack."""

from collections import Counter
from typing import Any

import httpx
import pytest
from replicate.client import Client
from replicate.exceptions import ReplicateError

from tests.journey.local import CROWD, DEV, PRICES, SCHNELL, SMALL, Local, Tenant, until
from tests.journey.replicate import Replicate

pytestmark = pytest.mark.sockets

SDXL = "stability-ai/sdxl"
LORA = "simulated-user/flux-lora"
PER_SECOND = {SDXL: 975, LORA: 1_525}  # micro-USD


@pytest.mark.parametrize("model", [SDXL, LORA])
def test_a_version_is_run_validated_and_priced_as_its_model(
    https_client: Client, tenant: Tenant, local: Local, replicate: Replicate, model: str
) -> None:
    version = replicate.version_of(model)
    output = https_client.run(f"{model}:{version}", input={"prompt": "a fox", "num_outputs": 2})
    assert [type(file).__name__ for file in output] == ["FileOutput"] * 2
    assert all(file.read() for file in output)
    (job,) = local.jobs_of(tenant)
    assert (job.model, job.version) == (model, version)
    assert job.metrics is not None
    # Priced by the second, from the time that Replicate itself names.
    assert job.cost == pytest.approx(PER_SECOND[model] * job.metrics["predict_time"], abs=1)
    with pytest.raises(ReplicateError) as wrong:
        https_client.run(f"{model}:{version}", input={"prompt": "a fox", "num_outputs": 5})
    assert (wrong.value.status, "input.num_outputs" in str(wrong.value.detail)) == (422, True)


def test_a_version_of_a_model_that_may_not_be_called_is_refused(client: Client, replicate: Replicate) -> None:
    before = replicate.creates()
    for reference in (f"somebody/else:{'a' * 64}", f"{SCHNELL}:{replicate.version_of(SDXL)}"):
        with pytest.raises(ReplicateError) as refused:
            client.predictions.create(version=reference, input={"prompt": "a fox"})
        assert refused.value.status in {403, 404}
    assert replicate.creates() == before


def test_forty_equal_requests_at_once_with_reuse_are_one_job_and_one_charge(tenant: Tenant, local: Local) -> None:
    def ask() -> httpx.Response:
        asked = {"prompt": "one fox", "num_images": 1, "model": SCHNELL, "input": SMALL, "reuse": True}
        return tenant.http.post("/generate", json=asked)

    answers = tenant.at_once(40, ask, callers=CROWD)
    assert {answer.status_code for answer in answers} <= {200, 202}
    (job_id,) = {answer.json()["prediction_id"] for answer in answers}
    assert Counter(answer.json().get("reused", False) for answer in answers) == {True: 39, False: 1}
    (job,) = local.end([job_id])
    assert (job.status, job.joined) == ("succeeded", 39)
    assert local.charged([job]) == 1
    assert local.account(tenant) == (0, PRICES[SCHNELL])
    again = tenant.predict(prompt="one fox", headers={"Afterimage-Reuse": "true"})
    assert (again.json()["id"], again.json()["status"]) == (job_id, "succeeded")
    assert again.json()["afterimage"]["reused"] is True


def test_a_batch_of_a_hundred_with_three_bad_prompts_is_97_jobs_and_three_reasons(tenant: Tenant, local: Local) -> None:
    prompts: list[Any] = [f"fox number {n}" for n in range(100)]
    prompts[3], prompts[50], prompts[99] = "", None, 7
    asked = {"prompts": prompts, "num_images": 1, "model": SCHNELL, "input": SMALL}

    def ask() -> httpx.Response | None:
        """Ask again, as the problem says, where a machine is so slow that there was no time for all of them."""
        answer = tenant.http.post("/generate", json=asked, headers={"Idempotency-Key": "a hundred"})
        assert answer.status_code in {200, 202}, answer.text
        problems = [part["problem"] for part in answer.json()["predictions"] if "prediction_id" not in part]
        return None if any(problem["retryable"] for problem in problems) else answer

    answer = until(ask, what="an answer about all prompts")
    parts = answer.json()["predictions"]
    refused = {n: part["problem"] for n, part in enumerate(parts) if "prediction_id" not in part}
    assert sorted(refused) == [3, 50, 99]
    assert {n: problem["invalid_fields"][0]["field"] for n, problem in refused.items()} == {
        n: f"prompts.{n}" for n in refused
    }
    ids = [part["prediction_id"] for part in parts if "prediction_id" in part]
    assert len(set(ids)) == 97
    again = until(ask, what="an answer about all prompts")
    assert again.json()["batch_id"] == answer.json()["batch_id"]
    assert [part.get("prediction_id") for part in again.json()["predictions"]] == [
        part.get("prediction_id") for part in parts
    ]
    jobs = local.end(ids, seconds=300)
    assert Counter(job.status for job in jobs) == {"succeeded": 97}
    assert [job.input["prompt"] for job in jobs] == [prompt for n, prompt in enumerate(prompts) if n not in refused]
    assert local.account(tenant) == (0, 97 * PRICES[SCHNELL])
    listed = tenant.http.get("/predictions", params={"batch_id": answer.json()["batch_id"]}).json()
    assert listed["counts"] == {"starting": 0, "processing": 0, "succeeded": 97, "failed": 0, "canceled": 0}
    assert {one["prediction_id"] for one in listed["predictions"]} == set(ids)


def test_more_images_than_a_model_makes_at_once_become_several_jobs(tenant: Tenant, local: Local) -> None:
    answer = tenant.http.post(
        "/generate", json={"prompt": "a fox", "num_images": 6, "model": DEV, "seed": 7, "input": SMALL}
    )
    assert answer.status_code == 202, answer.text
    jobs = local.end([part["prediction_id"] for part in answer.json()["predictions"]])
    assert [(job.status, len(job.files), job.seed) for job in jobs] == [("succeeded", 4, 7), ("succeeded", 2, 11)]
    assert len({file.sha256 for job in jobs for file in job.files}) == 6, "no two images are the same"


def test_an_account_shows_what_was_spent_on_which_model(tenant: Tenant, local: Local) -> None:
    local.end([tenant.generate(), tenant.generate(model=DEV)])
    account = tenant.http.get("/v1/account").raise_for_status().json()
    assert (account["type"], account["username"]) == ("organization", tenant.name)
    money = account["afterimage"]
    assert money["by_model"] == {SCHNELL: 0.003, DEV: 0.025}
    assert (money["spent_usd"], money["reserved_usd"], money["in_flight"]) == (0.028, 0, 0)


def test_the_catalogue_lists_what_may_be_called_with_schemas_and_prices(tenant: Tenant, client: Client) -> None:
    listed = tenant.http.get("/models").raise_for_status().json()
    by_name = {model["name"]: model for model in listed["models"]}
    assert {SCHNELL, DEV, SDXL, LORA, "ostris/flux-dev-lora-trainer"} <= set(by_name)
    assert by_name[DEV]["input_schema"]["properties"]["guidance"]["maximum"] == 10
    assert {"portrait", "landscape"} <= set(listed["presets"])
    assert client.models.get(SCHNELL).latest_version is not None
    assert DEV in {f"{model.owner}/{model.name}" for model in client.models.list()}
    refused = tenant.http.get("/v1/models/somebody/else")
    assert refused.json()["code"] in {"model_not_allowed", "model_not_found"}


def test_a_deployment_runs_by_both_interfaces(client: Client, tenant: Tenant, local: Local) -> None:
    prediction = client.deployments.predictions.create(
        "simulated-user/fast-flux", input={"prompt": "a fox", "num_outputs": 1, **SMALL}
    )
    short = tenant.generate(model=None, deployment="simulated-user/fast-flux")
    jobs = local.end([prediction.id, short])
    assert [(job.status, job.model, job.deployment) for job in jobs] == [
        ("succeeded", DEV, "simulated-user/fast-flux")
    ] * 2


def test_a_secret_reaches_replicate_and_nothing_else(tenant: Tenant, local: Local, replicate: Replicate) -> None:
    secret = "hf_made_up_and_never_to_be_seen"
    answer = tenant.predict(
        "black-forest-labs/flux-dev-lora", lora_weights="simulated-user/flux-lora", hf_api_token=secret
    )
    assert answer.status_code == 201, answer.text
    (job,) = local.end([answer.json()["id"]])
    (prediction,) = replicate.predictions_of(job.id)
    assert prediction["secrets"].keys() == {"hf_api_token"}
    seen = [answer.text, tenant.http.get(f"/v1/predictions/{job.id}").text, str(local.item(job.id))]
    seen += [str(local.manifest(job)), local.logged("submit", job.created_at / 1000 - 1)]
    assert not [one for one in seen if secret in one]
    assert job.sealed is None


def test_an_image_of_one_job_is_the_input_of_the_next(tenant: Tenant, local: Local, replicate: Replicate) -> None:
    first = tenant.generate()
    local.end([first])
    (link,) = tenant.read(first)["output"]
    answer = tenant.predict(DEV, image=link)
    assert answer.status_code == 201, answer.text
    (job,) = local.end([answer.json()["id"]])
    assert job.status == "succeeded"
    (fetched,) = [one for one in replicate.seen()["fetched"] if one["prediction"] == job.prediction_id]
    assert (fetched["field"], fetched["status"]) == ("image", 200)
    assert tenant.read(job.id)["input"]["image"] == link.partition("?")[0], "no signature is kept"
