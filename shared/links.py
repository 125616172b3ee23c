"""Links to stored files: ours, signed, and good for days, while what they lead to is signed anew each time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.signatures import equal, sign_link

if TYPE_CHECKING:
    from shared.job import Job, Millis, StoredFile

DAY_S = 86_400


class FileLinks:
    """Makes and checks links, and knows how long files live."""

    def __init__(self, *, key: str, link_days: int, retention_days: int) -> None:
        """`link_days` is how long a link works, `retention_days` how long files are kept (0: for good)."""
        self._key = key
        self._link_days = link_days
        self._retention_days = retention_days

    def url(self, origin: str, job: Job, file: StoredFile, now: Millis) -> str:
        """Give the link to a file; it stays the same until the UTC day ends."""
        # Rounded up to a whole day, so that an answer does not change with every second.
        expires = (now // 1000 // DAY_S + self._link_days + 1) * DAY_S
        signature = sign_link(self._key, job.id, file.name, expires)
        return f"{origin}/files/{job.id}/{file.name}?e={expires}&s={signature}"

    def is_valid(self, job_id: str, name: str, expires: str, signature: str, now: Millis) -> bool:
        """Say whether a link is ours and still works."""
        if not expires.isascii() or not expires.isdecimal() or len(expires) > len(str(2**53)):
            return False
        genuine = equal(sign_link(self._key, job_id, name, int(expires)), signature)
        return genuine and now < int(expires) * 1000

    def are_expired(self, job: Job, now: Millis) -> bool:
        """Say whether the files of a finished job have reached the end of their life."""
        if not self._retention_days or job.completed_at is None:
            return False
        return now >= job.completed_at + self._retention_days * DAY_S * 1000
