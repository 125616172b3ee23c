"""Consumes DispatchQueue: starts queued jobs, at the pace that Replicate allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.consumer import consume
from shared.dispatch_queue import parse_order
from shared.services import dispatch

if TYPE_CHECKING:
    from collections.abc import Mapping


def run(message: Mapping[str, Any]) -> None:
    """Start one job, or send its order again."""
    dispatch().dispatch(parse_order(message["body"]))


handler = consume(run)
