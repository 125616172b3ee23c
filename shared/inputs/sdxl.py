"""Stability AI's SDXL, as its published schema has it."""

from typing import Annotated, Literal, override

from pydantic import Field

from shared.inputs.fields import (
    FileUrl,
    ImagesWanted,
    ModelInput,
    Prompt,
    PromptStrength,
    SafetyCheckerOff,
    Seed,
    Text,
)

Scheduler = Literal["DDIM", "DPMSolverMultistep", "HeunDiscrete", "KarrasDPM", "K_EULER_ANCESTRAL", "K_EULER", "PNDM"]
Refine = Literal["no_refiner", "expert_ensemble_refiner", "base_image_refiner"]


class Sdxl(ModelInput):
    """The input of `stability-ai/sdxl`."""

    prompt: Prompt = "An astronaut riding a rainbow unicorn"
    negative_prompt: Annotated[Text, Field(description="What the image should not show.")] = ""
    image: Annotated[FileUrl | None, Field(description="Start from this image.")] = None
    mask: Annotated[FileUrl | None, Field(description="Black where the image stays as it is.")] = None
    width: Annotated[int, Field(description="In pixels.")] = 1024
    height: Annotated[int, Field(description="In pixels.")] = 1024
    num_outputs: ImagesWanted = 1
    scheduler: Annotated[Scheduler, Field(description="How the noise is taken away, step by step.")] = "K_EULER"
    num_inference_steps: Annotated[
        int, Field(ge=1, le=500, description="More steps take longer, and may show more detail.")
    ] = 50
    guidance_scale: Annotated[float, Field(ge=1, le=50, description="How closely to follow the prompt.")] = 7.5
    prompt_strength: PromptStrength = 0.8
    seed: Seed | None = None
    refine: Annotated[Refine, Field(description="Which second pass works out the detail.")] = "no_refiner"
    high_noise_frac: Annotated[
        float, Field(ge=0, le=1, description="For expert_ensemble_refiner: the share of the steps before it.")
    ] = 0.8
    refine_steps: Annotated[
        int | None, Field(description="For base_image_refiner: its steps; num_inference_steps without it.")
    ] = None
    apply_watermark: Annotated[bool, Field(description="Mark the image, invisibly, as made by a machine.")] = True
    lora_scale: Annotated[
        float, Field(ge=0, le=1, description="How strongly the LoRA counts, with fine-tuned weights.")
    ] = 0.6
    replicate_weights: Annotated[Text | None, Field(description="Fine-tuned weights from Replicate.")] = None
    disable_safety_checker: SafetyCheckerOff = False

    @property
    @override
    def effort(self) -> float:
        size = max(1.0, self.width * self.height / (1024 * 1024))
        return self.images * size * max(1.0, self.num_inference_steps / 50)
