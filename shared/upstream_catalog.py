"""What Replicate says of its models, versions and deployments: kept, so that few requests ask it, and outages pass."""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.dynamo import plain, typed
from shared.errors import Code, Refusal, UpstreamError, UpstreamRefused
from shared.logs import get_logger, log_unexpected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.dynamo import Dynamo
    from shared.job import Millis
    from shared.replicate_api import ReplicateApi

HOUR_MS = 3_600_000
FRESH_MS = HOUR_MS
VERSION_FRESH_MS = 30 * 24 * HOUR_MS  # a version never changes; it can only be deleted
MISSING_MS = 60_000  # how long "there is none" is believed
STALE_MS = 60 * 24 * HOUR_MS  # how long an old answer stands in for one that cannot be had
LARGEST = 300_000  # characters; an item holds 400 KB
RETRY_S = 10.0
MOST_KEPT = 100  # answers in one process; those with versions are large

type Document = Mapping[str, Any]


class UpstreamCatalog:
    """Reads Replicate's catalog by way of two caches: the process, and the table of jobs."""

    def __init__(
        self, dynamo: Dynamo, table: str, *, replicate: Callable[[], ReplicateApi], now: Callable[[], Millis]
    ) -> None:
        """`replicate` is asked for, and so imported, only when there is something to ask."""
        self._dynamo = dynamo
        self._table = table
        self._replicate = replicate
        self._now = now
        self._kept: dict[str, tuple[int, Document | None]] = {}

    def model(self, name: str) -> Document | None:
        """Give Replicate's document of a model (`owner/name`); None says that there is none.

        Names and versions become parts of URLs and keys: whoever asks has checked their form.

        Raises:
            Refusal: `upstream_unavailable`: Replicate cannot be asked, and has not been before.
        """
        return self._find(f"models/{name}", FRESH_MS, lambda api: api.model(name))

    def versions(self, name: str) -> Document | None:
        """Give the first page of a model's versions. Raises as `model` does."""
        return self._find(f"models/{name}/versions", FRESH_MS, lambda api: api.versions(name))

    def version(self, name: str, version: str) -> Document | None:
        """Give one version of a model. Raises as `model` does."""
        return self._find(f"models/{name}/versions/{version}", VERSION_FRESH_MS, lambda api: api.version(name, version))

    def deployment(self, name: str) -> Document | None:
        """Give a deployment (`owner/name`). Raises as `model` does."""
        return self._find(f"deployments/{name}", FRESH_MS, lambda api: api.deployment(name))

    def _find(self, path: str, fresh_ms: int, ask: Callable[[ReplicateApi], Document]) -> Document | None:
        now = self._now()
        until, document = self._kept.get(path, (0, None))
        if now < until:
            return document
        at, stored = self._stored(path)
        if stored is not None and now < at + fresh_ms:
            document, until = stored, at + fresh_ms
        else:
            document, until = self._ask(path, ask, stored or document)
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        self._kept[path] = until, document
        return document

    def _ask(
        self, path: str, ask: Callable[[ReplicateApi], Document], stale: Document | None
    ) -> tuple[Document | None, int]:
        """Ask Replicate, and say until when its answer, or the old one in its place, counts."""
        now = self._now()
        try:
            document = ask(self._replicate())
        except UpstreamRefused:
            return None, now + MISSING_MS
        except UpstreamError as error:
            get_logger().warning("catalog_unavailable", path=path, reason=type(error).__name__)
            if stale is not None:
                return stale, now + MISSING_MS
            detail = "Replicate cannot be asked about this model at the moment."
            raise Refusal(Code.UPSTREAM_UNAVAILABLE, detail, retry_after=RETRY_S) from error
        self._store(path, document)
        return document, now + FRESH_MS

    def _stored(self, path: str) -> tuple[int, Document | None]:
        try:
            item = self._dynamo.get(self._table, catalog_pk(path))
        except (BotoCoreError, ClientError) as error:
            log_unexpected("catalog_not_read", error)  # Replicate knows it all the same
            return 0, None
        if not item:
            return 0, None
        document: Document = json.loads(gzip.decompress(base64.b64decode(str(plain(item["document"])))))
        return int(plain(item["read_at"])), document

    def _store(self, path: str, document: Document) -> None:
        text = base64.b64encode(gzip.compress(json.dumps(document).encode())).decode()
        if len(text) > LARGEST:
            return
        now = self._now()
        item = {
            "pk": typed(catalog_pk(path)),
            "document": typed(text),
            "read_at": typed(now),
            "expires_at": typed((now + STALE_MS) // 1000),
        }
        try:
            self._dynamo.client.put_item(TableName=self._table, Item=item)
        except (BotoCoreError, ClientError) as error:
            log_unexpected("catalog_not_kept", error)  # the answer is good all the same


def catalog_pk(path: str) -> str:
    """Give the primary key of a kept answer."""
    return f"catalog#{path}"
