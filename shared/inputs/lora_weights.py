"""Where the weights of a LoRA are: the ways to write it that Replicate's LoRA models know."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

LONGEST = 2_000  # characters

_MODEL = re.compile(r"([a-z0-9][\w-]*/[a-z0-9][\w.-]*)(?:[:/]([a-z0-9]+))?", re.ASCII | re.IGNORECASE)
_ELSEWHERE = re.compile(
    r"""(?:https://)?huggingface\.co/[\w.-]+/[\w.-]+(?:/[^\s/?#]+\.safetensors)?
    |   (?:https://)?civitai\.com/models/[0-9]+(?:/[^\s/?#]+)?
    |   https://[^\s/?#]+/[^\s?#]+\.(?:safetensors|tar)(?:\?\S*)?
    """,
    re.VERBOSE,
)


def _normalized(given: str) -> str:
    """Give a model of Replicate's as `owner/name[/version]`, and everything else as it is."""
    if match := _MODEL.fullmatch(given):
        return "/".join(part for part in match.groups() if part)
    if _ELSEWHERE.fullmatch(given):
        return given
    raise PydanticCustomError(
        "lora_weights",
        "Give a model on Replicate (owner/name, owner/name/version or owner/name:version), "
        "huggingface.co/owner/model[/file.safetensors], civitai.com/models/id[/name], "
        "or an https URL of a .safetensors or .tar file",
    )


LoraWeights = Annotated[
    str,
    Field(
        max_length=LONGEST,
        description="The LoRA: owner/name[/version] on Replicate, huggingface.co/owner/model[/file.safetensors], "
        "civitai.com/models/id[/name], or the https URL of a .safetensors or .tar file.",
        examples=["owner/name"],
    ),
    AfterValidator(_normalized),
]
LoraScale = Annotated[float, Field(ge=-1, le=3, description="How strongly the LoRA counts; 0 is not at all.")]
