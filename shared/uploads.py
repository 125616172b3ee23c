"""Files of callers: kept for a week below a tenant's own prefix, to be named in inputs.

A small one comes through the API. For a large one S3 is given a form that the caller sends it with; nobody tells us
when that has happened, so it is looked for whenever the file is asked for.

What is known of a file is an item in the table of jobs, not metadata of the object: one read finds it by its id, one
query and one batch list a hundred, and the table forgets it by itself. In the index by tenant these items have a
partition of their own, so that lists of jobs do not meet them. The object outlives its item by another week: a job
that was given the file may have to wait before it starts.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from shared.dynamo import ConditionFailed, Expression, plain, typed
from shared.errors import Code, InvalidField, Refusal
from shared.identifiers import ids_between, is_job_id, new_job_id
from shared.job import Millis, TenantId
from shared.logs import get_logger
from shared.manifest import iso
from shared.media import sniff

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.dynamo import Dynamo, Item
    from shared.file_store import FileStore, UploadForm

LARGEST_UPLOAD = 100 * 1024 * 1024  # bytes
LARGEST_METADATA = 10_000  # bytes of JSON; a list shows that of a hundred files
KEPT_S = 7 * 86_400
FORM_S = 900
SKEW_MS = 60_000  # by which the clocks of two functions may differ
LONGEST_NAME = 255  # bytes, as with Replicate
_SEPARATORS = re.compile(r"[/\\]")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Content:
    """What the bytes of a file are; of one that went to S3 directly nobody has computed the checksums."""

    content_type: str
    size: int
    etag: str
    checksums: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Upload:
    """A file of a tenant's; without `content` nothing has been uploaded yet."""

    id: str
    tenant: TenantId
    name: str
    key: str
    metadata: Mapping[str, Any]
    created_at: Millis
    content: Content | None = None

    @property
    def expires_at(self) -> Millis:
        """From then on it is not there any more."""
        return Millis(self.created_at + KEPT_S * 1000)


@dataclass(frozen=True)
class UploadPage:
    """A page of a tenant's files, newest first; `cursor` is the id to go on after, if there is more."""

    uploads: Sequence[Upload]
    cursor: str | None


def document_of(upload: Upload, origin: str) -> dict[str, Any]:
    """Give a file as Replicate does."""
    content = upload.content
    return {
        "id": upload.id,
        "name": upload.name,
        "content_type": content.content_type if content else None,
        "size": content.size if content else None,
        "etag": content.etag if content else None,
        "checksums": dict(content.checksums) if content else {},
        "metadata": upload.metadata,
        "created_at": iso(upload.created_at),
        "expires_at": iso(upload.expires_at),
        "urls": {"get": f"{origin}/v1/files/{upload.id}"},
    }


def clean_name(given: str) -> str:
    """Give what is left of a file's name: the last part of a path, without control characters, not too long."""
    last = _SEPARATORS.split(given)[-1]
    name = "".join(character for character in last if character.isprintable()).strip()
    if not name.strip("."):
        return "file"
    if len(name.encode()) <= LONGEST_NAME:
        return name
    suffix = PurePosixPath(name).suffix[:16]
    room = LONGEST_NAME - len(suffix.encode())
    return name.removesuffix(suffix).encode()[:room].decode(errors="ignore") + suffix


def check_metadata(metadata: Any) -> Mapping[str, Any]:  # noqa: ANN401
    """Give a caller's metadata if they can be kept.

    Raises:
        Refusal: `invalid_input`.
    """
    if not isinstance(metadata, dict):
        raise invalid("metadata", "It must be a JSON object.")
    try:
        size = len(json.dumps(metadata, ensure_ascii=False, allow_nan=False).encode())
    except (ValueError, RecursionError) as error:
        raise invalid("metadata", "It is not valid JSON in UTF-8.") from error
    if size > LARGEST_METADATA:
        raise invalid("metadata", f"It has {size} bytes, and may have {LARGEST_METADATA}.")
    return metadata


def invalid(name: str, description: str) -> Refusal:
    """Refuse a request for files because of one of its fields."""
    return Refusal(Code.INVALID_INPUT, f"- {name}: {description}", (InvalidField(name, description),))


class Uploads:
    """Keeps callers' files, and finds them again for their owner only."""

    def __init__(
        self, dynamo: Dynamo, table: str, *, files: Callable[[], FileStore], now: Callable[[], Millis]
    ) -> None:
        """`files` is asked for only when an object is needed."""
        self._dynamo = dynamo
        self._table = table
        self._files = files
        self._now = now

    def keep(self, content: bytes, *, name: str, metadata: Mapping[str, Any], tenant: TenantId) -> Upload:
        """Store a file whose bytes are here; `name` is what the caller calls it."""
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        checksums = {"sha256": hashlib.sha256(content).hexdigest(), "md5": md5}
        known = Content(sniff(content).content_type, len(content), md5, checksums)
        upload = replace(self._new(name, metadata, tenant), content=known)
        self._files().put_input(upload.key, known.content_type, content)
        self._write(upload)
        get_logger().info("file_kept", file_id=upload.id, bytes=known.size)
        return upload

    def prepare(
        self, *, name: str, size: int | None, metadata: Mapping[str, Any], tenant: TenantId
    ) -> tuple[Upload, UploadForm]:
        """Make a file that has no content yet, and the form that S3 takes it with; a given `size` must be met."""
        upload = self._new(name, metadata, tenant)
        form = self._files().form(upload.key, sizes=(size or 1, size or LARGEST_UPLOAD), seconds=FORM_S)
        self._write(upload)
        get_logger().info("file_awaited", file_id=upload.id)
        return upload, form

    def find(self, file_id: str, tenant: TenantId) -> Upload | None:
        """Give a tenant's own file, unless it has expired; another tenant's looks as if it did not exist."""
        item = self._dynamo.get(self._table, _pk(file_id)) if is_job_id(file_id) else None
        upload = _decode(item) if item else None
        if upload is None or upload.tenant != tenant or upload.expires_at <= self._now():
            return None
        return self._looked_for(upload)

    def page(self, tenant: TenantId, *, limit: int, after: str | None = None) -> UploadPage:
        """Read a page of a tenant's files; files that have not been uploaded yet are left out."""
        now = self._now()
        oldest, newest = ids_between(Millis(now - KEPT_S * 1000 + 1), Millis(now + SKEW_MS))
        if after and not oldest <= after <= newest:
            return UploadPage([], None)  # DynamoDB refuses to start outside of what is asked for
        query = Expression()
        alive = query.is_between("id", oldest, newest)
        condition = f"{query.compare('tenant', '=', _partition(tenant))} AND {alive}"
        parameters = query.parameters()
        start: Any = {"ExclusiveStartKey": _cursor(tenant, after)} if after else {}
        page = self._dynamo.client.query(
            TableName=self._table,
            IndexName="by_tenant",
            KeyConditionExpression=condition,
            ExpressionAttributeNames=parameters["ExpressionAttributeNames"],
            ExpressionAttributeValues=parameters["ExpressionAttributeValues"],
            ScanIndexForward=False,
            Limit=limit,
            **start,
        )
        pks = [str(plain(item["pk"])) for item in page["Items"]]
        items = self._dynamo.get_many(self._table, pks)
        uploads = [self._looked_for(_decode(items[pk])) for pk in pks if pk in items]
        cursor: Any = page.get("LastEvaluatedKey")
        return UploadPage([one for one in uploads if one.content], str(plain(cursor["id"])) if cursor else None)

    def delete(self, upload: Upload) -> None:
        """Remove a file, the object first: what is interrupted can be repeated as long as the item is there."""
        self._files().delete(upload.key)
        self._dynamo.client.delete_item(TableName=self._table, Key={"pk": typed(_pk(upload.id))})
        get_logger().info("file_deleted", file_id=upload.id)

    def forget(self, tenant: TenantId) -> Millis | None:
        """Remove what is known of a tenant's files, for good; give until when a form can still bring one, if any can.

        What is known of that file stays until then. The objects are not touched.
        """
        now = self._now()
        open_until: Millis | None = None
        query = Expression()
        condition = query.compare("tenant", "=", _partition(tenant))
        parameters = query.parameters()
        pages = self._dynamo.client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName="by_tenant",
            KeyConditionExpression=condition,
            ExpressionAttributeNames=parameters["ExpressionAttributeNames"],
            ExpressionAttributeValues=parameters["ExpressionAttributeValues"],
        )
        for pk in [str(plain(item["pk"])) for page in pages for item in page["Items"]]:
            item = self._dynamo.get(self._table, pk)
            until = Millis(int(plain(item["created_at"])) + FORM_S * 1000) if item and "content" not in item else now
            if until > now:
                open_until = max(until, open_until or until)
            else:
                self._dynamo.delete(self._table, pk)
        return open_until

    def _new(self, name: str, metadata: Mapping[str, Any], tenant: TenantId) -> Upload:
        now = self._now()
        file_id, name = str(new_job_id(now)), clean_name(name)
        return Upload(file_id, tenant, name, f"uploads/{tenant}/{file_id}/{_safe(name)}", metadata, now)

    def _write(self, upload: Upload) -> None:
        expression = Expression()
        for name, value in _encode(upload).items():
            expression.set(name, value)
        self._dynamo.update(self._table, _pk(upload.id), expression)

    def _looked_for(self, upload: Upload) -> Upload:
        """Find out what a form has brought; it is noted once the form cannot bring anything else."""
        if upload.content is not None or (found := self._files().look(upload.key)) is None:
            return upload
        content = Content(sniff(found.head).content_type, found.size, found.etag)
        if self._now() >= upload.created_at + 2 * FORM_S * 1000:
            expression = Expression()
            expression.when(expression.is_present("pk"))
            expression.set("content", json.dumps(asdict(content)))
            try:
                self._dynamo.update(self._table, _pk(upload.id), expression)
            except ConditionFailed:
                return upload  # deleted meanwhile
        return replace(upload, content=content)


def _pk(file_id: str) -> str:
    return f"file#{file_id}"


def _partition(tenant: str) -> str:
    return f"files#{tenant}"  # no tenant is called so


def _cursor(tenant: str, file_id: str) -> dict[str, Mapping[str, Any]]:
    return {"pk": typed(_pk(file_id)), "tenant": typed(_partition(tenant)), "id": typed(file_id)}


def _safe(name: str) -> str:
    """Give a name for an object's key: its extension can tell a model what the file is."""
    path = PurePosixPath(name)
    stem = _UNSAFE.sub("_", path.stem).strip("._-")[:80] or "file"
    suffix = _UNSAFE.sub("", path.suffix)[:16].rstrip(".")
    return f"{stem}{suffix}"


def _encode(upload: Upload) -> dict[str, str | int]:
    item: dict[str, str | int] = {
        "tenant": _partition(upload.tenant),
        "id": upload.id,
        "name": upload.name,
        "key": upload.key,
        "metadata": json.dumps(upload.metadata),
        "created_at": upload.created_at,
        "expires_at": -(-upload.expires_at // 1000),  # in seconds: the table's time to live
    }
    if upload.content is not None:
        item["content"] = json.dumps(asdict(upload.content))
    return item


def _decode(item: Item) -> Upload:
    return Upload(
        id=str(plain(item["id"])),
        tenant=TenantId(str(plain(item["tenant"])).removeprefix("files#")),
        name=str(plain(item["name"])),
        key=str(plain(item["key"])),
        metadata=json.loads(item["metadata"]["S"]),
        created_at=Millis(int(plain(item["created_at"]))),
        content=Content(**json.loads(item["content"]["S"])) if "content" in item else None,
    )
