"""Files and manifests in the bucket: written once, never overwritten, in flat memory.

Keys are `jobs/{tenant}/{job_id}/{n}.{ext}` and, last, `jobs/{tenant}/{job_id}/manifest.json`. Beside them are what
callers send: `inputs/{tenant}/{job_id}/…` and `uploads/{tenant}/{file_id}/…`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import tempfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from shared.errors import OutputRejected
from shared.job import StoredFile
from shared.media import HEAD_BYTES, Media, sniff

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_s3 import S3Client

    from shared.fetch import Download
    from shared.job import Job, TenantId

SMALL = 4 * 1024 * 1024  # kept in memory; what is larger goes by way of a temporary file
PART = 256 * 1024
SIGNATURE_BYTES = 8192  # that tell what a file is
NEVER_CHANGES = "private, max-age=31536000, immutable"
NEVER_SHOWN = "attachment"
MANIFEST = "manifest.json"
_NUMBERED = re.compile(r"(\d+)\.\w+")
_MISSING = frozenset({"NoSuchKey", "AccessDenied"})  # without the right to list, S3 does not say which
_TAKEN = "PreconditionFailed"


class Gone(Exception):
    """There is no object under this key any more."""


class Foreign(Exception):
    """An object of another prediction is where this one's should be."""


@dataclass(frozen=True)
class UploadForm:
    """Where a form is to be posted, and its fields; the file comes last, as `file`."""

    url: str
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Look:
    """The beginning of an object, and what S3 says of the whole."""

    head: bytes
    size: int
    etag: str


def prefix_of(job: Job) -> str:
    """Give the folder of a job in the bucket, with its slash."""
    return f"jobs/{job.tenant}/{job.id}/"


class FileStore:
    """Writes what archive stores, and reads it back."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        """Work on one bucket."""
        self._client = client
        self._bucket = bucket

    def put(self, job: Job, n: int, download: Download) -> StoredFile:
        """Copy one output of a job into the bucket; what is there already from this prediction counts as done.

        Raises:
            OutputRejected: there is nothing in it.
            Foreign: the object there is another prediction's.
        """
        digest, length, head = hashlib.sha256(), 0, b""
        # Whole before it is sent: so boto3 can repeat the upload, and a source that breaks leaves nothing behind.
        with tempfile.SpooledTemporaryFile(max_size=SMALL) as body:
            while part := download.read(PART):
                head += part[: HEAD_BYTES - len(head)]
                digest.update(part)
                length += body.write(part)
            if not length:
                raise OutputRejected("an output is empty")
            body.seek(0)
            media = sniff(head)
            key = f"{prefix_of(job)}{n}.{media.extension}"
            try:
                self._put(job, key, media.content_type, body, digest.digest())
            except _AlreadyThere:
                return self._describe(job, key)
        return _stored(n, key, media, length, digest.hexdigest())

    def existing(self, job: Job) -> dict[int, StoredFile]:
        """Give the files of this prediction that an earlier, interrupted run has stored, by their number."""
        prefix = prefix_of(job)
        page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix)
        keys = [one["Key"] for one in page.get("Contents", [])]
        numbered = [key for key in keys if _NUMBERED.fullmatch(key.removeprefix(prefix))]
        files = [self._describe(job, key) for key in numbered]
        return {file.n: file for file in files}

    def put_manifest(self, job: Job, manifest: Mapping[str, Any]) -> None:
        """Write the manifest, unless it is there: it is a function of the finished job, so it is the same."""
        text = json.dumps(manifest, ensure_ascii=False, indent=2).encode()
        with contextlib.suppress(_AlreadyThere):
            self._put(job, prefix_of(job) + MANIFEST, "application/json", text, hashlib.sha256(text).digest())

    def put_input(self, key: str, content_type: str, content: bytes) -> None:
        """Keep a file of a caller's for predictions that are to use it; no browser is to show it."""
        self._client.put_object(
            Bucket=self._bucket, Key=key, Body=content, ContentType=content_type, ContentDisposition=NEVER_SHOWN
        )

    def form(self, key: str, *, sizes: tuple[int, int], seconds: int) -> UploadForm:
        """Give a form with which one object can be written without credentials for so long.

        `sizes` are the smallest and the largest number of bytes that S3 takes with it.
        """
        fixed = {"Content-Type": "application/octet-stream", "Content-Disposition": NEVER_SHOWN}
        form = self._client.generate_presigned_post(
            self._bucket,
            key,
            Fields=dict(fixed),
            Conditions=[{name: value} for name, value in fixed.items()] + [["content-length-range", *sizes]],
            ExpiresIn=seconds,
        )
        return UploadForm(form["url"], form["fields"])

    def look(self, key: str) -> Look | None:
        """Look at an object without reading it all; None if there is none."""
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=key, Range=f"bytes=0-{SIGNATURE_BYTES - 1}")
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return None
            raise
        with answer["Body"] as body:
            head = body.read()
        return Look(head, int(answer["ContentRange"].rpartition("/")[2]), answer["ETag"].strip('"'))

    def delete(self, key: str) -> None:
        """Delete an object; that it is not there is no error."""
        self._client.delete_object(Bucket=self._bucket, Key=key)

    def purge(self, job: Job) -> None:
        """Remove everything of a job's, in all its versions: files, manifest and inputs."""
        for prefix in (prefix_of(job), f"inputs/{job.tenant}/{job.id}/"):
            self._purge(prefix)

    def purge_tenant(self, tenant: TenantId) -> None:
        """Remove everything of a tenant's, in all its versions."""
        for place in ("jobs", "inputs", "uploads"):
            self._purge(f"{place}/{tenant}/")

    def keys(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Give the key and the size of every object below a prefix."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        for page in pages:
            for one in page.get("Contents", []):
                yield one["Key"], one["Size"]

    def download(self, key: str) -> Iterator[bytes]:
        """Read an object part by part.

        Raises:
            Gone: there is none.
        """
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                raise Gone(key) from error
            raise
        with answer["Body"] as body:
            while part := body.read(PART):
                yield part

    def copy_input(self, key: str, to: str) -> None:
        """Copy what a job was given for another one."""
        self._client.copy_object(Bucket=self._bucket, Key=to, CopySource={"Bucket": self._bucket, "Key": key})

    def _purge(self, prefix: str) -> None:
        after: Any = {}
        while after is not None:
            page = self._client.list_object_versions(Bucket=self._bucket, Prefix=prefix, **after)
            for version in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                self._client.delete_object(Bucket=self._bucket, Key=version["Key"], VersionId=version["VersionId"])
            after = None
            if page["IsTruncated"]:
                after = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    def presign(self, key: str, *, seconds: int) -> str:
        """Give a URL that downloads an object without credentials for so long."""
        parameters = {"Bucket": self._bucket, "Key": key}
        return self._client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds)

    def read(self, key: str) -> bytes:
        """Read a whole object, which must be small.

        Raises:
            Gone: somebody has deleted it.
        """
        try:
            return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                raise Gone(key) from error
            raise

    def _put(self, job: Job, key: str, content_type: str, body: bytes | IO[bytes], digest: bytes) -> None:
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=body,
                ContentType=content_type,
                CacheControl=NEVER_CHANGES,
                Metadata={"job-id": job.id, "prediction-id": job.prediction_id or ""},
                IfNoneMatch="*",
                # S3 computes it too, and takes nothing else.
                ChecksumSHA256=base64.b64encode(digest).decode(),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == _TAKEN:
                raise _AlreadyThere from error
            raise

    def _describe(self, job: Job, key: str) -> StoredFile:
        """Learn from an object what `put` would have said of it."""
        answer = self._client.get_object(Bucket=self._bucket, Key=key)
        if answer["Metadata"].get("prediction-id") != (job.prediction_id or ""):
            answer["Body"].close()
            raise Foreign(key)
        with answer["Body"] as body:
            digest, length, head = hashlib.sha256(), 0, b""
            while part := body.read(PART):
                head = head or part[:HEAD_BYTES]
                digest.update(part)
                length += len(part)
        n = int(key.rpartition("/")[2].partition(".")[0])
        return _stored(n, key, sniff(head), length, digest.hexdigest())


class _AlreadyThere(Exception):
    """There is an object under this key."""


def _stored(n: int, key: str, media: Media, length: int, sha256: str) -> StoredFile:
    return StoredFile(
        n=n,
        key=key,
        content_type=media.content_type,
        bytes=length,
        sha256=sha256,
        width=media.width,
        height=media.height,
    )
