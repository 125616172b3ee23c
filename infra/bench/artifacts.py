"""What `make build` has made: how large it is, and what of."""

from __future__ import annotations

import zipfile
from io import BytesIO
from typing import TYPE_CHECKING, Any

from infra.bench import places

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BUILT = places.ROOT / ".aws-sam" / "build"
FUNCTION = "SubmitFunction"  # all functions are deployed from the same folder
LISTED = 8


def measure() -> dict[str, Any]:
    """Give bytes, as they are uploaded and as they are unpacked, of the functions' code and of the layer."""
    layer = BUILT / "SharedLayer" / "python"
    parts: dict[str, int] = {}
    for entry in layer.iterdir():
        if not entry.name.endswith(".dist-info"):
            parts[entry.name] = _unpacked(_files(entry))
    largest = sorted(parts, key=lambda name: -parts[name])[:LISTED]
    return {
        "functions": _sizes(BUILT / FUNCTION),
        "layer": _sizes(layer),
        "layer_parts": {name: parts[name] for name in largest}
        | {"others": _unpacked(_files(layer)) - sum(parts[name] for name in largest)},
    }


def _sizes(folder: Path) -> dict[str, int]:
    files = _files(folder)
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, path.relative_to(folder))
    return {"files": len(files), "packed": len(packed.getvalue()), "unpacked": _unpacked(files)}


def _files(entry: Path) -> list[Path]:
    found = [entry] if entry.is_file() else [path for path in entry.rglob("*") if path.is_file()]
    return sorted(path for path in found if "__pycache__" not in path.parts)


def _unpacked(files: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in files)
