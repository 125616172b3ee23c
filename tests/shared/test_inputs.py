"""What each model takes, field by field: a table from the published schemas, and the rules between fields."""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import ValidationError

import shared.inputs
from infra.local.simulator.models import MODELS
from infra.local.simulator.training import INPUTS as TRAINER_INPUTS
from infra.local.simulator.validation import check_input
from shared.errors import Code
from shared.inputs.fields import LARGEST_SEED, LONGEST_FILE_URL, LONGEST_PROMPT, LONGEST_SECRET, ModelInput, SizedInput
from shared.inputs.flux import FluxDev, FluxDevLora, FluxSchnell, FluxSchnellLora
from shared.inputs.flux_lora import FluxLora
from shared.inputs.flux_pro import FluxKontext, FluxKontextDev, FluxPro, FluxUltra
from shared.inputs.lora_weights import LONGEST
from shared.inputs.sdxl import Sdxl
from shared.inputs.training import FluxLoraTrainer
from shared.validation import invalid

type Kind = type[ModelInput]

REQUIRED = object()
LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Row:
    """One field of one model.

    `stricter` holds what Replicate takes, or only refuses when it has started; `why` says why we do not take it.
    """

    default: Any
    good: tuple[Any, ...]
    bad: tuple[Any, ...]
    stricter: tuple[Any, ...] = ()
    why: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict)
    given_with: Mapping[str, Any] = field(default_factory=dict)


def whole(default: int | None, low: int, high: int) -> Row:
    return Row(
        default,
        good=(low, low + 1, high),
        bad=(low - 1, high + 1, low + 0.5, str(low), True, [low]),
        stricter=(float(low),),
        why="a whole number is written without a point",
        schema={"type": "integer", "minimum": low, "maximum": high},
    )


def whole_from(default: int, low: int) -> Row:
    return Row(
        default,
        good=(low, 10**6),
        bad=(low - 1, low + 0.5, str(low), True),
        schema={"type": "integer", "minimum": low},
    )


def any_whole(default: int | None = None) -> Row:
    return Row(default, good=(1, 768, 10**6), bad=(1.5, "1", True), schema={"type": "integer"})


def seed() -> Row:
    return Row(
        None,
        good=(0, 42, LARGEST_SEED, -1, LARGEST, -LARGEST - 1),
        bad=(0.5, "42", True),
        stricter=(LARGEST + 1, -LARGEST - 2),
        why="no model reads more than 64 bits",
        schema={"type": "integer"},
    )


def number(default: float, low: float, high: float) -> Row:
    return Row(
        default,
        good=(low, int(low), high, int(high), (low + high) / 2),
        bad=(low - 0.01, high + 0.01, float("inf"), str(low), True),
        stricter=(float("nan"),),
        why="it cannot be written in JSON",
        schema={"type": "number", "minimum": low, "maximum": high},
    )


def any_number(default: float) -> Row:
    return Row(
        default,
        good=(default, 1, 0.0),
        bad=("0.1", True, None),
        stricter=(float("nan"), float("inf")),
        why="it cannot be written in JSON",
        schema={"type": "number"},
    )


def flag(*, default: bool) -> Row:
    return Row(default, good=(True, False), bad=("true", 1, 0), schema={"type": "boolean"})


def one_of(default: str, *choices: str, given_with: Mapping[str, Any] | None = None) -> Row:
    return Row(
        default,
        good=choices,
        bad=("", "other", choices[0].swapcase() + " ", 1, True, [choices[0]]),
        schema={"type": "string", "enum": list(choices)},
        given_with=given_with or {},
    )


def file(default: object = None) -> Row:
    return Row(
        default,
        good=(
            "https://example.com/a.png",
            "http://127.0.0.1:8080/files/job/0.png?e=1&s=2",
            "data:image/png;base64,AAAA",
            "data:application/zip,AAAA",
        ),
        bad=("", "a.png", "ftp://example.com/a.png", "example.com/a.png", 5, True, ["https://example.com/a.png"]),
        stricter=(
            "https://",
            "https://example.com/a b.png",
            "https://example.com/a.png\n",
            "data:AAAA",
            f"data:image/png;base64,{'A' * LONGEST_FILE_URL}",
        ),
        why="no file can be read there, or it is beyond all that is sent in one body",
        schema={"type": "string", "format": "uri"},
    )


def text(default: str | None = None, longest: int = LONGEST_PROMPT) -> Row:
    return Row(
        default,
        good=("", "some words", "x" * longest),
        bad=(5, True, ["words"]),
        stricter=("x" * (longest + 1),),
        why="more than any model reads",
        schema={"type": "string"},
    )


def prompt(default: object = REQUIRED) -> Row:
    return Row(
        default,
        good=("a", "a fox", "x" * LONGEST_PROMPT),
        bad=(5, True, ["a fox"]),
        stricter=("", "x" * (LONGEST_PROMPT + 1)),
        why="nothing is asked for, or more than any model reads",
        schema={"type": "string", "minLength": 1, "maxLength": LONGEST_PROMPT},
    )


def secret() -> Row:
    return Row(
        None,
        good=("x", "hf_" + "x" * 34, "x" * LONGEST_SECRET),
        bad=(5, True),
        stricter=("", "x" * (LONGEST_SECRET + 1)),
        why="no token looks like this",
        schema={"type": "string", "format": "password", "writeOnly": True},
    )


def lora() -> Row:
    return Row(
        None,
        good=("owner/name", "huggingface.co/owner/model"),
        bad=(5, True),
        stricter=("", "name", "https://example.com/a.bin", f"owner/{'x' * LONGEST}"),
        why="Replicate refuses these forms only when the prediction has started",
        schema={"type": "string"},
    )


def resolutions() -> Row:
    return Row(
        "512,768,1024",
        good=("512", "768", "1024", "512,1024", "768, 1024"),
        bad=(512, [512]),
        stricter=("", "513", "2048", "512;768", "512,", ",512", "512768", "512,768,1024,256", " 512", "512\n"),
        why="the trainer refuses or misreads these only when it has started",
        schema={"type": "string"},
    )


RATIOS = ("1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21")
CUSTOM = {"width": 512, "height": 768}
OUT = {
    "output_format": one_of("webp", "webp", "jpg", "png"),
    "output_quality": whole(80, 0, 100),
    "disable_safety_checker": flag(default=False),
    "seed": seed(),
}
SCHNELL = {
    "prompt": prompt(),
    "aspect_ratio": one_of("1:1", *RATIOS),
    "num_outputs": whole(1, 1, 4),
    "num_inference_steps": whole(4, 1, 4),
    "go_fast": flag(default=True),
    "megapixels": one_of("1", "1", "0.25"),
    **OUT,
}
DEV = {
    "prompt": prompt(),
    "aspect_ratio": one_of("1:1", *RATIOS),
    "image": file(),
    "prompt_strength": number(0.8, 0, 1),
    "num_outputs": whole(1, 1, 4),
    "num_inference_steps": whole(28, 1, 50),
    "guidance": number(3, 0, 10),
    "go_fast": flag(default=True),
    "megapixels": one_of("1", "1", "0.25"),
    **OUT,
}
TABLE: Mapping[Kind, Mapping[str, Row]] = {
    FluxSchnell: SCHNELL,
    FluxDev: DEV,
    FluxDevLora: {
        **DEV,
        "lora_weights": lora(),
        "lora_scale": number(1, -1, 3),
        "extra_lora": lora(),
        "extra_lora_scale": number(1, -1, 3),
        "hf_api_token": secret(),
        "civitai_api_token": secret(),
    },
    FluxSchnellLora: {**SCHNELL, "lora_weights": lora(), "lora_scale": number(1, -1, 3)},
    FluxPro: {
        "prompt": prompt(),
        "image_prompt": file(),
        "aspect_ratio": one_of(
            "1:1", "custom", "1:1", "16:9", "3:2", "2:3", "4:5", "5:4", "9:16", "3:4", "4:3", given_with=CUSTOM
        ),
        "width": whole(None, 256, 1440),
        "height": whole(None, 256, 1440),
        "safety_tolerance": whole(2, 1, 6),
        "seed": seed(),
        "prompt_upsampling": flag(default=False),
        "output_format": one_of("webp", "webp", "jpg", "png"),
        "output_quality": whole(80, 0, 100),
    },
    FluxUltra: {
        "prompt": prompt(),
        "image_prompt": file(),
        "image_prompt_strength": number(0.1, 0, 1),
        "aspect_ratio": one_of("1:1", *RATIOS),
        "safety_tolerance": whole(2, 1, 6),
        "seed": seed(),
        "raw": flag(default=False),
        "output_format": one_of("jpg", "jpg", "png"),
    },
    FluxKontext: {
        "prompt": prompt(),
        "input_image": file(),
        "aspect_ratio": one_of("match_input_image", "match_input_image", *RATIOS),
        "prompt_upsampling": flag(default=False),
        "seed": seed(),
        "output_format": one_of("png", "jpg", "png"),
        "safety_tolerance": whole(2, 0, 6),
    },
    FluxKontextDev: {
        "prompt": prompt(),
        "input_image": file(),
        "aspect_ratio": one_of("match_input_image", "match_input_image", *RATIOS),
        "num_inference_steps": whole(30, 4, 50),
        "guidance": number(2.5, 0, 10),
        "go_fast": flag(default=True),
        **OUT,
    },
    Sdxl: {
        "prompt": prompt("An astronaut riding a rainbow unicorn"),
        "negative_prompt": text(""),
        "image": file(),
        "mask": file(),
        "width": any_whole(1024),
        "height": any_whole(1024),
        "num_outputs": whole(1, 1, 4),
        "scheduler": one_of(
            "K_EULER",
            "DDIM",
            "DPMSolverMultistep",
            "HeunDiscrete",
            "KarrasDPM",
            "K_EULER_ANCESTRAL",
            "K_EULER",
            "PNDM",
        ),
        "num_inference_steps": whole(50, 1, 500),
        "guidance_scale": number(7.5, 1, 50),
        "prompt_strength": number(0.8, 0, 1),
        "seed": seed(),
        "refine": one_of("no_refiner", "no_refiner", "expert_ensemble_refiner", "base_image_refiner"),
        "high_noise_frac": number(0.8, 0, 1),
        "refine_steps": any_whole(),
        "apply_watermark": flag(default=True),
        "lora_scale": number(0.6, 0, 1),
        "replicate_weights": text(),
        "disable_safety_checker": flag(default=False),
    },
    FluxLora: {
        "prompt": prompt(),
        "image": file(),
        "mask": file(),
        "aspect_ratio": one_of("1:1", *RATIOS, "custom", given_with=CUSTOM),
        "height": whole(None, 256, 1440),
        "width": whole(None, 256, 1440),
        "prompt_strength": number(0.8, 0, 1),
        "model": one_of("dev", "dev", "schnell"),
        "num_outputs": whole(1, 1, 4),
        "num_inference_steps": whole(28, 1, 50),
        "guidance_scale": number(3, 0, 10),
        "go_fast": flag(default=False),
        "megapixels": one_of("1", "1", "0.25"),
        "replicate_weights": text(),
        "lora_scale": number(1, -1, 3),
        "extra_lora": lora(),
        "extra_lora_scale": number(1, -1, 3),
        **OUT,
    },
    FluxLoraTrainer: {
        "input_images": file(REQUIRED),
        "trigger_word": text("TOK", longest=100),
        "autocaption": flag(default=True),
        "autocaption_prefix": text(),
        "autocaption_suffix": text(),
        "steps": whole(1000, 3, 6000),
        "learning_rate": any_number(4e-4),
        "batch_size": any_whole(1),
        "resolution": resolutions(),
        "lora_rank": whole(16, 1, 128),
        "caption_dropout_rate": number(0.05, 0, 1),
        "optimizer": text("adamw8bit"),
        "cache_latents_to_disk": flag(default=False),
        "layers_to_optimize_regex": text(),
        "gradient_checkpointing": flag(default=False),
        "hf_repo_id": text(),
        "hf_token": secret(),
        "wandb_api_key": secret(),
        "wandb_project": text("flux_train_replicate"),
        "wandb_run": text(),
        "wandb_entity": text(),
        "wandb_sample_interval": whole_from(100, 1),
        "wandb_sample_prompts": text(),
        "wandb_save_interval": whole_from(100, 1),
    },
}
SIMULATED: Mapping[str, Kind] = {
    "black-forest-labs/flux-schnell": FluxSchnell,
    "black-forest-labs/flux-dev": FluxDev,
    "black-forest-labs/flux-dev-lora": FluxDevLora,
    "black-forest-labs/flux-schnell-lora": FluxSchnellLora,
    "black-forest-labs/flux-1.1-pro": FluxPro,
    "black-forest-labs/flux-1.1-pro-ultra": FluxUltra,
    "black-forest-labs/flux-kontext-pro": FluxKontext,
    "black-forest-labs/flux-kontext-max": FluxKontext,
    "black-forest-labs/flux-kontext-dev": FluxKontextDev,
    "stability-ai/sdxl": Sdxl,
    "simulated-user/flux-lora": FluxLora,
    "ostris/flux-dev-lora-trainer": FluxLoraTrainer,
}
SIMULATOR = {model.name: model.inputs for model in MODELS} | {"ostris/flux-dev-lora-trainer": TRAINER_INPUTS}
TOKEN_FIELDS = {"hf_api_token", "civitai_api_token", "hf_token", "wandb_api_key"}
FILE_FIELDS = {"image", "mask", "image_prompt", "input_image", "input_images"}


def least(kind: Kind) -> dict[str, Any]:
    """Give the smallest input of a model: what it requires."""
    return {name: row.good[0] for name, row in TABLE[kind].items() if row.default is REQUIRED}


def valid(kind: Kind, **given: Any) -> ModelInput:
    return kind.model_validate({**least(kind), **given})


def refused(kind: Kind, given: Mapping[str, Any]) -> dict[str, str]:
    """Give what a refusal says of each field; nothing if the input is taken."""
    try:
        kind.model_validate(given)
    except ValidationError as error:
        refusal = invalid(error, prefix="input.", known=list(kind.model_fields))
        assert refusal.code is Code.INVALID_INPUT
        return {one.field.removeprefix("input."): one.description for one in refusal.invalid_fields}
    return {}


def kinds() -> set[Kind]:
    """Give every type of input that there is, from all modules of inputs."""
    modules = [
        importlib.import_module(f"shared.inputs.{one.name}") for one in pkgutil.iter_modules(shared.inputs.__path__)
    ]
    found = (one for module in modules for name, one in vars(module).items() if not name.startswith("_"))
    return {one for one in found if isinstance(one, type) and issubclass(one, ModelInput)} - {ModelInput, SizedInput}


def rows(tables: Mapping[Any, Kind]) -> list[Any]:
    """Give every row of the named tables, as cases of a test."""
    return [
        pytest.param(label, name, row, id=f"{label if isinstance(label, str) else kind.__name__}-{name}")
        for label, kind in tables.items()
        for name, row in TABLE[kind].items()
    ]


each_row = pytest.mark.parametrize(("kind", "name", "row"), rows({kind: kind for kind in TABLE}))
each_kind = pytest.mark.parametrize("kind", TABLE, ids=lambda kind: kind.__name__)


# The table


def test_every_model_is_in_the_table() -> None:
    assert set(TABLE) == kinds()


@each_kind
def test_every_field_has_a_row_and_every_row_a_field(kind: Kind) -> None:
    assert set(TABLE[kind]) == set(kind.model_fields)


@each_row
def test_a_field_left_out_has_its_default_or_is_named_as_required(kind: Kind, name: str, row: Row) -> None:
    given = least(kind)
    if row.default is REQUIRED:
        del given[name]
        assert refused(kind, given) == {name: "Field required"}
    else:
        found = getattr(kind.model_validate(given), name)
        assert (found, type(found) is bool) == (row.default, type(row.default) is bool)


@each_row
def test_every_choice_and_both_bounds_are_taken_as_they_are(kind: Kind, name: str, row: Row) -> None:
    for value in row.good:
        taken = valid(kind, **{**row.given_with, name: value})
        assert taken.model_dump(exclude_unset=True)[name] == value


@each_row
def test_what_is_outside_is_refused_and_only_this_field_is_named(kind: Kind, name: str, row: Row) -> None:
    for value in (*row.bad, *row.stricter):
        found = refused(kind, {**least(kind), **row.given_with, name: value})
        assert set(found) == {name}, value
        assert found[name]


@each_row
def test_the_published_schema_says_the_same(kind: Kind, name: str, row: Row) -> None:
    schema = kind.model_json_schema()
    published = schema["properties"][name]
    whole_type = {**next(iter(published.get("anyOf", [{}]))), **published}
    assert {key: whole_type.get(key) for key in row.schema} == row.schema
    assert whole_type["description"]
    assert (name in schema.get("required", ())) == (row.default is REQUIRED)
    if row.default is not REQUIRED:
        assert published["default"] == row.default
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(("model", "name", "row"), rows(SIMULATED))
def test_the_simulator_agrees(model: str, name: str, row: Row) -> None:
    """Its table was written from the same facts by someone else: where the two differ, one of them is wrong."""
    kind, known = SIMULATED[model], SIMULATOR[model]
    spec = known[name]
    assert spec.required == (row.default is REQUIRED)
    assert spec.default == (None if row.default is REQUIRED else row.default)
    for value in (*row.good, *row.stricter):
        assert not check_input(known, {**least(kind), **row.given_with, name: value}), (value, row.why)
    for value in row.bad:
        assert check_input(known, {**least(kind), **row.given_with, name: value}), value


@pytest.mark.parametrize("model", SIMULATED)
def test_the_simulator_has_the_same_fields(model: str) -> None:
    theirs, ours = set(SIMULATOR[model]), set(SIMULATED[model].model_fields)
    assert ours == theirs


def test_what_is_stricter_than_replicate_has_its_reason() -> None:
    for table in TABLE.values():
        for row in table.values():
            assert bool(row.stricter) <= bool(row.why)


@each_kind
def test_a_field_that_does_not_exist_is_refused(kind: Kind) -> None:
    assert set(refused(kind, {**least(kind), "no_such_field": 1})) == {"no_such_field"}


def test_all_that_is_wrong_is_named_at_once() -> None:
    given = {"aspect_ratio": "custom", "width": 300, "safety_tolerance": 7, "seed": "x", "negative_prompt": ""}
    found = refused(FluxPro, given)
    assert set(found) == {"prompt", "width", "height", "safety_tolerance", "seed", "negative_prompt"}


# Rules between fields


@pytest.mark.parametrize("kind", [FluxPro, FluxLora])
@pytest.mark.parametrize("given", [{}, {"width": 512}, {"height": 512}, {"width": None, "height": None}])
def test_a_custom_aspect_ratio_needs_both_sides(kind: Kind, given: dict[str, Any]) -> None:
    found = refused(kind, {"prompt": "a fox", "aspect_ratio": "custom", **given})
    assert set(found) == {"width", "height"} - {name for name, side in given.items() if side is not None}
    assert all("both a width and a height" in one for one in found.values())


@pytest.mark.parametrize("kind", [FluxPro, FluxLora])
@pytest.mark.parametrize(("width", "height"), [(256, 1440), (1440, 256), (1024, 1024), (800, 608)])
def test_a_custom_aspect_ratio_with_both_sides_is_taken(kind: Kind, width: int, height: int) -> None:
    taken = valid(kind, aspect_ratio="custom", width=width, height=height)
    assert not taken.unused()


@pytest.mark.parametrize(("side", "nearest"), [(257, 256), (300, 288), (1000, 992), (1439, 1440), (272, 256)])
def test_custom_sides_of_flux_pro_are_multiples_of_32_and_the_nearest_is_named(side: int, nearest: int) -> None:
    given = {"prompt": "a fox", "aspect_ratio": "custom", "width": side, "height": 512}
    (description,) = refused(FluxPro, given).values()
    assert "multiple of 32" in description
    assert str(nearest) in description
    assert set(refused(FluxPro, {**given, "width": 512, "height": side})) == {"height"}
    assert not refused(FluxPro, {**given, "width": nearest})


def test_custom_sides_of_a_fine_tuned_lora_are_rounded_by_it() -> None:
    assert not refused(FluxLora, {"prompt": "a fox", "aspect_ratio": "custom", "width": 257, "height": 1001})


def test_an_unknown_aspect_ratio_is_the_only_thing_wrong() -> None:
    assert set(refused(FluxPro, {"prompt": "a fox", "aspect_ratio": "21:9"})) == {"aspect_ratio"}


@pytest.mark.parametrize(("tolerance", "is_taken"), [(0, True), (2, True), (3, False), (6, False)])
def test_kontext_tolerates_less_with_an_image(tolerance: int, *, is_taken: bool) -> None:
    given = {"prompt": "a fox", "safety_tolerance": tolerance}
    image = {"input_image": "https://example.com/a.png"}
    assert not refused(FluxKontext, given)
    assert not refused(FluxKontext, {**given, "input_image": None})
    assert not refused(FluxKontext, {"prompt": "a fox", **image})
    found = refused(FluxKontext, {**given, **image})
    assert set(found) == (set() if is_taken else {"safety_tolerance"})
    assert is_taken or "at most 2" in found["safety_tolerance"]


def test_the_trainers_resolution_says_what_it_may_be() -> None:
    found = refused(FluxLoraTrainer, {**least(FluxLoraTrainer), "resolution": "640"})
    assert all(size in found["resolution"] for size in ("512", "768", "1024"))


def test_a_file_says_what_it_may_be() -> None:
    found = refused(FluxDev, {"prompt": "a fox", "image": "fox.png"})
    assert "http" in found["image"]
    assert "data URI" in found["image"]


# What has no effect


@pytest.mark.parametrize("kind", [FluxPro, FluxLora])
@pytest.mark.parametrize(
    ("given", "unused"),
    [
        ({}, set()),
        ({"width": None}, set()),
        ({"width": 512}, {"width"}),
        ({"height": 512, "aspect_ratio": "1:1"}, {"height"}),
        ({"width": 300, "height": 512, "aspect_ratio": "3:2"}, {"width", "height"}),
        ({"width": 512, "height": 512, "aspect_ratio": "custom"}, set()),
    ],
)
def test_sides_without_a_custom_aspect_ratio_have_no_effect(
    kind: Kind, given: dict[str, Any], unused: set[str]
) -> None:
    found = valid(kind, **given).unused()
    assert set(found) == unused
    assert all("custom" in reason for reason in found.values())


@each_kind
def test_the_smallest_input_has_nothing_unused(kind: Kind) -> None:
    assert valid(kind).unused() == {}


def test_the_sides_of_a_model_without_aspect_ratio_count() -> None:
    assert valid(Sdxl, width=640, height=512).unused() == {}


# What a type tells of itself


@each_kind
def test_secrets_are_known_by_their_type(kind: Kind) -> None:
    assert kind.secret_fields() == TOKEN_FIELDS & set(kind.model_fields)


@each_kind
def test_files_are_known_by_their_type(kind: Kind) -> None:
    assert kind.file_fields() == FILE_FIELDS & set(kind.model_fields)


def test_there_are_secrets_and_files_to_know() -> None:
    assert FluxDevLora.secret_fields() == {"hf_api_token", "civitai_api_token"}
    assert FluxLoraTrainer.secret_fields() == {"hf_token", "wandb_api_key"}
    assert FluxLora.file_fields() == {"image", "mask"}
    assert FluxLoraTrainer.file_fields() == {"input_images"}


@each_kind
def test_the_most_images_are_as_many_as_one_input_can_ask_for(kind: Kind) -> None:
    most = kind.most_images()
    assert most == (4 if "num_outputs" in TABLE[kind] else 1)
    assert valid(kind, **({"num_outputs": most} if most > 1 else {})).images == most
    assert valid(kind).images == 1


def test_an_input_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        valid(FluxDev).prompt = "another"  # type: ignore[attr-defined]


# Where the weights of a LoRA are

HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("owner/name", "owner/name"),
        ("Some-Owner_1/flux-pixar.cars_2", "Some-Owner_1/flux-pixar.cars_2"),
        (f"owner/name/{HASH}", f"owner/name/{HASH}"),
        (f"owner/name:{HASH}", f"owner/name/{HASH}"),
        ("huggingface.co/owner/model", "huggingface.co/owner/model"),
        ("huggingface.co/owner/model-1.0/lora_v1.safetensors", "huggingface.co/owner/model-1.0/lora_v1.safetensors"),
        ("https://huggingface.co/owner/model", "https://huggingface.co/owner/model"),
        (
            "https://huggingface.co/owner/model/resolve/main/lora.safetensors",
            "https://huggingface.co/owner/model/resolve/main/lora.safetensors",
        ),
        ("civitai.com/models/1234", "civitai.com/models/1234"),
        ("civitai.com/models/1234/some-style", "civitai.com/models/1234/some-style"),
        ("https://civitai.com/models/1234", "https://civitai.com/models/1234"),
        ("https://example.com/a.safetensors", "https://example.com/a.safetensors"),
        ("https://example.com/a/b.safetensors?token=x&y=/z", "https://example.com/a/b.safetensors?token=x&y=/z"),
        ("https://example.com:8443/trained_model.tar", "https://example.com:8443/trained_model.tar"),
    ],
)
def test_every_form_of_lora_weights_is_taken(given: str, sent: str) -> None:
    for kind, name in ((FluxDevLora, "lora_weights"), (FluxDevLora, "extra_lora"), (FluxSchnellLora, "lora_weights")):
        taken = valid(kind, **{name: given})
        assert taken.model_dump(exclude_unset=True)[name] == sent
        assert valid(kind, **{name: sent}) == taken, "what is sent can be given again"


@pytest.mark.parametrize(
    "given",
    [
        "",
        " ",
        "name",
        "owner/",
        "/name",
        "owner/name/",
        "owner/name:",
        "owner/name/a/b",
        "owner/name:a:b",
        "owner /name",
        "owner/name\n",
        "owner.with.dots/name",
        "owner/name/lora.safetensors",
        "huggingface.co/owner",
        "huggingface.co/owner/model/lora.bin",
        "huggingface.co/owner/model/resolve/main/lora.safetensors",
        "civitai.com/models",
        "civitai.com/models/abc",
        "civitai.com/models/1234?modelVersionId=5",
        "https://civitai.com/models/1234/a/b",
        "http://example.com/a.safetensors",
        "http://huggingface.co/owner/model",
        "https://.safetensors",
        "https:///a.safetensors",
        "https://example.com/a.bin",
        "https://example.com/a.zip?name=a.tar",
        "https://example.com/a b.tar",
        "https://example.com/.tar.gz",
        "ftp://example.com/a.tar",
        "s3://bucket/a.tar",
        "data:application/x-tar;base64,AAAA",
    ],
)
def test_no_other_form_of_lora_weights_is_and_the_refusal_lists_the_forms(given: str) -> None:
    found = refused(FluxDevLora, {"prompt": "a fox", "lora_weights": given})
    assert set(found) == {"lora_weights"}
    for form in ("owner/name", "owner/name/version", "huggingface.co/", "civitai.com/models/", ".safetensors", ".tar"):
        assert form in found["lora_weights"]
