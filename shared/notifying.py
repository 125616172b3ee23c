"""Calling callers' own webhooks: signed by the Standard Webhooks scheme, with what `GET` would answer now."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared import schedule
from shared.dynamo import Expression
from shared.errors import AddressRefused, AddressUnavailable, Unheard
from shared.logs import get_logger
from shared.notify_queue import COMPLETED, START
from shared.outgoing import Patience, opened
from shared.signatures import decode_secret, sign_webhook

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.accounts import Accounts
    from shared.addresses import Places
    from shared.dynamo import Dynamo
    from shared.job import Job, Millis
    from shared.job_store import JobStore
    from shared.notify_queue import Notice
    from shared.views import Views

PATIENCE = Patience(connect_s=5, read_s=10, total_s=10)
LITTLE_PATIENCE = Patience(connect_s=1, read_s=2, total_s=2)
WARY_S = 30  # with an endpoint that kept us waiting in vain, so that it does not keep everybody else waiting
MOST_WARY = 1_000  # endpoints that a process remembers
FRESH_S = 60  # after which nobody wants to hear any more that something has started, or gone on
HEARD_S = 14 * 86_400  # as long as a message can live
_GONE = 410  # the receiver's word for: never again


class Notifier:
    """Tells callers."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        heard: Heard,
        accounts: Accounts,
        views: Views,
        origin: str,
        places: Places,
        now: Callable[[], Millis],
        patience: Patience = PATIENCE,
        little_patience: Patience = LITTLE_PATIENCE,
    ) -> None:
        """`origin` is ours, for the links in what is told; `places` are where callers may have us call.

        There is little patience with an endpoint that was waited for in vain a moment ago.
        """
        self._jobs = jobs
        self._heard = heard
        self._accounts = accounts
        self._views = views
        self._origin = origin
        self._places = places
        self._now = now
        self._patience = patience
        self._little_patience = little_patience
        self._wary: dict[str, Millis] = {}

    def notify(self, notice: Notice) -> None:
        """Make one call about a job, if its caller wants it and has not heard it yet.

        A receiver that refuses for good (410), or may not be called, is not called again.

        Raises:
            Unheard: it was not heard, and is to be told again.
        """
        job = self._jobs.get(notice.job_id)
        if job is None or job.webhook is None or not self._is_wanted(notice, job) or self._heard.has(notice):
            return
        try:
            status = self._call(notice, job, job.webhook)
        except AddressRefused as refused:
            get_logger().warning("notify_forbidden", job_id=job.id, reason=f"the URL {refused}")
        except Unheard as unheard:
            get_logger().warning("notify_failed", job_id=job.id, webhook_event=notice.event, reason=str(unheard))
            if notice.event == COMPLETED:
                raise
        else:
            get_logger().info("notified", job_id=job.id, webhook_event=notice.event, status=status)
            self._heard.add(notice)

    def _is_wanted(self, notice: Notice, job: Job) -> bool:
        if job.deleted_at is not None or notice.event not in job.webhook_events:
            return False
        if notice.event == COMPLETED:
            return job.ended
        if notice.event != START and job.ended:
            return False  # the end says more
        return notice.at is not None and self._now() <= schedule.after(notice.at, FRESH_S)

    def _call(self, notice: Notice, job: Job, url: str) -> int:
        """Give the status of an answer that settles it."""
        keys = [decode_secret(one) for one in self._accounts.webhook_secrets(job.tenant)]
        if not keys:
            raise Unheard("the tenant has no secret to sign with")
        body = json.dumps(self._views.replicate(job, self._origin).document, ensure_ascii=False).encode()
        webhook_id, timestamp = notice.webhook_id, self._now() // 1000
        signatures = [sign_webhook(key, webhook_id=webhook_id, timestamp=timestamp, body=body) for key in keys]
        headers = {
            "content-type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(signatures),
        }
        status = self._post(url, f"{job.tenant} {urlsplit(url).netloc}", headers, body)
        if status // 100 != 2 and status != _GONE:  # noqa: PLR2004
            raise Unheard(f"the receiver answered {status}")
        return status

    def _post(self, url: str, endpoint: str, headers: dict[str, str], body: bytes) -> int:
        began = self._now()
        is_wary = began < self._wary.get(endpoint, 0)
        patience = self._little_patience if is_wary else self._patience
        try:
            # Of the answer nothing is read but its status.
            with opened("POST", url, self._places, patience, headers=headers, body=body) as response:
                return response.status
        except AddressUnavailable as error:
            # An endpoint that was given little time says nothing about one that has enough of it.
            if not is_wary and self._now() - began > self._little_patience.total_s * 1000:
                if len(self._wary) >= MOST_WARY:
                    self._wary.clear()
                self._wary[endpoint] = schedule.after(self._now(), WARY_S)
            raise Unheard(f"the URL {error}") from error


class Heard:
    """Remembers what was heard, so that a message that comes twice is not told twice."""

    def __init__(self, dynamo: Dynamo, table: str, *, now: Callable[[], Millis]) -> None:
        """Work on the table of jobs, beside them."""
        self._dynamo = dynamo
        self._table = table
        self._now = now

    def has(self, notice: Notice) -> bool:
        """Say whether it was heard."""
        return self._dynamo.get(self._table, _heard_pk(notice)) is not None

    def add(self, notice: Notice) -> None:
        """Remember it for as long as its message can come again."""
        expression = Expression()
        expression.set("expires_at", self._now() // 1000 + HEARD_S)
        self._dynamo.update(self._table, _heard_pk(notice), expression)

    def forget(self, notice: Notice) -> None:
        """Have it told again, when its message comes."""
        self._dynamo.delete(self._table, _heard_pk(notice))


def _heard_pk(notice: Notice) -> str:
    return f"heard#{notice.webhook_id}"
