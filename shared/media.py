"""What a file is, told from its first bytes and never from what a header claims."""

from __future__ import annotations

import io
from dataclasses import dataclass

import filetype
import imagesize

HEAD_BYTES = 1024 * 1024  # enough for the size of an image behind nearly any amount of metadata
_PLAIN = "application/octet-stream"


@dataclass(frozen=True)
class Media:
    """A content type, the extension that goes with it, and the size of an image in pixels."""

    content_type: str
    extension: str
    width: int | None = None
    height: int | None = None


def sniff(head: bytes) -> Media:
    """Tell what begins with these bytes; whatever is unknown is `application/octet-stream`, which no browser runs."""
    kind = filetype.guess(head)
    if kind is None:
        return Media(_PLAIN, "bin")
    if not kind.mime.startswith("image/"):
        return Media(kind.mime, kind.extension)
    try:
        width, height = imagesize.get(io.BytesIO(head))
    except Exception:  # noqa: BLE001 - the parser fails in many ways on an image that is cut or odd; it is stored still
        width = height = 0
    known = width > 0 and height > 0
    return Media(kind.mime, kind.extension, round(width) if known else None, round(height) if known else None)
