"""The layer around every function that consumes a queue: messages in, the ids of those that failed out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.logs import get_logger, log_unexpected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Postponed(Exception):
    """The message is to come again, when whoever raises this has arranged that it does."""


def consume(run: Callable[[Mapping[str, Any]], None]) -> Callable[[Mapping[str, Any], Any], dict[str, Any]]:
    """Make the Lambda handler that runs each message of a batch; one that raises comes again, the others do not."""

    def handle(event: Mapping[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401, ARG001
        failed = []
        for message in event["Records"]:
            get_logger().remove_keys(["job_id"])
            get_logger().append_keys(message_id=message["messageId"])
            try:
                run(message)
            except Postponed:
                failed.append({"itemIdentifier": message["messageId"]})
            except Exception as error:  # noqa: BLE001 - whatever it is, the message must come again
                log_unexpected("message_failed", error)
                failed.append({"itemIdentifier": message["messageId"]})
        return {"batchItemFailures": failed}

    return handle
