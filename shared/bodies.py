"""The JSON bodies that callers send, for both interfaces."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from shared.inputs.fields import Prompt, Seed
from shared.uploads import LARGEST_UPLOAD

WebhookUrl = Annotated[
    str, Field(pattern=r"^https?://", max_length=2_048, description="Called when the job has ended, signed.")
]
ModelName = Annotated[str, Field(min_length=1, max_length=300, description="owner/name, or owner/name:version")]
TriggerWord = Annotated[str, Field(max_length=100, description="Put in front of a prompt that lacks it.")]

MOST_IMAGES = 100
MOST_PROMPTS = 100


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class ModelPredictionBody(_Body):
    """`POST /v1/models/{owner}/{name}/predictions` and that of deployments, as Replicate takes them."""

    input: Annotated[dict[str, Any], Field(description="What the model takes.")]
    webhook: WebhookUrl | None = None
    webhook_events_filter: Annotated[
        list[Literal["start", "output", "logs", "completed"]] | None,
        Field(description="What the webhook is called for: the end (`completed`) with retries, the others once."),
    ] = None
    webhook_completed: WebhookUrl | None = Field(default=None, description="The old name of a webhook at the end.")
    stream: bool | None = Field(default=None, description="Accepted, without effect.")


class PredictionBody(ModelPredictionBody):
    """`POST /v1/predictions`: the same, and which model or version."""

    version: ModelName


class TrainingBody(ModelPredictionBody):
    """`POST /v1/models/{owner}/{name}/versions/{version}/trainings`, as Replicate takes it."""

    destination: Annotated[str, Field(min_length=1, max_length=200, description="owner/name of the model to make.")]


class _ShortBody(_Body):
    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, given: Any) -> Any:  # noqa: ANN401
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


class GenerateBody(_ShortBody):
    """`POST /generate`."""

    prompts: Annotated[
        list[Any] | None, Field(min_length=1, max_length=MOST_PROMPTS, description="Instead of a prompt: several.")
    ] = None
    prompt: Annotated[Prompt | None, Field(validate_default=True)] = None
    model: ModelName | None = None
    deployment: Annotated[str | None, Field(min_length=3, max_length=200, description="owner/name")] = None
    preset: Annotated[
        str | None,
        Field(min_length=1, max_length=32, description="Fills what is left open; `GET /models` says which ones fit."),
    ] = None
    num_images: Annotated[int, Field(ge=1, le=MOST_IMAGES, description="Of each prompt.")] = 4
    use_lora: Annotated[
        bool | None, Field(description="Run a fine-tuned model: the one named below, or the deployment's own.")
    ] = None
    lora_model_id: Annotated[
        ModelName | None, Field(description="A LoRA: owner/name, owner/name:version, or the name of one trained here.")
    ] = None
    trigger_word: TriggerWord | None = None
    lora_scale: Annotated[float | None, Field(ge=-1, le=3, description="How strongly the LoRA counts.")] = None
    seed: Seed | None = None
    reuse: Annotated[bool, Field(description="Meet an equal request's job, instead of paying again.")] = False
    webhook: WebhookUrl | None = None
    input: dict[str, Any] = Field(default_factory=dict, description="Anything else that the model takes.")

    @field_validator("prompt")
    @classmethod
    def _is_needed_without_prompts(cls, prompt: str | None, info: ValidationInfo) -> str | None:
        if "prompts" in info.data and (prompt is None) == (info.data["prompts"] is None):
            raise PydanticCustomError("prompt_needed", "Give either a prompt or prompts")
        return prompt


class TrainBody(_ShortBody):
    """`POST /train`."""

    images_zip_url: Annotated[str, Field(min_length=1, max_length=5_000_000, description="The images, in a zip file.")]
    trigger_word: Annotated[str | None, Field(min_length=1, max_length=100, description="TOK without one.")] = None
    steps: Annotated[int | None, Field(description="How long to learn.")] = None
    destination: Annotated[
        str | None, Field(min_length=1, max_length=200, description="owner/name, or a name of one's own.")
    ] = None
    webhook: WebhookUrl | None = None
    input: dict[str, Any] = Field(default_factory=dict, description="Anything else that the trainer takes.")


class UploadBody(_ShortBody):
    """`POST /uploads`."""

    filename: Annotated[str, Field(min_length=1, max_length=1_000, description="Of a path, the last part is taken.")]
    content_type: Annotated[
        str | None, Field(max_length=200, description="Without effect: what a file is, is told from its bytes.")
    ] = None
    bytes: Annotated[
        int | None, Field(ge=1, le=LARGEST_UPLOAD, description="The file's size: no other is then taken.")
    ] = None
    metadata: dict[str, Any] = Field(default_factory=dict, description="Kept, and shown again.")
