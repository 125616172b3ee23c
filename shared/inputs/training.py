"""What the trainer of Flux LoRAs takes."""

import re
from typing import Annotated, override

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from shared.inputs.fields import FileUrl, ModelInput, Secret, Text

LONGEST_TRIGGER = 100  # characters: it is kept with the model, and goes into every prompt
_RESOLUTIONS = re.compile(r"(?:512|768|1024)(?: *, *(?:512|768|1024))*")


def _is_of_known_sizes(resolution: str) -> str:
    if not _RESOLUTIONS.fullmatch(resolution):
        raise PydanticCustomError("resolution", "Give one or more of 512, 768 and 1024, with commas between them")
    return resolution


class FluxLoraTrainer(ModelInput):
    """The input of `ostris/flux-dev-lora-trainer`."""

    input_images: Annotated[
        FileUrl, Field(description="A zip file of ten or more images; a text file of the same name is a caption.")
    ]
    trigger_word: Annotated[
        Text,
        Field(max_length=LONGEST_TRIGGER, description="What stands in a prompt for what is learned; no real word."),
    ] = "TOK"
    autocaption: Annotated[bool, Field(description="Describe the images that have no caption.")] = True
    autocaption_prefix: Annotated[Text | None, Field(description="Put before each such caption.")] = None
    autocaption_suffix: Annotated[Text | None, Field(description="Put after each such caption.")] = None
    steps: Annotated[int, Field(ge=3, le=6000, description="How long to learn; most need 500 to 4000 steps.")] = 1000
    learning_rate: Annotated[float, Field(description="How much is learned from each step.")] = 4e-4
    batch_size: Annotated[int, Field(description="How many images are learned from at once.")] = 1
    resolution: Annotated[
        Text,
        Field(description="The sizes to learn at, of 512, 768 and 1024, with commas between them."),
        AfterValidator(_is_of_known_sizes),
    ] = "512,768,1024"
    lora_rank: Annotated[int, Field(ge=1, le=128, description="How much detail the LoRA can hold.")] = 16
    caption_dropout_rate: Annotated[
        float, Field(ge=0, le=1, description="The share of the steps that ignore the caption.")
    ] = 0.05
    optimizer: Annotated[Text, Field(description="The optimizer, such as adamw8bit or prodigy.")] = "adamw8bit"
    cache_latents_to_disk: Annotated[bool, Field(description="For so many images that memory runs out.")] = False
    layers_to_optimize_regex: Annotated[
        Text | None, Field(description="Learn only in the layers whose names match this.")
    ] = None
    gradient_checkpointing: Annotated[bool, Field(description="Needs less memory, and more time.")] = False
    hf_repo_id: Annotated[Text | None, Field(description="Also put the LoRA into this Hugging Face repository.")] = None
    hf_token: Annotated[Secret | None, Field(description="A Hugging Face token that may write there.")] = None
    wandb_api_key: Annotated[Secret | None, Field(description="Show the progress on Weights & Biases.")] = None
    wandb_project: Annotated[Text, Field(description="The project there.")] = "flux_train_replicate"
    wandb_run: Annotated[Text | None, Field(description="The name of the run there.")] = None
    wandb_entity: Annotated[Text | None, Field(description="Whose project it is.")] = None
    wandb_sample_interval: Annotated[int, Field(ge=1, description="Steps from sample to sample.")] = 100
    wandb_sample_prompts: Annotated[Text | None, Field(description="What to make as samples, one prompt a line.")] = (
        None
    )
    wandb_save_interval: Annotated[int, Field(ge=1, description="Steps from one saved state to the next.")] = 100

    @property
    @override
    def effort(self) -> float:
        return self.steps * max(1, self.batch_size)
