"""Trainings of Flux LoRAs: the trainer, the life of one training, and the weights that come of it.

Inputs, logs and the content of the archive are those of replicate/flux-fine-tuner, which Replicate runs under the
trainer's name. Replicate does not check the input of a training when it is created: Cog does when it starts, and the
training fails then, in the words of pydantic 1.
"""

import io
import json
import random
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from infra.local.simulator import logs
from infra.local.simulator.models import FLUX_LORA
from infra.local.simulator.prediction import Prediction
from infra.local.simulator.schemas import SECRET, Input, Inputs, Model, flag, integer, number, text
from infra.local.simulator.validation import wrong_type

JOB = "flux_train_replicate"
WEIGHTS = "trained_model.tar"
STEP_S = 1.2
# Parts of the whole at which other things that have bars of their own are done.
DOWNLOADED, CACHED = 0.1, 0.2
INPUTS = {
    "input_images": Input(type="string", format="uri", required=True),
    "trigger_word": text("TOK"),
    "autocaption": flag(default=True),
    "autocaption_prefix": text(),
    "autocaption_suffix": text(),
    "steps": integer(3, 6000, 1000),
    "learning_rate": number(None, None, 0.0004),
    "batch_size": integer(default=1),
    "resolution": text("512,768,1024"),
    "lora_rank": integer(1, 128, 16),
    "caption_dropout_rate": number(0, 1, 0.05),
    "optimizer": text("adamw8bit"),
    "cache_latents_to_disk": flag(default=False),
    "layers_to_optimize_regex": text(),
    "gradient_checkpointing": flag(default=False),
    "hf_repo_id": text(),
    "hf_token": SECRET,
    "wandb_api_key": SECRET,
    "wandb_project": text(JOB),
    "wandb_run": text(),
    "wandb_entity": text(),
    "wandb_sample_interval": integer(1, None, 100),
    "wandb_sample_prompts": text(),
    "wandb_save_interval": integer(1, None, 100),
}
TRAINER = Model(name="ostris/flux-dev-lora-trainer", inputs=FLUX_LORA.inputs, training=INPUTS, official=False)
NOT_OF_TYPE = {
    "integer": ("value is not a valid integer", "type_error.integer"),
    "number": ("value is not a valid float", "type_error.float"),
    "boolean": ("value could not be parsed to a boolean", "type_error.bool"),
    "string": ("str type expected", "type_error.str"),
}


@dataclass(kw_only=True)
class Training(Prediction):
    """A training takes seconds here; its metrics tell what it would have taken."""

    kind: ClassVar[str] = "training"
    told: float = 0  # the part that the logs have told of

    @property
    def steps(self) -> int:
        """What its bar counts to."""
        return int(self.given("steps"))

    @property
    def done(self) -> int:
        """Steps that are trained."""
        return round((self.part - CACHED) / (1 - CACHED) * self.steps) if self.part > CACHED else 0

    def ticks(self, wished: int) -> int:
        """How often its progress shows: often enough for the other things' bars."""
        return max(20, wished)

    def refusal(self) -> str | None:
        """Why it fails as soon as it starts."""
        return _refusal(self.order.inputs, self.order.input)

    def file_refusal(self, content: bytes) -> str | None:
        """Why it fails with these images."""
        return None if zipfile.is_zipfile(io.BytesIO(content)) else "input_images must be a zip file"

    def first_lines(self) -> str:
        """What the logs begin with."""
        return (
            "INFO  | [ Initiating ] chunk_size=150M dest=. url=https://weights.replicate.delivery/default/files.tar\n"
        )

    def next_lines(self) -> str:
        """What the logs say of the part that is done: of the training only after all else has come to its end."""
        before, self.told = self.told, self.part
        # Where threads are slow, one step may go past the end of a bar.
        lines = _downloading(1) if before < DOWNLOADED < self.part else ""
        lines += _caching(1) if before < CACHED < self.part else ""
        if self.part <= DOWNLOADED:
            return lines + _downloading(self.part / DOWNLOADED)
        if self.part <= CACHED:
            return lines + _caching((self.part - DOWNLOADED) / (CACHED - DOWNLOADED))
        rest = f", lr: {self.given('learning_rate'):.1e} loss: {0.5 / (1 + self.part):.3e}"
        return lines + logs.bar(self.done, self.steps, self.done * STEP_S, label=f"{JOB}: ", rest=rest)

    def _predict_s(self) -> float:
        return self.done * STEP_S


def _downloading(share: float) -> str:
    return logs.bar(round(share * 34), 34, 26.2, label="Downloading weights: ")


def _caching(share: float) -> str:
    return logs.bar(round(share * 12), 12, 3.1, label="Caching latents: ")


def weights(training: Training) -> bytes:
    """Make the archive that a training gives: a small LoRA, its settings, and a caption."""
    rank = int(training.given("lora_rank"))
    tensor = random.Random(training.id).randbytes(2 * rank)  # noqa: S311 - weights, not a secret  # nosec B311
    described = {"lora_A.weight": {"dtype": "F16", "shape": [1, rank], "data_offsets": [0, len(tensor)]}}
    header = json.dumps(described).encode()
    trigger_word = training.given("trigger_word")
    members = {
        "lora.safetensors": len(header).to_bytes(8, "little") + header + tensor,
        "config.yaml": f"trigger_word: {trigger_word}\nsteps: {training.steps}\n".encode(),
        "captions/0.txt": f"a photo of {trigger_word}\n".encode(),
    }
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(f"output/{JOB}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def _refusal(inputs: Inputs, given: Mapping[str, Any]) -> str | None:
    wrong = {
        name: _missing(field) if name not in given else _wrong(field, given[name]) for name, field in inputs.items()
    }
    errors = [{"loc": ["body", "input", name], **error} for name, error in wrong.items() if error]
    told = json.dumps({"detail": errors}, separators=(",", ":"))
    return f"Prediction input failed validation: {told}" if errors else None


def _missing(field: Input) -> dict[str, Any] | None:
    return {"msg": "field required", "type": "value_error.missing"} if field.required else None


def _wrong(field: Input, value: Any) -> dict[str, Any] | None:  # noqa: ANN401 - a JSON value
    if value is None:
        return {"msg": "none is not an allowed value", "type": "type_error.none.not_allowed"}
    if wrong_type("", field.type, value):
        message, kind = NOT_OF_TYPE[field.type]
        return {"msg": message, "type": kind}
    for bound, word, short in ((field.minimum, "greater", "ge"), (field.maximum, "less", "le")):
        if bound is not None and (value < bound if short == "ge" else value > bound):
            return {
                "msg": f"ensure this value is {word} than or equal to {bound}",
                "type": f"value_error.number.not_{short}",
                "ctx": {"limit_value": bound},
            }
    if field.format == "uri" and not value.startswith(("http://", "https://", "data:")):
        scheme = value.partition(":")[0] if ":" in value else ""
        allowed = "'data', 'http', or 'https' is supported."
        return {"msg": f"'{scheme}' is not a valid URL scheme. {allowed}", "type": "value_error"}
    return None
