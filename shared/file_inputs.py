"""Files among the inputs: our own links and large data URIs are kept as objects, and signed when a job starts.

A link of ours would die, or lead through us; a signed URL made at submission could have expired by the time that a
queued job starts. So the job only names the object, and whoever starts it makes the URL.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote_to_bytes, urlsplit

from shared.errors import Code, InvalidField, Refusal
from shared.identifiers import is_job_id
from shared.media import sniff

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.file_store import FileStore
    from shared.job import Job, JobId, Millis, TenantId
    from shared.job_store import JobStore
    from shared.links import FileLinks
    from shared.uploads import Uploads

SMALL_DATA = 8_000  # characters of a data URI that stays in the job
LARGEST_DATA = 4 * 1024 * 1024  # bytes, decoded; the body of a request has not much more
SIGNED_S = 3_600  # for a prediction that Replicate itself may queue
MOST_FILES = 50  # of one input that are ours to sign
LONGEST_NAME = 80  # characters of a field's name, in a refusal
LONGEST_PATH = 400  # characters of the names that lead to a value: so deep and so long is no model's input
_DATA = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?P<parameters>(?:;[^;,]+)*),", re.ASCII)


@dataclass(frozen=True)
class TakenInput:
    """An input whose files have been taken out: `stored` says where in it each was, and its key in the bucket.

    Where is a JSON pointer (RFC 6901) without its first slash.
    """

    fields: Mapping[str, Any]
    stored: Mapping[str, str] = field(default_factory=dict)
    uploads: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)  # key → content type and bytes

    @property
    def altered(self) -> tuple[str, ...]:
        """The top-level fields that Replicate is sent in another form."""
        return tuple(dict.fromkeys(_unescaped(path.partition("/")[0]) for path in self.stored))


class FileInputs:
    """Takes files out of inputs, and puts URLs in their place."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        files: Callable[[], FileStore],
        uploads: Uploads,
        links: FileLinks | None,
        origins: Sequence[str],
        now: Callable[[], Millis],
    ) -> None:
        """`files` is asked for only when there is a file; `origins` are where our own links lead.

        Without `links` files can only be sent, not taken.
        """
        self._jobs = jobs
        self._files = files
        self._uploads = uploads
        self._links = links
        self._origins = origins
        self._now = now

    def take(
        self, fields: Mapping[str, Any], *, file_fields: frozenset[str] | None, job_id: JobId, tenant: TenantId
    ) -> TakenInput:
        """Take out our own files and large data URIs; nothing is stored yet.

        `file_fields` are the fields that take files, None if that is not known: then a data URI may be anywhere.

        Raises:
            Refusal: `invalid_input`: a file that is not there, is not the caller's, or cannot be decoded; or there are
                too many, or the input is too deep.
        """
        stored: dict[str, str] = {}
        uploads: dict[str, tuple[str, bytes]] = {}

        def take(value: str, path: str) -> str:
            may_be_file = file_fields is None or path in file_fields
            if value.startswith("data:") and may_be_file and (file_fields is not None or _DATA.match(value)):
                content_type, content = _decode(value, path)
                if len(value) <= SMALL_DATA:
                    return value
                if len(stored) >= MOST_FILES:
                    raise _invalid(path, f"There are more than {MOST_FILES} files.")
                key = f"inputs/{tenant}/{job_id}/{len(uploads)}.{sniff(content).extension}"
                stored[path], uploads[key] = key, (content_type, content)
                return f"data:{content_type};bytes={len(content)};sha256={hashlib.sha256(content).hexdigest()}"
            if (origin := self._origin(value)) is not None:
                if len(stored) >= MOST_FILES:
                    raise _invalid(path, f"There are more than {MOST_FILES} files.")
                stored[path] = self._own(value, origin, path, tenant)
                return value.partition("?")[0]
            if file_fields is not None and may_be_file and value.startswith("http://"):
                raise _invalid(path, "A file is fetched by HTTPS only.")
            return value

        taken = {name: _replaced(value, _escaped(name), take) for name, value in fields.items()}
        return TakenInput(taken, stored, uploads)

    def keep(self, taken: TakenInput) -> None:
        """Store the uploads, before the job that needs them is written."""
        for key, (content_type, content) in taken.uploads.items():
            self._files().put_input(key, content_type, content)

    def sent(self, job: Job) -> dict[str, Any]:
        """Give a job's input with a signed URL in the place of each stored file."""

        def sign(value: str, path: str) -> str:
            key = job.stored_inputs.get(path)
            return value if key is None else self._files().presign(key, seconds=SIGNED_S)

        return {name: _replaced(value, _escaped(name), sign) for name, value in job.input.items()}

    def _origin(self, value: str) -> str | None:
        """Give which of our origins a value leads to, if it is the link of a file and nothing else."""
        ours = (one for one in self._origins if value.startswith((f"{one}/files/", f"{one}/v1/files/")))
        found = next(ours, None)
        return None if found is None or re.search(r"\s", value) else found

    def _own(self, url: str, origin: str, path: str, tenant: TenantId) -> str:
        """Find the object of one of our own links: the caller's own, or with a signature that is valid."""
        parts = urlsplit(url.removeprefix(origin))
        match parts.path.split("/"):
            case ["", "v1", "files", file_id]:
                return self._uploaded(file_id, path, tenant)
            case ["", "files", job_id, name] if is_job_id(job_id):
                job = self._jobs.get(job_id)
            case _:
                raise _invalid(path, "There is no such file.")
        query = parse_qs(parts.query)
        e, s = query.get("e", [""])[0], query.get("s", [""])[0]
        file = next((one for one in job.files if one.name == name), None) if job else None
        links, now = self._links, self._now()
        if job is None or file is None or links is None or job.deleted_at is not None or links.are_expired(job, now):
            raise _invalid(path, "There is no such file.")
        if job.tenant != tenant and not links.is_valid(job_id, name, e, s, now):
            raise _invalid(path, "There is no such file.")
        return file.key

    def _uploaded(self, file_id: str, path: str, tenant: TenantId) -> str:
        if (upload := self._uploads.find(file_id, tenant)) is None:
            raise _invalid(path, "There is no such file.")
        if upload.content is None:
            raise _invalid(path, "Nothing has been uploaded for this file yet.")
        return upload.key


def _replaced(value: Any, path: str, replace: Callable[[str, str], str]) -> Any:  # noqa: ANN401
    """Give a JSON value with each string in it replaced; `path` leads to it, by names and numbers."""
    if len(path) > LONGEST_PATH:
        raise _invalid(path, "It is nested too deeply, or its name is too long.")
    match value:
        case dict():
            return {name: _replaced(one, f"{path}/{_escaped(name)}", replace) for name, one in value.items()}
        case list():
            return [_replaced(one, f"{path}/{n}", replace) for n, one in enumerate(value)]
        case str():
            return replace(value, path)
    return value


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


def _decode(uri: str, path: str) -> tuple[str, bytes]:
    if not (match := _DATA.match(uri)):
        raise _invalid(path, "This data URI has no comma before its data.")
    data = uri[match.end() :]
    try:
        if match["parameters"].lower().endswith(";base64"):
            content = base64.b64decode(data + "=" * (-len(data) % 4), validate=True)
        else:
            content = unquote_to_bytes(data)
    except (binascii.Error, ValueError) as error:
        raise _invalid(path, "This data URI cannot be decoded.") from error
    if len(content) > LARGEST_DATA:
        raise _invalid(path, f"This file has {len(content)} bytes, and may have {LARGEST_DATA}; send it as a URL.")
    return match["type"] or "text/plain", content


def _invalid(path: str, description: str) -> Refusal:
    name = f"input.{path.replace('/', '.')[:LONGEST_NAME]}"
    return Refusal(Code.INVALID_INPUT, f"- {name}: {description}", (InvalidField(name, description),))
