"""Models whose output is no image and no list of images: the shapes that others than Flux have.

All but the last belong to the simulator's account and need a version; the package's docstring names them.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from infra.local.simulator import images
from infra.local.simulator.schemas import (
    FILE,
    PROMPT,
    SEED,
    Input,
    Inputs,
    Model,
    Output,
    choice,
    integer,
    number,
    text,
)

ACCOUNT = "simulated-user"
WORDS = {"prompt": PROMPT, "max_tokens": integer(1, 512, 64)}
SIDE = integer(64, 1024, 256)
PICTURE = {
    "prompt": PROMPT,
    "seed": SEED,
    "width": SIDE,
    "height": SIDE,
    "output_format": choice("png", "jpg", "webp"),
}
TOKENS = Output(
    schema={"type": "array", "items": {"type": "string"}, "x-cog-array-type": "iterator"},
    shape=lambda given, _: _tokens(given),
    files=0,
    grows=True,
)
MASKS = ("cat", "sofa")


def _sentence(given: Mapping[str, Any]) -> str:
    return f"You asked for {given.get('prompt') or 'nothing'}, and here it is: line one.\nÄpfel, naïve café, 你好 🙂."


def _tokens(given: Mapping[str, Any]) -> list[str]:
    """Words that carry the blank before them, as tokens do."""
    words = _sentence(given).split(" ")
    return [words[0], *(f" {word}" for word in words[1:])][: given.get("max_tokens", 64)]


def _segments(_: Mapping[str, Any], urls: Sequence[str]) -> dict[str, Any]:
    return {
        "image": urls[0] if urls else None,
        "masks": [{"label": label, "mask": url} for label, url in zip(MASKS, urls[1:], strict=False)],
        "score": 0.9,
        "source": "https://example.com/page",
    }


def _inline(given: Mapping[str, Any], _: Sequence[str]) -> str:
    picture = images.make(str(given["prompt"]), int(given.get("seed", 0)), 0, (64, 64))
    return "data:image/png;base64," + base64.b64encode(images.encode(picture, "png", 80)).decode()


def _model(name: str, inputs: Inputs, output: Output) -> Model:
    return Model(name=f"{ACCOUNT}/{name}", inputs=inputs, output=output, official=False)


MODELS = (
    _model("text", WORDS, TOKENS),
    _model("segments", PICTURE, Output(schema={"type": "object"}, shape=_segments, files=1 + len(MASKS))),
    _model(
        "batches",
        PICTURE,
        Output(
            schema={"type": "array", "items": {"type": "array", "items": FILE}},
            shape=lambda _, urls: [list(urls[:2]), list(urls[2:])],
            files=3,
        ),
    ),
    _model("inline", PICTURE, Output(schema=FILE, shape=_inline, files=0)),
    _model("caption", WORDS, Output(schema={"type": "string"}, shape=lambda given, _: _sentence(given), files=0)),
    _model("nothing", WORDS, Output(schema={"type": "string", "nullable": True}, shape=lambda *_: None, files=0)),
    _model(
        "hostile-output",
        {"url": Input(type="string", required=True)},
        Output(schema=FILE, shape=lambda given, _: given["url"], files=0),
    ),
    Model(
        name="meta/meta-llama-3-8b-instruct",
        inputs={
            "prompt": text(""),
            "system_prompt": text("You are a helpful assistant"),
            "max_tokens": integer(1, None, 512),
            "temperature": number(0, 5, 0.7),
            "top_p": number(0, 1, 0.95),
        },
        output=TOKENS,
    ),
)
