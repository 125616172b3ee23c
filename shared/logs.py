"""Structured logs: named events with the ids of the job and the request, never bodies, prompts or secrets."""

from __future__ import annotations

import logging
import traceback
from functools import cache
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from shared.metrics import SERVICE, Metric, embedded

if TYPE_CHECKING:
    from collections.abc import Mapping


@cache
def get_logger() -> Logger:
    """Give the one logger of the process; it reads its service and level from the environment at first use."""
    return Logger()


def log_measured(
    event: str, values: Mapping[Metric, float], *, level: int = logging.INFO, **fields: str | float | list[str] | None
) -> None:
    """Log an event that metrics are made of, whatever the level is from which other lines are written.

    `fields` go into the line, and hold the dimensions of these metrics. At the level CRITICAL nothing is logged at all:
    so says who runs parts of this elsewhere, as the command line does.
    """
    named = logging.getLogger(get_logger().name)
    if named.level >= logging.CRITICAL:
        return
    file, line, function, _ = named.findCaller(stacklevel=2)
    record = named.makeRecord(named.name, level, file, line, event, (), None, function)
    dimensions = {SERVICE: named.name} | {name: str(value) for name, value in fields.items()}
    vars(record).update(fields | embedded(values, dimensions, at=round(record.created * 1000)))
    named.handle(record)


def log_unexpected(event: str, error: Exception, **fields: str) -> None:
    """Log an exception that nobody expected: its type and where it came from.

    Its message is left out, since messages repeat what was given: prompts, URLs, tokens.
    """
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    aws_error = error.response["Error"]["Code"] if isinstance(error, ClientError) else None
    log_measured(
        event,
        {Metric.UNEXPECTED: 1},
        level=logging.ERROR,
        error=type(error).__name__,
        aws_error=aws_error,
        frames=frames,
        **fields,
    )
