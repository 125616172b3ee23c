"""Consumes ArchiveQueue: files into the bucket, the end of the job, the manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.archive_queue import parse_order
from shared.consumer import consume
from shared.logs import get_logger
from shared.outages import is_outage
from shared.schedule import retry_delay
from shared.services import archive

if TYPE_CHECKING:
    from collections.abc import Mapping


def run(message: Mapping[str, Any]) -> None:
    """Finish one job.

    An outage is no fault of ours: the order is sent again, so that one of any length fills no dead-letter queue. The
    message's own id names the holder of the job's lease, also when it comes again.
    """
    parts = archive()
    order = parse_order(message["body"])
    get_logger().append_keys(job_id=order.job_id)
    lease = order.lease or message["messageId"]
    try:
        parts.archiver.archive(order, lease=lease)
    except Exception as error:
        if not is_outage(error):
            raise
        get_logger().warning("archive_postponed", job_id=order.job_id, reason=type(error).__name__, tries=order.tries)
        delay_s = retry_delay(order.tries)
        parts.queue.send_again(message["body"], lease=lease, tries=order.tries + 1, delay_s=delay_s)


handler = consume(run)
