"""What a prediction made: which of it are files, wherever in the output they are, and what is left without them.

An output with files in it is kept as a skeleton: the output as it was, with the mark `{"$file": n}` in the place of
file number n. A dictionary of the output's own that looks like a mark is kept as `{"$file": [its value]}`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.errors import Code, Problem
from shared.job import Job, Makes, Shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MARK = "$file"
LARGEST_TEXT = 50_000  # bytes of JSON that are kept in the job itself
MOST_FILES = 250  # each takes up to 300 of the 400,000 bytes that a job's item holds, beside a long input
DEEPEST = 100  # levels that files are looked for in; Python itself gives up at about 1,000
_URL = re.compile(r"(?:https?://|data:)\S+", re.IGNORECASE)
_DATA = re.compile(r"data:[\w.+-]+/[\w.+-]+[^\s,]*,\S*", re.IGNORECASE | re.ASCII)


class _TooDeep(Exception):
    """There are more levels than are looked at."""


@dataclass(frozen=True)
class Outputs:
    """What a prediction made: where its files are to be had, each once, and `text`: the skeleton, or all there is."""

    sources: Sequence[str] = ()
    shape: Shape = Shape.LIST
    text: Any = None
    is_too_deep: bool = False

    def document(self, names: Mapping[int, str]) -> bytes | None:
        """Give the JSON document that is stored in place of a text which the job cannot hold, else None.

        `names` stand in the place of the files.

        Raises:
            RecursionError: it is so deep that it cannot be written at all.
        """
        if not self.is_too_deep and len(json.dumps(self.text)) <= LARGEST_TEXT:
            return None
        whole = self.text if self.is_too_deep else put_in_place(self.text, names)
        return json.dumps(whole).encode()


def outputs_of(output: Any, makes: Makes, is_allowed: Callable[[str], bool]) -> Outputs:  # noqa: ANN401
    """Read an output. A string is a file if all of it is a URL that `is_allowed`, or a `data:` URI.

    Where files must be, every URL is one, and storing it may be refused: what makes images gives them alone or in a
    list, and what makes models anywhere. Anywhere else, a URL of somebody else's is data like any other.
    """

    def is_file(text: str) -> bool:
        return bool(_DATA.fullmatch(text)) or (bool(_URL.fullmatch(text)) and is_allowed(text))

    is_listed_file = is_file if makes is Makes.ANYTHING else _is_url
    match output:
        case str() if is_listed_file(output):
            return Outputs((output,), Shape.SINGLE)
        case list() if output and all(isinstance(one, str) and is_listed_file(one) for one in output):
            return Outputs(tuple(output))
    found: dict[str, int] = {}
    try:
        skeleton = _skeleton(output, _is_url if makes is Makes.MODEL else is_file, found)
    except _TooDeep:
        return Outputs(text=output, is_too_deep=True)
    return Outputs(tuple(found), Shape.NESTED, skeleton) if found else Outputs(text=output)


def mark(n: int) -> dict[str, int]:
    """Give what stands in a skeleton for file number n."""
    return {MARK: n}


def put_in_place(skeleton: Any, names: Mapping[int, Any]) -> Any:  # noqa: ANN401
    """Give the output with these names in the place of its files; a file without a name is null."""
    match skeleton:
        case {"$file": int(n), **more} if not more:
            return names.get(n)
        case {"$file": [own], **more} if not more:
            return {MARK: put_in_place(own, names)}
        case dict():
            return {key: put_in_place(one, names) for key, one in skeleton.items()}
        case list():
            return [put_in_place(one, names) for one in skeleton]
    return skeleton


def output_of(job: Job, names: Mapping[int, str]) -> Any:  # noqa: ANN401
    """Give a job's output in the shape that Replicate gave it, with these names in the place of its files."""
    if job.files_shape is Shape.NESTED:
        return put_in_place(job.text, names)
    if not job.files:
        return job.text
    listed = [names.get(file.n) for file in job.files]
    return listed[0] if job.files_shape is Shape.SINGLE else listed


def trained_version(text: Any) -> str | None:  # noqa: ANN401
    """Give the version (`owner/name:hash`) that the output of a training names, if it does."""
    match text:
        case {"version": str(version)} if version:
            return version
    return None


def shortcoming(makes: Makes, output: Any, made: int) -> Problem | None:  # noqa: ANN401
    """Say what is missing in the output of a prediction that Replicate calls succeeded, with so many files made."""
    if makes is Makes.MODEL and trained_version(output) is None:
        return Problem(Code.UPSTREAM_FAILED, "The training ended without naming a version of a model.")
    if makes not in {Makes.IMAGES, Makes.IMAGE} or made:
        return None
    if output == []:
        # The safety checker takes images away one by one, and this is what is left when it has taken all.
        return Problem(Code.NSFW_CONTENT, "All images were withheld by the safety checker.")
    return Problem(Code.UPSTREAM_FAILED, "It ended without an image, and Replicate gave no reason.")


def withheld(job: Job, made: int) -> str | None:
    """Warn of images that were asked for, and that the safety checker kept."""
    if job.makes is not Makes.IMAGES or not 0 < made < job.expected_files:
        return None
    kept = job.expected_files - made
    return f"{kept} of {job.expected_files} images {'was' if kept == 1 else 'were'} withheld by the safety checker."


def _is_url(text: str) -> bool:
    return bool(_URL.fullmatch(text))


def _skeleton(value: Any, is_file: Callable[[str], bool], found: dict[str, int], depth: int = 0) -> Any:  # noqa: ANN401
    """Put marks in the place of files, and write down in `found` which they are."""
    if depth > DEEPEST:
        raise _TooDeep

    def inner(one: Any) -> Any:  # noqa: ANN401
        return _skeleton(one, is_file, found, depth + 1)

    match value:
        case str() if is_file(value):
            return mark(found.setdefault(value, len(found)))
        case {"$file": own, **more} if not more:
            return {MARK: [inner(own)]}
        case dict():
            return {key: inner(one) for key, one in value.items()}
        case list():
            return [inner(one) for one in value]
    return value
