"""Presets: named settings that fill what the caller left open, never what was given."""

from __future__ import annotations

import math
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shared.inputs.fields import ModelInput

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "portrait": {
            "aspect_ratio": "2:3",
            "width": 832,
            "height": 1216,
            "num_inference_steps": 30,
            "guidance": 4.0,
            "output_format": "webp",
            "output_quality": 90,
        },
        "landscape": {
            "aspect_ratio": "16:9",
            "width": 1344,
            "height": 768,
            "num_inference_steps": 28,
            "guidance": 3.5,
            "output_format": "webp",
            "output_quality": 85,
        },
        "square": {
            "aspect_ratio": "1:1",
            "width": 1024,
            "height": 1024,
            "num_inference_steps": 28,
            "output_format": "webp",
            "output_quality": 85,
        },
        # To try a prompt out: few steps, small and well compressed.
        "draft": {
            "num_inference_steps": 12,
            "go_fast": True,
            "megapixels": "0.25",
            "output_format": "webp",
            "output_quality": 60,
        },
        # To keep: all the model can do, and nothing lost in compression.
        "print": {
            "num_inference_steps": 50,
            "go_fast": False,
            "megapixels": "1",
            "output_format": "png",
        },
    }
)
"""The width and height stand for the aspect ratio with models that have none, and are sizes SDXL was trained on."""

SYNONYMS: Mapping[str, str] = MappingProxyType({"guidance": "guidance_scale", "guidance_scale": "guidance"})
"""The other name that some models have for a field."""

RATIO = "aspect_ratio"
SIZE = frozenset({"width", "height"})

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,63}")


def fill(
    preset: Mapping[str, Any], input_type: type[ModelInput] | None, given: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Add to what is given what a preset has for the fields left open; `None` leaves a field open, too.

    Returns:
        The filled input without any `None`, and the names of the preset's fields that do not fit: the model has no
        such field, or does not take this value, or not with what is given. Of an unknown model nothing is known to fit.
    """
    filled = {name: value for name, value in given.items() if value is not None}
    wanted = {name: value for name, value in preset.items() if not filled.keys() & _same(name)}
    if input_type is None:
        return filled, tuple(wanted)
    known = input_type.model_fields.keys()
    # The shape is said in one of two ways; the other is then no field that does not fit.
    spare = SIZE if RATIO in known else {RATIO} if preset.keys() >= SIZE else frozenset()
    names = {name: name if name in known else SYNONYMS.get(name, name) for name in wanted if name not in spare}
    wrong = _wrong_fields(input_type, {**filled, **{field: wanted[name] for name, field in names.items()}})
    filled |= {field: wanted[name] for name, field in names.items() if field not in wrong}
    return filled, tuple(name for name, field in names.items() if field in wrong)


def parse_presets(document: object) -> Mapping[str, Mapping[str, Any]]:
    """Check presets that an operator wrote, as JSON has them: an object of objects, by name.

    Raises:
        ValueError: says which preset is wrong, and what about it.
    """
    if not isinstance(document, dict):
        raise ValueError("Presets are an object: the name of each, and its fields")  # noqa: TRY004 - as promised
    for name, preset in document.items():
        if wrong := "; ".join(_findings(name, preset)):
            raise ValueError(f"Preset {name!r}: {wrong}")
    return MappingProxyType(document)


def _same(name: str) -> frozenset[str]:
    """Name the fields that leave a preset's field without a say, if one of them is given."""
    return SIZE if name in SIZE else frozenset({name, SYNONYMS.get(name, name)})


def _wrong_fields(input_type: type[ModelInput], fields: Mapping[str, Any]) -> set[int | str]:
    try:
        input_type.model_validate(fields)
    except ValidationError as error:
        return {one["loc"][0] for one in error.errors(include_url=False, include_context=False, include_input=False)}
    return set()


def _findings(name: object, preset: object) -> Iterator[str]:
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        yield "a name is a small letter, and up to 31 small letters, digits, - and _"
    if not isinstance(preset, dict) or not preset:
        yield "it is an object of fields and their values"
        return
    for field, value in preset.items():
        if not (isinstance(field, str) and _FIELD.fullmatch(field)):
            yield f"{field!r} is no name of a field"
        elif not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
            yield f"{field} is neither text, nor a number, nor true or false"
    if preset.get(RATIO) == "custom":
        yield "its aspect_ratio is for every model that has one, so it cannot be custom"
    if preset.keys() & SIZE and not preset.keys() >= SIZE | {RATIO}:
        yield "width and height stand for the aspect_ratio with models that have none: give all three, or no size"
