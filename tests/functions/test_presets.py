"""What fields mean: presets fill what is open, null is not given, and every unknown or doubled field is told."""

import json
from typing import Any

import pytest

from tests.support.problems import check_problem
from tests.support.submits import DEV, SCHNELL, Caller, configured
from tests.support.world import Answered

pytestmark = pytest.mark.sockets

SDXL = "stability-ai/sdxl"
PRO = "black-forest-labs/flux-1.1-pro"
KONTEXT = "black-forest-labs/flux-kontext-pro"


def generate(caller: Caller, **fields: Any) -> Answered:
    return caller.generate({"prompt": "a fox", "seed": 1, "num_images": 1, **fields})


def sent(caller: Caller, **fields: Any) -> dict[str, Any]:
    """Give what Replicate was sent, but for the prompt and the seed."""
    assert generate(caller, **fields).status == 202
    return {name: value for name, value in caller.sent[0].items() if name not in {"prompt", "seed"}}


# Presets


@pytest.mark.parametrize(("preset", "ratio"), [("portrait", "2:3"), ("landscape", "16:9"), ("square", "1:1")])
def test_a_preset_fills_what_is_open(caller: Caller, preset: str, ratio: str) -> None:
    fields = sent(caller, preset=preset)
    assert fields["aspect_ratio"] == ratio
    assert (fields["num_outputs"], fields["output_format"]) == (1, "webp")


def test_without_a_preset_nothing_is_filled(caller: Caller) -> None:
    assert sent(caller) == {"num_outputs": 1}
    assert sent(caller, preset=None) == {"num_outputs": 1}


@pytest.mark.parametrize(
    ("inner", "field", "value"),
    [
        ({"aspect_ratio": "9:16"}, "aspect_ratio", "9:16"),
        ({"guidance": 1}, "guidance", 1),
        ({"guidance_scale": 1}, "guidance", 1),
        ({"output_quality": 0}, "output_quality", 0),
    ],
)
def test_what_the_caller_gives_wins(caller: Caller, inner: dict[str, Any], field: str, value: Any) -> None:
    fields = sent(caller, preset="portrait", input=inner)
    assert fields[field] == value
    assert fields["num_inference_steps"] == 30, "and the rest of it is filled"


def test_a_preset_fits_itself_to_the_model(caller: Caller) -> None:
    version = "a" * 64
    caller.replicate.catalog[f"models/{SDXL}"] = {"latest_version": {"id": version}}
    fields = sent(caller, preset="portrait", model=SDXL)
    assert (fields["width"], fields["height"], fields["guidance_scale"]) == (832, 1216, 4.0)
    assert "aspect_ratio" not in fields


def test_what_does_not_fit_the_model_is_told(caller: Caller) -> None:
    answered = generate(caller, preset="portrait", model=PRO)
    assert answered.status == 202
    warnings = answered.json["warnings"]
    assert [one for one in warnings if "guidance" in one]
    assert [one for one in warnings if "num_inference_steps" in one]
    assert all(one.startswith("preset: ") for one in warnings)
    assert caller.sent[0]["aspect_ratio"] == "2:3"
    assert caller.get(f"/predictions/{answered.json['prediction_id']}").json["warnings"] == warnings


@pytest.mark.parametrize(("preset", "near"), [("portrat", "portrait"), ("Landscape", "landscape"), ("x", None)])
def test_an_unknown_preset_is_refused_with_the_nearest_and_all(caller: Caller, preset: str, near: str | None) -> None:
    refusal = generate(caller, preset=preset)
    problem = check_problem(refusal, 422, "invalid_input", instance="/generate", fields={"preset"})
    assert (f"Did you mean {near}?" in problem["detail"]) is (near is not None)
    assert "draft, landscape, portrait, print, square" in problem["detail"]


def test_the_operators_presets_are_added_and_override(caller: Caller) -> None:
    presets = {"banner": {"aspect_ratio": "21:9"}, "portrait": {"aspect_ratio": "4:5"}}
    with configured(caller.world, ModelConfig=json.dumps({"presets": presets})):
        assert sent(caller, preset="banner")["aspect_ratio"] == "21:9"
        caller.replicate.forget()
        portrait = sent(caller, preset="portrait")
    assert portrait == {"aspect_ratio": "4:5", "num_outputs": 1}


def test_a_preset_holds_for_every_part_of_a_batch(caller: Caller) -> None:
    caller.generate({"prompts": ["a", "b"], "preset": "landscape"})
    assert [job.input["aspect_ratio"] for job in caller.jobs()] == ["16:9", "16:9"]


def test_the_defaults_of_the_operator_come_after_the_preset(caller: Caller) -> None:
    models = {"black-forest-labs/flux-dev": {"defaults": {"output_format": "png", "go_fast": False}}}
    with configured(caller.world, ModelConfig=json.dumps({"models": models})):
        fields = sent(caller, preset="portrait")
    assert (fields["output_format"], fields["go_fast"]) == ("webp", False)


# Null


NULLS = {
    "preset": None,
    "num_images": None,
    "use_lora": None,
    "lora_model_id": None,
    "trigger_word": None,
    "lora_scale": None,
    "seed": None,
    "reuse": None,
    "webhook": None,
    "model": None,
    "deployment": None,
    "prompts": None,
    "input": None,
}


def test_null_is_not_given_in_the_short_interface(caller: Caller) -> None:
    answered = caller.generate({"prompt": "a fox", **NULLS})
    assert answered.status == 202
    assert caller.sent[0] == {"prompt": "a fox", "num_outputs": 4, "seed": caller.job(answered).seed}


def test_null_is_not_given_on_replicates_interface(caller: Caller) -> None:
    # The whole dump of the seed's model, as its own client sends it.
    given = {"prompt": "a fox", "seed": None, "image": None, "guidance": 3, "num_outputs": None, "nonsense": None}
    body = {"input": given, "webhook": None, "webhook_events_filter": None, "webhook_completed": None, "stream": None}
    created = caller.post(DEV, body)
    assert created.status == 201
    assert caller.sent[0] == {"prompt": "a fox", "guidance": 3, "seed": created.json["input"]["seed"]}
    assert created.json["afterimage"]["warnings"] == []


def test_a_field_that_is_needed_is_not_given_by_null(caller: Caller) -> None:
    check_problem(
        caller.post(DEV, {"input": {"prompt": None}}), 422, "invalid_input", instance=DEV, fields={"input.prompt"}
    )


# Unknown fields


@pytest.mark.parametrize(
    ("body", "field", "near"),
    [
        ({"num_image": 1}, "num_image", "num_images"),
        ({"promt": "a"}, "promt", "prompt"),
        ({"colour": "red"}, "colour", None),
        ({"input": {"guidence": 1}}, "input.guidence", "guidance"),
        ({"input": {"size": "1024x1024"}}, "input.size", None),
        ({"input": {"num_output": 1}}, "input.num_output", "num_outputs"),
    ],
)
def test_the_short_interface_refuses_unknown_fields_with_the_nearest_name(
    caller: Caller, body: dict[str, Any], field: str, near: str | None
) -> None:
    refusal = generate(caller, **body)
    problem = check_problem(refusal, 422, "invalid_input", instance="/generate", fields={field})
    assert (f"Did you mean {near}?" in problem["detail"]) is (near is not None)


def test_replicates_interface_drops_and_names_them(caller: Caller) -> None:
    created = caller.post(DEV, {"input": {"prompt": "a fox", "seed": 1, "size": "1024x1024", "n": 1}})
    assert caller.sent == [{"prompt": "a fox", "seed": 1}]
    warnings = created.json["afterimage"]["warnings"]
    assert [one.partition(":")[0] for one in warnings] == ["input.size", "input.n"]


def test_what_has_no_effect_is_refused_or_dropped(caller: Caller) -> None:
    path = f"/v1/models/{PRO}/predictions"
    created = caller.post(path, {"input": {"prompt": "a fox", "width": 512, "height": 512, "seed": 1}})
    assert caller.sent == [{"prompt": "a fox", "seed": 1}]
    assert len(created.json["afterimage"]["warnings"]) == 2
    refusal = generate(caller, model=PRO, input={"width": 512, "height": 512})
    fields = {"input.width", "input.height"}
    check_problem(refusal, 422, "invalid_input", instance="/generate", fields=fields)
    custom = {"aspect_ratio": "custom", "width": 512, "height": 512}
    assert generate(caller, model=PRO, input=custom).status == 202


# Fields by another name, and fields given twice


@pytest.mark.parametrize(
    ("path", "given", "expected"),
    [
        (DEV, {"guidance_scale": 2.5}, {"guidance": 2.5}),
        (DEV, {"guidance": 2.5}, {"guidance": 2.5}),
        (DEV, {"guidance": 2.5, "guidance_scale": 2.5}, {"guidance": 2.5}),
        (f"/v1/models/{KONTEXT}/predictions", {"image": "https://example.com/a.png"}, {"input_image": "https://example.com/a.png"}),
    ],
)  # fmt: skip
def test_some_fields_are_known_by_the_names_of_other_models(
    caller: Caller, path: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    created = caller.post(path, {"input": {"prompt": "a fox", "seed": 1, **given}})
    assert caller.sent == [{"prompt": "a fox", "seed": 1, **expected}]
    assert created.json["afterimage"]["warnings"] == []


def test_a_field_that_is_given_by_two_names_counts_by_its_own(caller: Caller) -> None:
    given = {"guidance": 2.5, "guidance_scale": 7}
    created = caller.post(DEV, {"input": {"prompt": "a fox", "seed": 1, **given}})
    assert caller.sent == [{"prompt": "a fox", "seed": 1, "guidance": 2.5}]
    (warning,) = created.json["afterimage"]["warnings"]
    assert warning.startswith("input.guidance_scale: ")
    refusal = generate(caller, input=given)
    check_problem(refusal, 422, "invalid_input", instance="/generate", fields={"input.guidance_scale"})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"prompt": "a fox", "input": {"prompt": "a hen"}}, "input.prompt"),
        ({"prompts": ["a fox", "a hen"], "input": {"prompt": "a fox"}}, "input.prompt"),
        ({"prompt": "a fox", "seed": 1, "input": {"seed": 2}}, "input.seed"),
        ({"prompt": "a fox", "num_images": 1, "input": {"num_outputs": 2}}, "input.num_outputs"),
        ({"prompt": "a fox", "num_images": 9, "input": {"num_outputs": 4}}, "input.num_outputs"),
    ],
)
def test_what_is_given_twice_must_be_the_same(caller: Caller, body: dict[str, Any], field: str) -> None:
    refusal = caller.generate(body)
    check_problem(refusal, 422, "invalid_input", instance="/generate", fields={field})
    assert caller.jobs() == []


def test_what_is_given_twice_and_is_the_same_is_taken(caller: Caller) -> None:
    fields = sent(caller, input={"prompt": "a fox", "seed": 1, "num_outputs": 1})
    assert fields == {"num_outputs": 1}


def test_fields_of_other_models_are_not_renamed_where_they_are_known(caller: Caller) -> None:
    created = caller.post(SCHNELL, {"input": {"prompt": "a fox", "seed": 1, "guidance": 3, "guidance_scale": 3}})
    assert caller.sent == [{"prompt": "a fox", "seed": 1}]
    assert len(created.json["afterimage"]["warnings"]) == 2
