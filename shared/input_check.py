"""From the input that a caller gives to the one that is sent: aliases, presets, defaults, bounds and secrets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from shared.errors import Code, InvalidField, Refusal
from shared.presets import fill
from shared.trigger import with_trigger_word
from shared.validation import invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shared.inputs.fields import ModelInput
    from shared.registry import Model

MOST_NAMED = 20  # fields that a warning names one by one
MOST_IMAGES = 100  # that a model we do not know is believed to make at once
SECRET_NAME = re.compile(
    r"(.*[_-])?(token|secret|password|passwd|credentials?|auth|authorization|apikey|key)", re.IGNORECASE
)
ALIASES: Sequence[tuple[str, str]] = (
    ("guidance_scale", "guidance"),
    ("guidance", "guidance_scale"),
    ("image", "input_image"),
    ("caption_prefix", "autocaption_prefix"),
)
"""Names that callers use for a field that some model calls otherwise: (given, the model's)."""


@dataclass(frozen=True)
class ValidInput:
    """An input that a model takes, under the model's own names.

    `fields` is what is sent, without the secrets; `canonical` has all defaults too, so that it is equal for inputs
    that mean the same. `effort` says how much work it is, as its type does.
    """

    fields: Mapping[str, Any]
    canonical: Mapping[str, Any]
    secrets: Mapping[str, str] = field(default_factory=dict)
    files: frozenset[str] | None = None  # fields that take a file, if that is known
    images: int = 1
    effort: float = 1
    takes_seed: bool = False
    warnings: tuple[str, ...] = ()


def check_input(
    model: Model,
    given: Mapping[str, Any],
    *,
    drop_unknown: bool,
    preset: Mapping[str, Any] | None = None,
    trigger_word: str | None = None,
) -> ValidInput:
    """Check an input against the model's type; `null` means that a field is not given.

    What the caller gives wins over the `preset`, and that over the model's defaults. Unknown fields, and such that
    have no effect, are dropped with a warning (`drop_unknown`) or refused.

    Raises:
        Refusal: `invalid_input`, with every field that is wrong.
    """
    fields = {name: value for name, value in given.items() if value is not None}
    if model.input is None:
        return _passed_through(model, fields, trigger_word, has_preset=preset is not None)
    fields = _renamed(fields, model.input)
    warnings = _drop(fields, _unknown(fields, model), drop=drop_unknown)
    if preset is not None:
        fields, unfit = fill(preset, model.input, fields)
        warnings += [f"preset: {name} does not fit {model.name}; it was left out" for name in unfit]
    fields, _ = fill(model.defaults, model.input, fields)
    _insert_trigger_word(fields, trigger_word)
    valid = _validated(model.input, fields)
    if unused := {f"input.{name}": f"{reason}; it was ignored" for name, reason in valid.unused().items()}:
        if not drop_unknown:
            raise _refused(valid.unused())
        warnings += _listed(unused)
        valid = _validated(model.input, {name: fields[name] for name in fields if f"input.{name}" not in unused})
    secret = model.input.secret_fields()
    sent = valid.model_dump(exclude_unset=True)
    return ValidInput(
        fields={name: value for name, value in sent.items() if name not in secret},
        canonical={name: _canonical(value) for name, value in valid.model_dump().items() if name not in secret},
        secrets={name: value for name, value in sent.items() if name in secret},
        files=model.input.file_fields(),
        images=valid.images,
        effort=valid.effort,
        takes_seed="seed" in model.input.model_fields,
        warnings=tuple(warnings),
    )


def _canonical(value: Any) -> Any:  # noqa: ANN401
    # A default of 3 and a given 3 are the same number, but as JSON two texts: 3 and 3.0.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _renamed(fields: Mapping[str, Any], input: type[ModelInput]) -> dict[str, Any]:
    """Give the fields the names that the model has for them; one that is given twice, differently, stays unknown."""
    known, renamed = input.model_fields, dict(fields)
    for alias, name in ALIASES:
        if alias in renamed and alias not in known and name in known:
            value = renamed[alias]
            if renamed.setdefault(name, value) == value:
                del renamed[alias]
    return renamed


def _unknown(fields: Mapping[str, Any], model: Model) -> dict[str, str]:
    known = model.input.model_fields if model.input else {}
    return {name: f"{model.name} has no such field; it was ignored" for name in fields if name not in known}


def _drop(fields: dict[str, Any], unknown: Mapping[str, str], *, drop: bool) -> list[str]:
    """Drop unknown fields, and give the warnings; what is not dropped is found by the validation."""
    if not drop:
        return []
    for name in unknown:
        del fields[name]
    return _listed({f"input.{name[:80]}": text for name, text in unknown.items()})


def _listed(texts: Mapping[str, str]) -> list[str]:
    found = [f"{name}: {text}" for name, text in texts.items()]
    if len(found) > MOST_NAMED:
        return [*found[:MOST_NAMED], f"input: {len(found) - MOST_NAMED} more such fields were ignored"]
    return found


def _validated(input: type[ModelInput], fields: Mapping[str, Any]) -> ModelInput:
    try:
        return input.model_validate(fields)
    except ValidationError as error:
        raise invalid(error, prefix="input.", known=list(input.model_fields)) from None


def _refused(reasons: Mapping[str, str]) -> Refusal:
    found = [InvalidField(f"input.{name}", f"{reason}.") for name, reason in reasons.items()]
    detail = "\n".join(f"- {one.field}: {one.description}" for one in found)
    return Refusal(Code.INVALID_INPUT, detail, tuple(found))


def _insert_trigger_word(fields: dict[str, Any], word: str | None) -> None:
    if word and isinstance(fields.get("prompt"), str):
        fields["prompt"] = with_trigger_word(fields["prompt"], word)


def _passed_through(
    model: Model, given: Mapping[str, Any], trigger_word: str | None, *, has_preset: bool
) -> ValidInput:
    """Take the input of a model that we do not know as it is: Replicate validates it."""
    fields = {**model.defaults, **given}
    _insert_trigger_word(fields, trigger_word)
    secrets = {name: fields.pop(name) for name in _secret_names(fields)}
    asked = fields.get("num_outputs")
    amount = min(asked, MOST_IMAGES) if isinstance(asked, int) and asked > 0 else 1
    warnings = (f"preset: what {model.name} takes is not known here; nothing was filled in",) if has_preset else ()
    return ValidInput(fields=fields, canonical=fields, secrets=secrets, images=amount, effort=amount, warnings=warnings)


def _secret_names(fields: Mapping[str, Any]) -> Iterable[str]:
    return [name for name, value in fields.items() if isinstance(value, str) and SECRET_NAME.fullmatch(name)]
