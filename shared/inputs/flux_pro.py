"""The Flux models that only Black Forest Labs' partners run, and Kontext, which edits an image by a prompt.

Fields, bounds and defaults are those of the published schemas (July 2025).
"""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from shared.inputs.fields import (
    AspectRatio,
    FileUrl,
    GoFast,
    ModelInput,
    OutputFormat,
    OutputQuality,
    Prompt,
    SafetyCheckerOff,
    Seed,
    SizedInput,
)

STEP = 32  # pixels; the sides of flux-1.1-pro's images are multiples of it
MOST_TOLERANCE_WITH_IMAGE = 2

ProRatio = Literal["custom", "1:1", "16:9", "3:2", "2:3", "4:5", "5:4", "9:16", "3:4", "4:3"]
KontextRatio = Literal["match_input_image", AspectRatio]
PhotoFormat = Annotated[Literal["jpg", "png"], Field(description="The format of the image.")]
ImagePrompt = Annotated[FileUrl | None, Field(description="An image to take the composition from.")]
InputImage = Annotated[FileUrl | None, Field(description="The image to change; without it, one is made.")]
PromptUpsampling = Annotated[bool, Field(description="Let a language model elaborate the prompt.")]
SafetyTolerance = Annotated[int, Field(ge=1, le=6, description="1 is the strictest, 6 lets most through.")]


class FluxPro(SizedInput):
    """The input of `black-forest-labs/flux-1.1-pro`."""

    aspect_ratio: Annotated[ProRatio, Field(description='Width to height, or "custom".')] = "1:1"
    image_prompt: ImagePrompt = None
    safety_tolerance: SafetyTolerance = 2
    seed: Seed | None = None
    prompt_upsampling: PromptUpsampling = False
    output_format: OutputFormat = "webp"
    output_quality: OutputQuality = 80

    @field_validator("width", "height")
    @classmethod
    def _fits_the_model(cls, side: int | None, info: ValidationInfo) -> int | None:
        if side is not None and side % STEP and info.data.get("aspect_ratio") == "custom":
            text = "It must be a multiple of {step}; {nearest} is the nearest"
            raise PydanticCustomError("multiple", text, {"step": STEP, "nearest": round(side / STEP) * STEP})
        return side


class FluxUltra(ModelInput):
    """The input of `black-forest-labs/flux-1.1-pro-ultra`."""

    prompt: Prompt
    aspect_ratio: Annotated[AspectRatio, Field(description="Width to height.")] = "1:1"
    image_prompt: ImagePrompt = None
    image_prompt_strength: Annotated[float, Field(ge=0, le=1, description="How much the image prompt counts.")] = 0.1
    safety_tolerance: SafetyTolerance = 2
    seed: Seed | None = None
    raw: Annotated[bool, Field(description="Less processed, and so more natural.")] = False
    output_format: PhotoFormat = "jpg"


class _Kontext(ModelInput):
    prompt: Prompt
    input_image: InputImage = None
    aspect_ratio: Annotated[KontextRatio, Field(description="Width to height, or that of the given image.")] = (
        "match_input_image"
    )
    seed: Seed | None = None


class FluxKontext(_Kontext):
    """The input of `black-forest-labs/flux-kontext-pro` and `flux-kontext-max`."""

    prompt_upsampling: PromptUpsampling = False
    output_format: PhotoFormat = "png"
    safety_tolerance: Annotated[
        int, Field(ge=0, le=6, description="0 is the strictest, 6 lets most through; with an image at most 2.")
    ] = 2

    @field_validator("safety_tolerance")
    @classmethod
    def _is_low_with_an_image(cls, tolerance: int, info: ValidationInfo) -> int:
        if tolerance > MOST_TOLERANCE_WITH_IMAGE and info.data.get("input_image") is not None:
            text = "With an input_image it can be at most {most}"
            raise PydanticCustomError("tolerance_with_image", text, {"most": MOST_TOLERANCE_WITH_IMAGE})
        return tolerance


class FluxKontextDev(_Kontext):
    """The input of `black-forest-labs/flux-kontext-dev`."""

    num_inference_steps: Annotated[
        int, Field(ge=4, le=50, description="More steps take longer, and may show more detail.")
    ] = 30
    guidance: Annotated[float, Field(ge=0, le=10, description="How closely to follow the prompt.")] = 2.5
    go_fast: GoFast = True
    output_format: OutputFormat = "webp"
    output_quality: OutputQuality = 80
    disable_safety_checker: SafetyCheckerOff = False
