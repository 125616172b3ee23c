"""Structured logs: named events with the ids of the job and the request, never bodies, prompts or secrets."""

from __future__ import annotations

import traceback
from functools import cache

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError


@cache
def get_logger() -> Logger:
    """Give the one logger of the process; it reads its service and level from the environment at first use."""
    return Logger()


def log_unexpected(event: str, error: Exception) -> None:
    """Log an exception that nobody expected: its type and where it came from.

    Its message is left out, since messages repeat what was given: prompts, URLs, tokens.
    """
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    aws_error = error.response["Error"]["Code"] if isinstance(error, ClientError) else None
    get_logger().error(event, error=type(error).__name__, aws_error=aws_error, frames=frames)
