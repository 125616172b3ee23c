"""LoRA: named in every way, its trigger word in the prompt, run as itself or loaded into another model."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from shared.job import Kind, Makes
from tests.support.catalog import train, version_of
from tests.support.problems import check_problem
from tests.support.submits import Caller, configured
from tests.support.world import Answered

pytestmark = pytest.mark.sockets

LATEST, OLDER = version_of("f"), version_of("e")
DEV_LORA = "black-forest-labs/flux-dev-lora"
PRO_SECOND = 1_525


def with_lora(caller: Caller, **fields: Any) -> Answered:
    return caller.generate({"prompt": "a fox", "num_images": 1, **fields})


def run(caller: Caller) -> tuple[str, Any]:
    """Give where the only create went, and its body."""
    (call,) = caller.replicate.calls
    return call.path, json.loads(call.body)


@contextmanager
def operated(caller: Caller, **parameters: str) -> Iterator[None]:
    """Let Replicate have acme's models, and the operator allow some."""
    catalog = caller.replicate.catalog
    for name in ("acme/fox", "acme/hen", "acme/own"):
        catalog[f"models/{name}"] = {"latest_version": {"id": LATEST}}
        for version in (LATEST, OLDER):
            catalog[f"models/{name}/versions/{version}"] = {"id": version}
    with configured(caller.world, **parameters):
        yield


# Which one


@pytest.mark.parametrize("configured_as", ["acme/own", f"acme/own:{OLDER}"])
def test_the_operators_lora_is_used_if_none_is_named(caller: Caller, configured_as: str) -> None:
    with operated(caller, LoraModelId=configured_as):
        answered = with_lora(caller, use_lora=True)
    assert answered.status == 202
    path, body = run(caller)
    assert path == "/v1/predictions"
    assert body["version"].endswith(OLDER if OLDER in configured_as else LATEST)
    job = caller.job(answered)
    assert (job.model, job.kind, job.makes) == ("acme/own", Kind.PREDICTION, Makes.IMAGES)
    assert job.input["prompt"] == "a fox", "nothing is known of a trigger word"


def test_the_operators_lora_has_the_trigger_word_of_the_configuration(caller: Caller) -> None:
    config = json.dumps({"models": {"acme/own": {"like": "flux-lora", "version": OLDER, "trigger_word": "ACME"}}})
    with operated(caller, LoraModelId="acme/own", ModelConfig=config):
        with_lora(caller, use_lora=True)
    _, body = run(caller)
    assert body["version"].endswith(OLDER)
    assert body["input"]["prompt"] == "ACME a fox"


def test_without_any_lora_one_has_to_be_named(caller: Caller) -> None:
    refusal = with_lora(caller, use_lora=True)
    problem = check_problem(refusal, 422, "invalid_input", instance="/generate", fields={"lora_model_id"})
    assert "LoraModelId" in problem["detail"]


@pytest.mark.parametrize(
    ("lora", "version"),
    [("acme/fox", LATEST), (f"acme/fox:{OLDER}", OLDER), (f"acme/fox:{LATEST}", LATEST), (LATEST, LATEST)],
)
@pytest.mark.parametrize("use_lora", [True, None])
def test_a_lora_is_named_as_replicate_does(caller: Caller, *, lora: str, version: str, use_lora: bool | None) -> None:
    with operated(caller, AllowedModels="acme/fox"):
        answered = with_lora(caller, lora_model_id=lora, use_lora=use_lora)
    assert answered.status == 202
    job = caller.job(answered)
    assert (job.model, job.version) == ("acme/fox", version)
    assert run(caller)[1]["version"].endswith(version)


def test_a_lora_is_validated_and_priced_as_what_it_is(caller: Caller) -> None:
    with operated(caller, AllowedModels="acme/*"):
        job = caller.job(with_lora(caller, lora_model_id="acme/fox", num_images=3, lora_scale=0.5))
        refusal = with_lora(caller, lora_model_id="acme/fox", input={"guidance": 11, "aspect_ratio": "7:3"})
    assert (job.input["num_outputs"], job.input["lora_scale"]) == (3, 0.5)
    assert (job.price.micro_usd, job.estimate) == (PRO_SECOND, 3 * 8 * PRO_SECOND)
    fields = {"input.guidance_scale", "input.aspect_ratio"}
    check_problem(refusal, 422, "invalid_input", instance="/generate", fields=fields)


def test_use_lora_false_ignores_the_name(caller: Caller) -> None:
    answered = with_lora(caller, use_lora=False, lora_model_id="acme/none")
    assert caller.job(answered).model == "black-forest-labs/flux-dev"


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"lora_model_id": "acme/none"}, 404, "model_not_found"),
        ({"lora_model_id": f"acme/fox:{version_of('0')}"}, 404, "model_not_found"),
        ({"lora_model_id": "evil/fox"}, 403, "model_not_allowed"),
        ({"lora_model_id": "fox"}, 404, "model_not_found"),
        ({"lora_model_id": version_of("0")}, 422, "invalid_input"),
    ],
)
def test_a_lora_that_cannot_be_had_is_refused(caller: Caller, fields: dict[str, Any], status: int, code: str) -> None:
    with operated(caller, AllowedModels="acme/*"):
        refusal = with_lora(caller, **fields)
    assert (refusal.status, refusal.json["code"]) == (status, code)
    assert (caller.jobs(), caller.replicate.calls) == ([], [])


# A tenant's own


@pytest.mark.parametrize("name", ["fox", "acme/fox", f"acme/fox:{LATEST}", f"fox:{LATEST}", LATEST])
def test_what_a_tenant_has_trained_is_used_by_any_of_its_names(caller: Caller, name: str) -> None:
    train(caller.world, tenant=caller.tenant)
    answered = with_lora(caller, lora_model_id=name)
    assert answered.status == 202
    job = caller.job(answered)
    assert (job.model, job.version, job.input["prompt"]) == ("acme/fox", LATEST, "FOX a fox")
    assert caller.replicate.catalog_calls == [], "all of that is known here"


def test_an_earlier_version_of_ones_own_model_is_still_to_be_had(caller: Caller) -> None:
    train(caller.world, tenant=caller.tenant)
    with operated(caller):
        assert caller.job(with_lora(caller, lora_model_id=f"acme/fox:{OLDER}")).version == OLDER


def test_what_another_tenant_has_trained_is_not_to_be_had(caller: Caller, other: Caller) -> None:
    train(caller.world, tenant=other.tenant)
    for name, code in (("fox", "model_not_found"), ("acme/fox", "model_not_allowed"), (LATEST, "invalid_input")):
        assert with_lora(caller, lora_model_id=name).json["code"] == code
    assert caller.jobs() == []


def test_a_name_that_two_models_have_is_asked_about(caller: Caller) -> None:
    train(caller.world, tenant=caller.tenant)
    train(caller.world, "other/fox", OLDER, tenant=caller.tenant)
    refusal = with_lora(caller, lora_model_id="fox")
    problem = check_problem(refusal, 422, "invalid_input", instance="/generate", fields={"lora_model_id"})
    assert "acme/fox" in problem["detail"]
    assert "other/fox" in problem["detail"]


def test_a_model_of_ones_own_needs_no_lora_field(caller: Caller) -> None:
    train(caller.world, tenant=caller.tenant)
    job = caller.job(with_lora(caller, model="acme/fox"))
    assert (job.model, job.version, job.input["prompt"]) == ("acme/fox", LATEST, "FOX a fox")


def test_replicates_interface_runs_it_and_leaves_the_prompt_alone(caller: Caller) -> None:
    train(caller.world, tenant=caller.tenant)
    for version in (LATEST, f"acme/fox:{LATEST}"):
        created = caller.post("/v1/predictions", {"version": version, "input": {"prompt": "a fox"}})
        assert (created.status, created.json["model"], created.json["version"]) == (201, "acme/fox", LATEST)
        assert created.json["input"]["prompt"] == "a fox"
    refusal = caller.post("/v1/predictions", {"version": LATEST, "input": {"prompt": "a", "num_outputs": 9}})
    check_problem(refusal, 422, "invalid_input", instance="/v1/predictions", fields={"input.num_outputs"})


# The trigger word


@pytest.mark.parametrize(
    ("prompt", "word", "sent"),
    [
        ("a fox", None, "FOX a fox"),
        ("a FOX in the snow", None, "a FOX in the snow"),
        ("FOX, running", None, "FOX, running"),
        ("FOXY lady", None, "FOX FOXY lady"),
        ("foxes and a fox", None, "FOX foxes and a fox"),
        ("a fox", "VIXEN", "VIXEN a fox"),
        ("a FOX", "VIXEN", "VIXEN a FOX"),
        ("a fox", "", "a fox"),
        ("a fox", "   ", "a fox"),
    ],
)
def test_the_trigger_word_stands_in_the_prompt_as_a_word(
    caller: Caller, prompt: str, word: str | None, sent: str
) -> None:
    train(caller.world, tenant=caller.tenant)
    with_lora(caller, lora_model_id="fox", prompt=prompt, trigger_word=word)
    assert caller.sent[0]["prompt"] == sent


def test_the_trigger_word_stands_in_every_prompt_of_a_batch(caller: Caller) -> None:
    train(caller.world, tenant=caller.tenant)
    caller.generate({"prompts": ["a fox", "a FOX"], "num_images": 5, "lora_model_id": "fox"})
    assert sorted(job.input["prompt"] for job in caller.jobs()) == ["FOX a fox"] * 2 + ["a FOX"] * 2


def test_a_prompt_that_the_word_makes_too_long_is_refused(caller: Caller) -> None:
    train(caller.world, tenant=caller.tenant)
    refusal = with_lora(caller, lora_model_id="fox", prompt="x" * 32_768)
    check_problem(refusal, 422, "invalid_input", instance="/generate", fields={"input.prompt"})


# Loaded into another model


@pytest.mark.parametrize(
    ("lora", "weights"),
    [("fox", f"acme/fox/{LATEST}"), ("acme/fox", f"acme/fox/{LATEST}"), (f"acme/fox:{OLDER}", f"acme/fox/{OLDER}")],
)
def test_a_lora_can_be_loaded_into_a_model_that_loads_some(caller: Caller, lora: str, weights: str) -> None:
    train(caller.world, tenant=caller.tenant)
    with operated(caller, AllowedModels="black-forest-labs/*,acme/*"):
        answered = with_lora(caller, model=DEV_LORA, lora_model_id=lora, lora_scale=1.2)
    assert answered.status == 202
    path, body = run(caller)
    assert path == f"/v1/models/{DEV_LORA}/predictions"
    assert (body["input"]["lora_weights"], body["input"]["lora_scale"]) == (weights, 1.2)
    assert body["input"]["prompt"] == "FOX a fox"
    assert caller.job(answered).model == DEV_LORA


@pytest.mark.parametrize("model", ["black-forest-labs/flux-dev", "black-forest-labs/flux-1.1-pro"])
def test_a_model_that_loads_none_says_so(caller: Caller, model: str) -> None:
    train(caller.world, tenant=caller.tenant)
    refusal = with_lora(caller, model=model, lora_model_id="fox")
    problem = check_problem(refusal, 422, "invalid_input", instance="/generate", fields={"lora_model_id"})
    assert model in problem["detail"]


def test_weights_that_are_given_twice_are_refused(caller: Caller) -> None:
    train(caller.world, tenant=caller.tenant)
    weights = {"lora_weights": "huggingface.co/a/b"}
    refusal = with_lora(caller, model=DEV_LORA, lora_model_id="fox", input=weights)
    check_problem(refusal, 422, "invalid_input", instance="/generate", fields={"input.lora_weights"})
    assert with_lora(caller, model=DEV_LORA, input=weights).status == 202


def test_a_scale_is_refused_where_nothing_is_scaled(caller: Caller) -> None:
    refusal = with_lora(caller, lora_scale=1)
    check_problem(refusal, 422, "invalid_input", instance="/generate", fields={"input.lora_scale"})
