"""Replicate's words for what breaks its bounds: those of gojsonschema, whose types and descriptions it shows."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.local.simulator.schemas import Input, Inputs

JSON_TYPES = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
}
BODY_TYPES = {
    "input": "object",
    "version": "string",
    "destination": "string",
    "webhook": "string",
    "webhook_events_filter": "array",
}


@dataclass(frozen=True)
class Invalid:
    """One thing that is wrong, as gojsonschema tells it."""

    type: str
    field: str
    description: str

    def __str__(self) -> str:
        return f"- {self.field}: {self.description}" if self.field else f"- {self.description}"


def problem(errors: Iterable[Invalid]) -> dict[str, Any]:
    """Build the 422 body."""
    listed = list(errors)
    return {
        "detail": "".join(f"{error}\n" for error in listed),
        "status": 422,
        "title": "Input validation failed",
        "invalid_fields": [vars(error) for error in listed],
    }


def check_body(body: Mapping[str, Any], allowed: Iterable[str], required: Iterable[str]) -> list[Invalid]:
    """List what is wrong with the body of a create, apart from its input."""
    missing = [Invalid("required", "", f"{name} is required") for name in required if name not in body]
    unknown = [
        Invalid("additional_property_not_allowed", "", f"Additional property {name} is not allowed")
        for name in sorted(set(body) - set(allowed))
    ]
    wrong = [wrong_type(name, expected, body[name]) for name, expected in BODY_TYPES.items() if name in body]
    return [*missing, *unknown, *(error for error in wrong if error)]


def check_input(inputs: Inputs, values: Mapping[str, Any]) -> list[Invalid]:
    """List what is wrong with an input; unknown fields are ignored."""
    missing = [
        Invalid("required", "input", f"{name} is required")
        for name, field in inputs.items()
        if field.required and name not in values
    ]
    wrong = [_check(f"input.{name}", inputs[name], value) for name, value in sorted(values.items()) if name in inputs]
    return [*missing, *(error for error in wrong if error)]


def wrong_type(field: str, expected: str, value: Any) -> Invalid | None:  # noqa: ANN401 - a JSON value
    """Say that a value is not of its type, if so."""
    given = _type_of(value)
    if given == expected or (given, expected) == ("integer", "number"):
        return None
    return Invalid("invalid_type", field, f"Invalid type. Expected: {expected}, given: {given}")


def _check(field: str, bound: Input, value: Any) -> Invalid | None:  # noqa: ANN401 - a JSON value
    if error := wrong_type(field, bound.type, value):
        return error
    if bound.choices and value not in bound.choices:
        allowed = ", ".join(json.dumps(each) for each in bound.choices)
        return Invalid("enum", field, f"{field} must be one of the following: {allowed}")
    if bound.minimum is not None and value < bound.minimum:
        return Invalid("number_gte", field, f"Must be greater than or equal to {bound.minimum:g}")
    if bound.maximum is not None and value > bound.maximum:
        return Invalid("number_lte", field, f"Must be less than or equal to {bound.maximum:g}")
    if bound.format == "uri" and not value.startswith(("http://", "https://", "data:")):
        return Invalid("format", field, "Does not match format 'uri'")
    return None


def _type_of(value: Any) -> str:  # noqa: ANN401 - a JSON value
    whole = isinstance(value, float) and value.is_integer()
    return "integer" if whole else JSON_TYPES.get(type(value), "object")
