"""Presets: they fill what is open, with what the model takes, and say what does not fit."""

import json
from typing import Any

import pytest

from shared.inputs.fields import ModelInput
from shared.inputs.flux import FluxDev, FluxDevLora, FluxSchnell, FluxSchnellLora
from shared.inputs.flux_lora import FluxLora
from shared.inputs.flux_pro import FluxKontext, FluxKontextDev, FluxPro, FluxUltra
from shared.inputs.sdxl import Sdxl
from shared.inputs.training import FluxLoraTrainer
from shared.presets import PRESETS, fill, parse_presets

type Kind = type[ModelInput]

IMAGE_MODELS: tuple[Kind, ...] = (
    FluxSchnell,
    FluxDev,
    FluxDevLora,
    FluxSchnellLora,
    FluxPro,
    FluxUltra,
    FluxKontext,
    FluxKontextDev,
    Sdxl,
    FluxLora,
)
FOX = {"prompt": "a fox"}
IMAGE = {"input_image": "https://example.com/a.png"}


def filled(name: str, kind: Kind | None, **given: Any) -> dict[str, Any]:
    return fill(PRESETS[name], kind, given)[0]


def unfit(name: str, kind: Kind | None, **given: Any) -> tuple[str, ...]:
    return fill(PRESETS[name], kind, given)[1]


# What is filled


def test_a_portrait_is_filled_as_it_is_written() -> None:
    assert fill(PRESETS["portrait"], FluxDev, FOX) == (
        {
            "prompt": "a fox",
            "aspect_ratio": "2:3",
            "num_inference_steps": 30,
            "guidance": 4.0,
            "output_format": "webp",
            "output_quality": 90,
        },
        (),
    )


def test_a_landscape_is_filled_as_it_is_written() -> None:
    assert fill(PRESETS["landscape"], FluxDev, FOX) == (
        {
            "prompt": "a fox",
            "aspect_ratio": "16:9",
            "num_inference_steps": 28,
            "guidance": 3.5,
            "output_format": "webp",
            "output_quality": 85,
        },
        (),
    )


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("kind", IMAGE_MODELS)
def test_what_is_filled_is_valid_and_has_an_effect(name: str, kind: Kind) -> None:
    valid = kind.model_validate(filled(name, kind, **FOX))
    assert valid.unused() == {}


@pytest.mark.parametrize("name", PRESETS)
def test_flux_dev_takes_all_of_every_preset(name: str) -> None:
    assert unfit(name, FluxDev, **FOX) == ()


def test_a_draft_asks_for_less_than_the_default_and_a_print_for_more() -> None:
    draft, final = filled("draft", FluxDev), filled("print", FluxDev)
    assert draft["num_inference_steps"] < FluxDev(prompt="a").num_inference_steps < final["num_inference_steps"]
    assert (draft["megapixels"], final["megapixels"]) == ("0.25", "1")
    assert final["output_format"] == "png"


@pytest.mark.parametrize(
    ("given", "filled_with"),
    [
        ({"aspect_ratio": "1:1"}, {"aspect_ratio": "1:1"}),
        ({"num_inference_steps": 0}, {"num_inference_steps": 0}),
        ({"output_quality": "wrong"}, {"output_quality": "wrong"}),
        ({"guidance": 0}, {"guidance": 0}),
        ({"output_format": None}, {"output_format": "webp"}),
        ({"guidance": None}, {"guidance": 4.0}),
        ({"guidance_scale": None}, {"guidance": 4.0}),
    ],
)
def test_what_is_given_always_wins_even_if_it_is_wrong_and_null_is_not_given(
    given: dict[str, Any], filled_with: dict[str, Any]
) -> None:
    found, left_out = fill(PRESETS["portrait"], FluxDev, {**FOX, **given})
    assert found == {**filled("portrait", FluxDev, **FOX), **filled_with}
    assert left_out == ()


def test_what_is_given_is_not_changed() -> None:
    given = {"prompt": "a fox", "seed": None}
    fill(PRESETS["portrait"], FluxDev, given)
    assert given == {"prompt": "a fox", "seed": None}


# Names that differ from model to model


@pytest.mark.parametrize(("kind", "name"), [(FluxDev, "guidance"), (FluxLora, "guidance_scale")])
@pytest.mark.parametrize("written", ["guidance", "guidance_scale"])
def test_guidance_is_filled_under_the_models_own_name(kind: Kind, name: str, written: str) -> None:
    assert fill({written: 4.0}, kind, FOX) == ({"prompt": "a fox", name: 4.0}, ())


@pytest.mark.parametrize("kind", [FluxDev, FluxLora])
@pytest.mark.parametrize("written", ["guidance", "guidance_scale"])
@pytest.mark.parametrize("given", ["guidance", "guidance_scale"])
def test_guidance_that_is_given_under_either_name_wins(kind: Kind, written: str, given: str) -> None:
    assert fill({written: 4.0}, kind, {given: 2}) == ({given: 2}, ())


def test_a_value_that_does_not_fit_is_named_as_the_preset_has_it() -> None:
    assert fill({"guidance": 0.5}, Sdxl, FOX) == (FOX, ("guidance",))


# Sizes


def test_a_model_without_aspect_ratio_gets_the_size() -> None:
    found, left_out = fill(PRESETS["portrait"], Sdxl, FOX)
    assert (found["width"], found["height"]) == (832, 1216)
    assert "aspect_ratio" not in found
    assert not {"aspect_ratio", "width", "height"} & set(left_out)


@pytest.mark.parametrize("kind", [FluxPro, FluxLora])
def test_a_model_with_aspect_ratio_never_gets_the_size(kind: Kind) -> None:
    for given in (FOX, {**FOX, "aspect_ratio": "custom"}, {**FOX, "width": 512}):
        found, left_out = fill(PRESETS["portrait"], kind, given)
        assert {"width", "height"} & set(found) == {"width"} & set(given)
        assert not {"aspect_ratio", "width", "height"} & set(left_out)


@pytest.mark.parametrize("given", [{"width": 512}, {"height": 512}, {"width": 512, "height": 512}])
def test_one_side_that_is_given_is_no_part_of_another_size(given: dict[str, int]) -> None:
    found, left_out = fill(PRESETS["landscape"], Sdxl, given)
    assert {name: found[name] for name in ("width", "height") if name in found} == given
    assert not {"aspect_ratio", "width", "height"} & set(left_out)


@pytest.mark.parametrize("name", ["portrait", "landscape", "square"])
def test_the_size_of_a_preset_is_about_its_aspect_ratio(name: str) -> None:
    preset = PRESETS[name]
    across, up = map(int, preset["aspect_ratio"].split(":"))
    assert preset["width"] / preset["height"] == pytest.approx(across / up, rel=0.03)
    assert preset["width"] % 64 == preset["height"] % 64 == 0


def test_a_ratio_without_a_size_does_not_fit_a_model_that_has_only_sizes() -> None:
    assert fill({"aspect_ratio": "3:2"}, Sdxl, FOX) == (FOX, ("aspect_ratio",))


# What does not fit


@pytest.mark.parametrize(
    ("name", "kind", "names"),
    [
        ("portrait", FluxSchnell, ("num_inference_steps", "guidance")),
        ("portrait", FluxPro, ("num_inference_steps", "guidance")),
        ("portrait", FluxUltra, ("num_inference_steps", "guidance", "output_format", "output_quality")),
        ("portrait", Sdxl, ("output_format", "output_quality")),
        ("portrait", FluxLora, ()),
        ("draft", FluxKontext, ("num_inference_steps", "go_fast", "megapixels", "output_format", "output_quality")),
        ("print", FluxKontextDev, ("megapixels",)),
        ("print", FluxSchnell, ("num_inference_steps",)),
        ("draft", FluxLoraTrainer, tuple(PRESETS["draft"])),
    ],
)
def test_what_the_model_does_not_take_is_left_out_and_named(name: str, kind: Kind, names: tuple[str, ...]) -> None:
    found, left_out = fill(PRESETS[name], kind, FOX)
    assert left_out == names
    assert not set(names) & set(found)


def test_what_is_given_is_not_named_as_unfit() -> None:
    assert unfit("portrait", FluxSchnell, num_inference_steps=4) == ("guidance",)
    assert unfit("portrait", None, num_inference_steps=4, guidance_scale=1) == (
        "aspect_ratio",
        "width",
        "height",
        "output_format",
        "output_quality",
    )


def test_a_value_that_does_not_go_with_what_is_given_is_left_out() -> None:
    preset = {"safety_tolerance": 6, "prompt_upsampling": True}
    assert fill(preset, FluxKontext, FOX) == ({**FOX, **preset}, ())
    assert fill(preset, FluxKontext, {**FOX, **IMAGE}) == (
        {**FOX, **IMAGE, "prompt_upsampling": True},
        ("safety_tolerance",),
    )


@pytest.mark.parametrize("preset", [{"go_fast": 1}, {"go_fast": "true"}, {"output_quality": 80.5}, {"seed": True}])
def test_a_value_of_another_type_does_not_fit(preset: dict[str, Any]) -> None:
    assert fill(preset, FluxDev, FOX) == (FOX, tuple(preset))


@pytest.mark.parametrize("name", PRESETS)
def test_an_unknown_model_gets_nothing(name: str) -> None:
    assert fill(PRESETS[name], None, {"prompt": "a fox", "seed": None}) == (FOX, tuple(PRESETS[name]))


# An operator's own


def test_the_presets_there_are_would_pass_as_an_operators() -> None:
    document = json.loads(json.dumps({name: dict(preset) for name, preset in PRESETS.items()}))
    assert parse_presets(document) == document == dict(PRESETS)


def test_an_operator_may_have_none() -> None:
    assert parse_presets({}) == {}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (None, "object"),
        ([], "object"),
        ("portrait", "object"),
        ({"": {"go_fast": True}}, "''.*a name is"),
        ({"Portrait": {"go_fast": True}}, "'Portrait'.*a name is"),
        ({"1st": {"go_fast": True}}, "a name is"),
        ({"a" * 33: {"go_fast": True}}, "a name is"),
        ({"a b": {"go_fast": True}}, "a name is"),
        ({"wide\n": {"go_fast": True}}, "a name is"),
        ({1: {"go_fast": True}}, "a name is"),
        ({"wide": []}, "'wide'.*fields and their values"),
        ({"wide": {}}, "'wide'.*fields and their values"),
        ({"wide": None}, "'wide'.*fields and their values"),
        ({"wide": {"goFast": True}}, "'wide'.*'goFast' is no name"),
        ({"wide": {1: True}}, "1 is no name"),
        ({"wide": {"go_fast": None}}, "go_fast is neither"),
        ({"wide": {"go_fast": [True]}}, "go_fast is neither"),
        ({"wide": {"guidance": float("nan")}}, "guidance is neither"),
        ({"wide": {"guidance": float("inf")}}, "guidance is neither"),
        ({"wide": {"aspect_ratio": "custom", "width": 512, "height": 512}}, "cannot be custom"),
        ({"wide": {"width": 512, "height": 512}}, "give all three"),
        ({"wide": {"aspect_ratio": "1:1", "width": 512}}, "give all three"),
        ({"good": {"go_fast": True}, "wide": {"go_fast": None}}, "'wide'"),
    ],
)
def test_a_wrong_preset_is_named_with_what_is_wrong(document: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_presets(document)


def test_all_that_is_wrong_with_a_preset_is_said() -> None:
    with pytest.raises(ValueError, match=r"go_fast is neither.*; .*'X' is no name"):
        parse_presets({"wide": {"go_fast": None, "X": 1}})


def test_an_operators_preset_may_hold_any_field() -> None:
    preset = {"scheduler": "DDIM", "apply_watermark": False, "seed": 7, "lora_scale": 0.8}
    parsed = parse_presets({"mine_1-a": preset})
    assert fill(parsed["mine_1-a"], Sdxl, FOX) == ({**FOX, **preset}, ())
