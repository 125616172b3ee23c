"""Pictures: cheap, pretty, and the same for the same prompt, seed and index."""

import colorsys
import io
import random
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from PIL import Image, ImageDraw

from infra.local.simulator.schemas import Model

import_module("PIL.WebPImagePlugin")  # Else the first picture loads all of Pillow's plugins.

# What Flux makes of an aspect ratio at one megapixel.
SIZES = {
    "1:1": (1024, 1024),
    "16:9": (1344, 768),
    "21:9": (1536, 640),
    "3:2": (1216, 832),
    "2:3": (832, 1216),
    "4:5": (896, 1088),
    "5:4": (1088, 896),
    "3:4": (896, 1152),
    "4:3": (1152, 896),
    "9:16": (768, 1344),
    "9:21": (640, 1536),
}
CONTENT_TYPES = {"webp": "image/webp", "jpg": "image/jpeg", "png": "image/png"}
SKETCH = 4  # The sketch is this much smaller than the picture.


def size_of(model: Model, values: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height that this input asks for."""
    ratio = model.given("aspect_ratio", values)
    if ratio in SIZES:
        width, height = SIZES[ratio]
    elif "width" in model.inputs:
        width, height = (_side(model.given(side, values)) for side in ("width", "height"))
    else:
        width, height = SIZES["1:1"]
    return (width // 2, height // 2) if model.given("megapixels", values) == "0.25" else (width, height)


def _side(given: float | None) -> int:
    return max(64, min(int(given or 1024), 2048))


def make(prompt: str, seed: int, index: int, size: tuple[int, int]) -> Image.Image:
    """Soft hills of light under a few discs, in colours that the prompt decides."""
    draw_of = random.Random(f"{prompt}\0{seed}\0{index}")  # noqa: S311 - a picture, not a secret  # nosec B311
    hue = random.Random(prompt).random()  # noqa: S311 - likewise  # nosec B311

    def colour() -> tuple[int, int, int]:
        shade = colorsys.hls_to_rgb(
            (hue + draw_of.uniform(-0.12, 0.12)) % 1, draw_of.uniform(0.25, 0.8), draw_of.uniform(0.45, 0.95)
        )
        return round(shade[0] * 255), round(shade[1] * 255), round(shade[2] * 255)

    mesh = Image.new("RGB", (4, 4))
    mesh.putdata([colour() for _ in range(16)])
    width, height = size[0] // SKETCH, size[1] // SKETCH
    sketch = mesh.resize((width, height), Image.Resampling.BICUBIC)
    canvas = ImageDraw.Draw(sketch, "RGBA")
    for _ in range(draw_of.randint(4, 9)):
        x, y = draw_of.uniform(0, width), draw_of.uniform(0, height)
        radius = draw_of.uniform(0.04, 0.22) * min(width, height)
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(*colour(), draw_of.randint(90, 200)))
    return sketch.resize(size, Image.Resampling.BILINEAR)


def encode(image: Image.Image, output_format: str, quality: int) -> bytes:
    """PNG has no quality, as with Replicate."""
    file = io.BytesIO()
    match output_format:
        case "png":
            image.save(file, "PNG", compress_level=1)
        case "jpg":
            image.save(file, "JPEG", quality=max(1, quality))
        case _:
            image.save(file, "WEBP", quality=quality, method=0)
    return file.getvalue()
