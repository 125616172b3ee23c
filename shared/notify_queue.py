"""NotifyQueue: what callers' webhooks are to be told, and when a call that failed is made again."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.job import Millis

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

START, OUTPUT, LOGS, COMPLETED = "start", "output", "logs", "completed"
DELAYS_S = (5, 30, 120, 300, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 28_800)
"""How long after each call that failed the next one is made: a day in all. Then the message is a dead letter."""
SPREAD = 0.1  # of a delay, either way, so that what failed together does not come again together
_MANIFEST = re.compile(r"jobs/[^/]+/([^/]+)/manifest\.json")


@dataclass(frozen=True)
class Notice:
    """Something that the caller of a job may want to hear of.

    `completed` is told until it is heard; anything else, which has happened `at` a time, is told once.
    """

    job_id: str
    event: str
    at: Millis | None = None

    @property
    def webhook_id(self) -> str:
        """What the receiver can tell repetitions by: the same for every call about this."""
        # No full stop, which separates what is signed. Only these happen more than once.
        when = f"_{self.at}" if self.event in {OUTPUT, LOGS} else ""
        return f"msg_{self.job_id}_{self.event}{when}"


class NotifyQueue:
    """Sends notices, and puts off those that were not heard."""

    def __init__(self, client: SQSClient, url: str) -> None:
        """Work on one queue."""
        self._client = client
        self._url = url

    def send(self, notice: Notice, *, tenant: str) -> None:
        """Have a caller told."""
        body = {"job_id": notice.job_id, "event": notice.event, "at": notice.at}
        self._client.send_message(
            QueueUrl=self._url,
            MessageBody=json.dumps(body, separators=(",", ":")),
            # On a standard queue a group does not order, but keeps one tenant's many notices from delaying the others.
            MessageGroupId=tenant,
        )

    def put_off(self, receipt_handle: str, received: int) -> None:
        """Have a message come again later, or, once it has been received often enough, become a dead letter."""
        self._client.change_message_visibility(
            QueueUrl=self._url, ReceiptHandle=receipt_handle, VisibilityTimeout=delay_after(received)
        )


def delay_after(received: int) -> int:
    """Give the seconds from the `received`th call that failed to the next one; 0 after the last."""
    if received > len(DELAYS_S):
        return 0
    return round(DELAYS_S[max(0, received - 1)] * random.SystemRandom().uniform(1 - SPREAD, 1 + SPREAD))


def parse_notice(body: str) -> Notice | None:
    """Read a message: a notice of ours, or S3's event of a manifest; None for S3's event of anything else.

    Raises:
        ValueError, KeyError, TypeError: it is neither.
    """
    message = json.loads(body)
    if "job_id" in message:
        at = message["at"]
        return Notice(message["job_id"], message["event"], None if at is None else Millis(int(at)))
    found = _MANIFEST.fullmatch(message["detail"]["object"]["key"])
    # Callers' uploads are in the same bucket, under names that they choose.
    return Notice(found[1], COMPLETED) if found else None
