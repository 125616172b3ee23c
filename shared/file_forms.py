"""The multipart forms in which Replicate's clients send a file, each in its own way."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.errors import Code, Refusal
from shared.uploads import LARGEST_UPLOAD, check_metadata, invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LARGEST_FILE = 4 * 1024 * 1024  # bytes; base64 on the way, and a Lambda function is given 6 MB
LARGEST_FORM = LARGEST_FILE + 64 * 1024  # with everything around the file
MOST_PARTS = 100
FIELDS = frozenset({"content", "metadata", "filename", "type"})
_NESTED = re.compile(r"metadata((?:\[[^\[\]]*\])+)")  # Python 2.0.0b4 takes metadata apart
_KEY = re.compile(r"\[([^\[\]]*)\]")


@dataclass(frozen=True)
class FileForm:
    """A file as a client sent it; its type is told from its bytes, whatever the form says."""

    content: bytes
    filename: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class _Part:
    name: str
    filename: str | None
    value: bytes

    @property
    def text(self) -> str:
        try:
            return self.value.decode()
        except UnicodeDecodeError as error:
            raise invalid(self.name, "It is not UTF-8.") from error


def parse_file_form(content_type: str, body: bytes) -> FileForm:
    """Read the body of `POST /v1/files`.

    Raises:
        Refusal: `unsupported_media_type`, `payload_too_large`, or `invalid_input`.
    """
    parts = list(_split(content_type, body))
    for part in parts:
        if part.name not in FIELDS and not _NESTED.fullmatch(part.name):
            raise invalid(part.name[:80], f"There is no such field; there are {', '.join(sorted(FIELDS))}.")
    content = _single(parts, "content")
    if content is None:
        raise invalid("content", "Send the file as a part of this name.")
    if not content.value:
        raise invalid("content", "The file is empty.")
    if len(content.value) > LARGEST_FILE:
        raise _too_large()
    given = _single(parts, "filename")
    filename = given.text if given else content.filename
    return FileForm(content.value, filename or "", check_metadata(_metadata(parts)))


def _split(content_type: str, body: bytes) -> Iterator[_Part]:
    # Imported here, since of all that its function does only this needs it.
    from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header  # noqa: PLC0415

    media_type, options = parse_options_header(content_type)
    if media_type != "multipart/form-data":
        detail = f"Send the file as multipart/form-data, with that content type; this one says {media_type[:100]!r}."
        raise Refusal(Code.UNSUPPORTED_MEDIA_TYPE, detail)
    if not (boundary := options.get("boundary")):
        raise invalid("content", "The content type names no boundary: let the client that writes the form set it.")
    if len(body) > LARGEST_FORM:
        raise _too_large()
    name, filename, value = "", None, b""
    try:
        with PushMultipartParser(boundary, max_segment_count=MOST_PARTS) as parser:
            for event in parser.parse(body):
                if isinstance(event, MultipartSegment):
                    name, filename, value = event.name, event.filename, b""
                elif event is None:
                    yield _Part(name, filename, value)
                else:
                    value += event
    except MultipartError as error:
        raise invalid("content", f"The body cannot be read as multipart/form-data: {error.args[0]}.") from error


def _single(parts: Sequence[_Part], name: str) -> _Part | None:
    found = [part for part in parts if part.name == name]
    if len(found) > 1:
        raise invalid(name, "There may be only one.")
    return found[0] if found else None


def _metadata(parts: Sequence[_Part]) -> Any:  # noqa: ANN401
    if (whole := _single(parts, "metadata")) is not None:
        try:
            return json.loads(whole.text or "{}")
        except (ValueError, RecursionError) as error:
            raise invalid("metadata", "It is not valid JSON.") from error
    metadata: dict[str, Any] = {}
    for part in parts:
        if nested := _NESTED.fullmatch(part.name):
            try:
                _insert(metadata, _KEY.findall(nested[1]), part.text)
            except (AttributeError, ValueError) as error:
                raise invalid("metadata", "Its parts contradict each other: send it as one JSON object.") from error
    return metadata


def _insert(metadata: dict[str, Any], path: Sequence[str], value: str) -> None:
    """Put a value where a name such as `metadata[a][b]` says; an empty key at the end adds to a list."""
    is_item = path[-1] == ""
    *way, last = path[:-1] if is_item else path
    place: Any = metadata
    for key in way:
        place = place.setdefault(key, {})
    if is_item:
        place.setdefault(last, []).append(value)
    else:
        place.update({last: value})


def _too_large() -> Refusal:
    detail = (
        f"A file may have {LARGEST_FILE} bytes here. POST /uploads gives a form with which one of up to "
        f"{LARGEST_UPLOAD} bytes is sent to the bucket directly."
    )
    return Refusal(Code.PAYLOAD_TOO_LARGE, detail)
