"""Consumes NotifyQueue: callers' own webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.consumer import Postponed, consume
from shared.logs import get_logger
from shared.notify_queue import parse_notice
from shared.outages import is_outage
from shared.services import notify

if TYPE_CHECKING:
    from collections.abc import Mapping


def run(message: Mapping[str, Any]) -> None:
    """Tell one caller; what was not heard comes again, later each time."""
    notice = parse_notice(message["body"])
    if notice is None:
        return
    get_logger().append_keys(job_id=notice.job_id)
    parts = notify()
    try:
        parts.notifier.notify(notice)
    except Exception as error:
        if not is_outage(error):
            raise
        parts.queue.put_off(message["receiptHandle"], int(message["attributes"]["ApproximateReceiveCount"]))
        raise Postponed from error


handler = consume(run)
