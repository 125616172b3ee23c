"""Runs every minute: looks after whatever has been silent too long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.logs import get_logger
from shared.services import reconcile

if TYPE_CHECKING:
    from collections.abc import Mapping


def handler(event: Mapping[str, Any], context: Any) -> dict[str, int]:  # noqa: ANN401, ARG001
    """Go through the due index, for as long as the function may run, and say how many jobs were looked after."""
    left_s = context.get_remaining_time_in_millis() / 1000
    looked_after = reconcile().run(seconds=left_s)
    get_logger().info("reconciled", looked_after=looked_after)
    return {"looked_after": looked_after}
