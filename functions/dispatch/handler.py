"""Consumes DispatchQueue: starts queued jobs, at the pace that Replicate allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.consumer import consume
from shared.dispatch_queue import parse_order
from shared.logs import get_logger
from shared.services import dispatch

if TYPE_CHECKING:
    from collections.abc import Mapping


def run(message: Mapping[str, Any]) -> None:
    """Start one job, or send its order again."""
    order = parse_order(message["body"])
    get_logger().append_keys(job_id=order.job_id)
    dispatch().dispatch(order)


handler = consume(run)
