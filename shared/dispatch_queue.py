"""DispatchQueue: jobs that wait to be started, and how they are written down in a message."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING, Any

from shared.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_sqs import SQSClient

    from shared.job import Job

LARGEST_BATCH = 10  # messages in one call
LONGEST_DELAY_S = 900  # SQS delays no message longer


@dataclass(frozen=True)
class DispatchOrder:
    """Start this job, unless more than `attempt` attempts have been claimed since the message was sent."""

    job_id: str
    tenant: str
    attempt: int


class DispatchQueue:
    """Sends orders."""

    def __init__(self, client: SQSClient, url: str) -> None:
        """Work on one queue."""
        self._client = client
        self._url = url

    def send(self, order: DispatchOrder, *, delay_s: float) -> None:
        """Order that a job is started, not before so many seconds have passed."""
        self._client.send_message(
            QueueUrl=self._url,
            MessageBody=_write(order),
            DelaySeconds=min(max(0, math.ceil(delay_s)), LONGEST_DELAY_S),
            # On a standard queue a group does not order, but keeps one tenant's backlog from delaying the others.
            MessageGroupId=order.tenant,
        )

    def send_all(self, orders: Sequence[DispatchOrder]) -> None:
        """Order that many jobs are started. What SQS does not take is left to the due index."""
        for part in batched(orders, LARGEST_BATCH, strict=False):
            entries: Any = [
                {"Id": str(n), "MessageBody": _write(order), "MessageGroupId": order.tenant}
                for n, order in enumerate(part)
            ]
            answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
            if failed := answer.get("Failed"):
                get_logger().warning("dispatch_not_sent", count=len(failed))


def _write(order: DispatchOrder) -> str:
    body = {"job_id": order.job_id, "tenant": order.tenant, "attempt": order.attempt}
    return json.dumps(body, separators=(",", ":"))


def order_for(job: Job) -> DispatchOrder:
    """Give the order to start a queued job."""
    return DispatchOrder(job.id, job.tenant, job.attempt)


def parse_order(body: str) -> DispatchOrder:
    """Read a message.

    Raises:
        ValueError, KeyError: it is none of ours.
    """
    message = json.loads(body)
    return DispatchOrder(message["job_id"], message["tenant"], int(message["attempt"]))
