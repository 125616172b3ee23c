"""What every LoRA takes that was fine-tuned from Flux on Replicate."""

from typing import Annotated, Literal, override

from pydantic import Field

from shared.inputs.fields import (
    AspectRatio,
    FileUrl,
    GoFast,
    ImagesWanted,
    Megapixels,
    OutputFormat,
    OutputQuality,
    PromptStrength,
    SafetyCheckerOff,
    Seed,
    SizedInput,
    Text,
)
from shared.inputs.lora_weights import LoraScale, LoraWeights

LoraRatio = Literal[AspectRatio, "custom"]


class FluxLora(SizedInput):
    """The input of a fine-tuned Flux LoRA; custom sides are rounded to multiples of 16."""

    aspect_ratio: Annotated[LoraRatio, Field(description='Width to height, or "custom".')] = "1:1"
    image: Annotated[FileUrl | None, Field(description="Start from this image.")] = None
    mask: Annotated[FileUrl | None, Field(description="Which part of the image is to change.")] = None
    prompt_strength: PromptStrength = 0.8
    model: Annotated[
        Literal["dev", "schnell"], Field(description="The model below the LoRA: dev wants about 28 steps, schnell 4.")
    ] = "dev"
    num_outputs: ImagesWanted = 1
    num_inference_steps: Annotated[
        int, Field(ge=1, le=50, description="More steps take longer, and may show more detail.")
    ] = 28
    guidance_scale: Annotated[float, Field(ge=0, le=10, description="How closely to follow the prompt.")] = 3
    go_fast: GoFast = False
    megapixels: Megapixels = "1"
    replicate_weights: Annotated[Text | None, Field(description="Other weights than the model's own.")] = None
    lora_scale: LoraScale = 1
    extra_lora: LoraWeights | None = None
    extra_lora_scale: LoraScale = 1
    seed: Seed | None = None
    output_format: OutputFormat = "webp"
    output_quality: OutputQuality = 80
    disable_safety_checker: SafetyCheckerOff = False

    @property
    @override
    def effort(self) -> float:
        return self.images * max(1.0, self.num_inference_steps / 28)
