"""What describes a model: its inputs with their bounds, its output, and both as OpenAPI."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FILE = {"type": "string", "format": "uri"}
ALL_NSFW = "All generated images contained NSFW content. Try running it again with a different prompt."


@dataclass(frozen=True, kw_only=True)
class Input:
    """One input, with its published bounds."""

    type: str
    default: object = None
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    format: str | None = None
    secret: bool = False

    def schema(self) -> dict[str, Any]:
        """Describe it as OpenAPI does."""
        parts = {
            "type": self.type,
            "default": self.default,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "enum": list(self.choices) or None,
            "format": self.format,
            "x-cog-secret": self.secret or None,
        }
        return {key: value for key, value in parts.items() if value is not None}


type Inputs = Mapping[str, Input]


def text(default: str | None = None) -> Input:
    """Any string."""
    return Input(type="string", default=default)


def integer(minimum: int | None = None, maximum: int | None = None, default: int | None = None) -> Input:
    """A whole number."""
    return Input(type="integer", minimum=minimum, maximum=maximum, default=default)


def number(minimum: float | None, maximum: float | None, default: float) -> Input:
    """A number."""
    return Input(type="number", minimum=minimum, maximum=maximum, default=default)


def flag(*, default: bool) -> Input:
    """True or false."""
    return Input(type="boolean", default=default)


def choice(default: str, *others: str, order: tuple[str, ...] = ()) -> Input:
    """One of these; `order` is the published order, where the default is not first."""
    return Input(type="string", default=default, choices=order or (default, *others))


PROMPT = Input(type="string", required=True)
URI = Input(type="string", format="uri")
SECRET = Input(type="string", format="password", secret=True)
SEED = integer()


@dataclass(frozen=True, kw_only=True)
class Output:
    """What a model gives: `shape` makes it of the input and of the files' URLs.

    `files` says how many pictures are made; without it, as many as `num_outputs` asks for. One that `grows` is a list
    that is shown from the first of its parts on.
    """

    schema: Mapping[str, Any]
    shape: Callable[[Mapping[str, Any], Sequence[str]], Any]
    files: int | None = None
    grows: bool = False


IMAGES = Output(schema={"type": "array", "items": FILE}, shape=lambda _, urls: list(urls))
IMAGE = Output(schema=FILE, shape=lambda _, urls: urls[0] if urls else None)


@dataclass(frozen=True, kw_only=True)
class Model:
    """What can be run; `official` ones need no version and hide theirs; those with `training` inputs train others."""

    name: str
    inputs: Inputs
    output: Output = IMAGES
    official: bool = True
    training: Inputs | None = None
    all_unsafe: str = ALL_NSFW

    @property
    def version(self) -> str:
        """The version that it has from the beginning: made up, but always the same."""
        return hashlib.sha256(self.name.encode()).hexdigest()

    def given(self, name: str, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a JSON value
        """The value that counts: the caller's, else the default."""
        return values.get(name, self.inputs[name].default) if name in self.inputs else None

    def openapi_schema(self) -> dict[str, Any]:
        """Describe inputs and output as Cog does."""
        schemas = {"Input": _object("Input", self.inputs), "Output": {"title": "Output", **self.output.schema}}
        if self.training is not None:
            weights = {"type": "object", "properties": {"weights": FILE}, "required": ["weights"]}
            schemas["TrainingInput"] = _object("TrainingInput", self.training)
            schemas["TrainingOutput"] = {"title": "TrainingOutput", **weights}
        return {
            "openapi": "3.0.2",
            "info": {"title": "Cog", "version": "0.1.0"},
            "components": {"schemas": schemas},
        }


def _object(title: str, inputs: Inputs) -> dict[str, Any]:
    return {
        "type": "object",
        "title": title,
        "required": [name for name, field in inputs.items() if field.required],
        "properties": {
            name: {"title": name, "x-order": order, **field.schema()}
            for order, (name, field) in enumerate(inputs.items())
        },
    }
