"""What the inputs of all models have in common."""

from __future__ import annotations

import re
from enum import Enum, auto
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_PROMPT = 32_768  # characters; far above what any of the text encoders reads
LONGEST_FILE_URL = 5_000_000  # characters; a data URI holds its file
LONGEST_SECRET = 500  # characters
LARGEST_SEED = 2**31 - 1  # the largest that every model takes


FILE_URL = re.compile(r"^(https?://\S+|data:[\w.+-]+/[\w.+-]+[;,]\S*)$")


def _is_file_url(given: str) -> str:
    if not FILE_URL.fullmatch(given):
        raise PydanticCustomError("file_url", "Give an http or https URL, or a data URI with its media type")
    return given


class Trait(Enum):
    """What is to be known about a field's values beyond their type; it stands among the type's annotations."""

    SECRET = auto()
    FILE = auto()


AspectRatio = Literal["1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21"]

Prompt = Annotated[str, Field(min_length=1, max_length=LONGEST_PROMPT, description="What to make, in words.")]
Text = Annotated[str, Field(max_length=LONGEST_PROMPT)]
Seed = Annotated[int, Field(ge=-(2**63), le=2**63 - 1, description="The same seed and input give the same images.")]
Secret = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_SECRET, json_schema_extra={"format": "password", "writeOnly": True}),
    Trait.SECRET,
]
FileUrl = Annotated[
    str,
    Field(
        max_length=LONGEST_FILE_URL,
        description="A file: an HTTP URL, or a data URI.",
        json_schema_extra={"format": "uri", "pattern": FILE_URL.pattern},
    ),
    AfterValidator(_is_file_url),
    Trait.FILE,
]
ImagesWanted = Annotated[int, Field(ge=1, le=4, description="How many images to make.")]
OutputFormat = Annotated[Literal["webp", "jpg", "png"], Field(description="The format of the images.")]
OutputQuality = Annotated[
    int, Field(ge=0, le=100, description="How good a compressed image is, and how large; png has no such thing.")
]
SafetyCheckerOff = Annotated[bool, Field(description="Do not withhold images that are found unsafe.")]
GoFast = Annotated[bool, Field(description="Use a faster form of the model, of lower precision.")]
Megapixels = Annotated[Literal["1", "0.25"], Field(description="About how large each image is.")]
PromptStrength = Annotated[
    float, Field(ge=0, le=1, description="How far to go from the given image: 1 ignores it, 0 keeps it.")
]
Side = Annotated[
    Annotated[int, Field(ge=256, le=1440)] | None,
    Field(description='In pixels; with the aspect_ratio "custom" only, and needed there.', validate_default=True),
]


class ModelInput(BaseModel):
    """The input of one model: types are not guessed (`"4"` is no number), and unknown fields are an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)

    @property
    def images(self) -> int:
        """How many images this input asks for."""
        return int(getattr(self, "num_outputs", 1))

    @property
    def effort(self) -> float:
        """How much work it is: as many usual images as would take as long, or the steps of a training."""
        return self.images

    @classmethod
    def most_images(cls) -> int:
        """Give the largest number of images that one input can ask for."""
        if (wanted := cls.model_fields.get("num_outputs")) is None:
            return 1
        return next(int(one.le) for one in wanted.metadata if hasattr(one, "le"))

    @classmethod
    def secret_fields(cls) -> frozenset[str]:
        """Name the fields whose values are secrets."""
        return cls._fields_with(Trait.SECRET)

    @classmethod
    def file_fields(cls) -> frozenset[str]:
        """Name the fields that take a file."""
        return cls._fields_with(Trait.FILE)

    @classmethod
    @cache
    def _fields_with(cls, trait: Trait) -> frozenset[str]:
        fields = cls.model_fields.items()
        return frozenset(name for name, one in fields if trait in one.metadata or _has(one.annotation, trait))

    def unused(self) -> Mapping[str, str]:
        """Name the fields that were given but have no effect with the rest of this input, each with the reason."""
        return {}


class SizedInput(ModelInput):
    """An input whose aspect ratio may be `custom`; it then needs a width and a height."""

    prompt: Prompt
    aspect_ratio: str = "1:1"
    width: Side = None
    height: Side = None

    @field_validator("width", "height")
    @classmethod
    def _is_there_for_custom(cls, side: int | None, info: ValidationInfo) -> int | None:
        if side is None and info.data.get("aspect_ratio") == "custom":
            text = 'The aspect_ratio "custom" needs both a width and a height, each of 256 to 1440 pixels'
            raise PydanticCustomError("size_needed", text)
        return side

    def unused(self) -> Mapping[str, str]:
        """Name the sides that do not count, since the aspect ratio decides."""
        if self.aspect_ratio == "custom":
            return {}
        given = {"width": self.width, "height": self.height}
        reason = 'It has an effect only with the aspect_ratio "custom"'
        return {name: reason for name, side in given.items() if side is not None}


def _has(annotation: Any, trait: Trait) -> bool:  # noqa: ANN401 - a type, or a part of one
    """Say whether a type, or one that it is made of, is annotated with the trait."""
    return annotation is trait or any(_has(part, trait) for part in get_args(annotation))
