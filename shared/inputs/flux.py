"""The open Flux models of Black Forest Labs, as their published schemas have them (July 2025)."""

from typing import Annotated

from pydantic import Field

from shared.inputs.fields import (
    AspectRatio,
    FileUrl,
    GoFast,
    ImagesWanted,
    Megapixels,
    ModelInput,
    OutputFormat,
    OutputQuality,
    Prompt,
    PromptStrength,
    SafetyCheckerOff,
    Secret,
    Seed,
)
from shared.inputs.lora_weights import LoraScale, LoraWeights


class _Flux(ModelInput):
    prompt: Prompt
    aspect_ratio: Annotated[AspectRatio, Field(description="Width to height.")] = "1:1"
    num_outputs: ImagesWanted = 1
    go_fast: GoFast = True
    megapixels: Megapixels = "1"
    seed: Seed | None = None
    output_format: OutputFormat = "webp"
    output_quality: OutputQuality = 80
    disable_safety_checker: SafetyCheckerOff = False


class FluxSchnell(_Flux):
    """The input of `black-forest-labs/flux-schnell`."""

    num_inference_steps: Annotated[int, Field(ge=1, le=4, description="This model needs few steps.")] = 4


class FluxDev(_Flux):
    """The input of `black-forest-labs/flux-dev`."""

    image: Annotated[FileUrl | None, Field(description="Start from this image.")] = None
    prompt_strength: PromptStrength = 0.8
    num_inference_steps: Annotated[
        int, Field(ge=1, le=50, description="More steps take longer, and may show more detail.")
    ] = 28
    guidance: Annotated[float, Field(ge=0, le=10, description="How closely to follow the prompt.")] = 3


class FluxSchnellLora(FluxSchnell):
    """The input of `black-forest-labs/flux-schnell-lora`."""

    lora_weights: LoraWeights | None = None
    lora_scale: LoraScale = 1


class FluxDevLora(FluxDev):
    """The input of `black-forest-labs/flux-dev-lora`."""

    lora_weights: LoraWeights | None = None
    lora_scale: LoraScale = 1
    extra_lora: LoraWeights | None = None
    extra_lora_scale: LoraScale = 1
    hf_api_token: Annotated[Secret | None, Field(description="For private weights on Hugging Face.")] = None
    civitai_api_token: Annotated[Secret | None, Field(description="For weights that Civitai gives to members.")] = None
