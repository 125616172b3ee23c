"""Calls to AWS, counted as they leave."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from shared.upstream_limit import PK
from tests.support.world import aws_session

LIMIT = "limit"  # towards Replicate: an item of its own
TABLES = {"afterimage-JobsTable": "jobs", "afterimage-AccountsTable": "accounts"}


@contextmanager
def counted() -> Iterator[list[str]]:
    """Give the calls that clients of the world's session make from now on, such as `s3 PutObject`."""
    calls: list[str] = []

    def note(model: Any, params: Mapping[str, Any], **_: Any) -> None:
        calls.append(_named(model.service_model.service_name, model.name, params["body"]))

    events = aws_session().events
    events.register("before-call", note, unique_id="counted")
    # Clients have what was registered when they were made: the functions' are to be made after this.
    yield calls
    events.unregister("before-call", note, unique_id="counted")


def _named(service: str, operation: str, body: Any) -> str:
    if service != "dynamodb":
        return f"{service} {operation}"
    document = json.loads(body)
    if operation == "TransactWriteItems":
        parts = [(name, item) for one in document["TransactItems"] for name, item in one.items()]
        return "dynamodb " + " + ".join(f"{name} {TABLES[item['TableName']]}" for name, item in parts)
    if operation == "BatchGetItem":
        return "dynamodb BatchGet " + ", ".join(TABLES[name] for name in document["RequestItems"])
    is_limit = document.get("Key") == {"pk": {"S": PK}}
    return f"dynamodb {operation.removesuffix('Item')} {LIMIT if is_limit else TABLES[document['TableName']]}"
