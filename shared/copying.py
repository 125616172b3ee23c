"""Copying outputs into the bucket: several at a time, in flat memory and bounded temporary storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from shared.errors import OutputError
from shared.fetch import open_output

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shared.fetch import Rules
    from shared.file_store import FileStore
    from shared.job import Job, StoredFile

SHARED_BYTES = 32 * 1024 * 1024  # of an output that is copied beside others: four leave room for one of any size


class Copier:
    """Copies what outputs name."""

    def __init__(self, files: FileStore, rules: Rules, *, at_once: int) -> None:
        """`at_once` is how many outputs of a job are copied at the same time; most of a copy is spent waiting."""
        self._files = files
        self._rules = rules
        self._at_once = at_once

    def copy(self, job: Job, sources: Mapping[int, str]) -> Iterator[tuple[int, StoredFile | OutputError]]:
        """Copy outputs, and give of each its file, or why there is none; the large ones come last, one by one."""
        if len(sources) == 1 or self._at_once == 1:
            for n, source in sources.items():
                yield n, self._copy_one(job, n, source)
            return
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most jobs have one image

        with ThreadPoolExecutor(self._at_once) as pool:
            copying = {n: pool.submit(self._copy_one, job, n, source, SHARED_BYTES) for n, source in sources.items()}
        for n, copied in copying.items():
            result = copied.result()
            yield n, self._copy_one(job, n, sources[n]) if result is None else result

    @overload
    def _copy_one(self, job: Job, n: int, source: str) -> StoredFile | OutputError: ...
    @overload
    def _copy_one(self, job: Job, n: int, source: str, most_bytes: int) -> StoredFile | OutputError | None: ...
    def _copy_one(
        self, job: Job, n: int, source: str, most_bytes: int | None = None
    ) -> StoredFile | OutputError | None:
        """Copy one output, or give why not; None if it is larger than `most_bytes`, or may be."""
        try:
            with open_output(source, self._rules) as download:
                if most_bytes is not None and (download.length is None or download.length > most_bytes):
                    return None
                return self._files.put(job, n, download)
        except OutputError as error:
            return error
