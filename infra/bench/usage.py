"""What one job uses of AWS: calls, counted as they leave, and DynamoDB's units, computed from the real items."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from tests.support.world import World, aws_session

READS = {"GetItem", "BatchGetItem", "Query"}
INDEXES = {"by_tenant": ("tenant", "id", "status", "kind", "batch_id", "fingerprint"), "due": ("due_shard", "due_at")}
KEYS = {"by_tenant": ("tenant", "id"), "due": ("due_shard", "due_at")}

type Item = Mapping[str, Mapping[str, Any]]


@dataclass
class Call:
    """One request to AWS; units are DynamoDB's request units, `parts` says which kind of item or index is written."""

    service: str
    operation: str
    touches: str = ""
    write_units: int = 0
    read_units: float = 0
    parts: dict[str, int] = field(default_factory=dict)


class _Meter:
    def __init__(self, world: World, calls: list[Call]) -> None:
        self._world = world
        self._calls = calls
        self._before: dict[tuple[str, str], Item] = {}
        self._is_looking = False

    def before(self, model: Any, params: Mapping[str, Any], **_: Any) -> None:  # noqa: ANN401
        if self._is_looking:
            return
        service, operation = model.service_model.service_name, model.name
        call = Call(service, operation)
        self._calls.append(call)
        if service != "dynamodb":
            return
        document = json.loads(params["body"])
        call.touches = " + ".join(self._named(table) for table, _ in _keys(document)) or self._named(
            document.get("TableName", "")
        )
        self._before = {key: self._item(*key) for key in _keys(document)}
        if operation in READS:
            # All reads of a caller's path are of the latest state, of items below 4 KB.
            call.read_units = max(1, len(self._before))

    def after(self, model: Any, **_: Any) -> None:  # noqa: ANN401
        if self._is_looking or model.service_model.service_name != "dynamodb" or model.name in READS:
            return
        factor = 2 if model.name == "TransactWriteItems" else 1
        for key, before in self._before.items():
            now = self._item(*key)
            units = {key[1].split("#")[0]: factor * max(1, ceil(max(size_of(before), size_of(now)) / 1024))}
            units |= {name: _index_units(name, before, now) for name in INDEXES}
            call = self._calls[-1]
            call.write_units += sum(units.values())
            call.parts |= {part: call.parts.get(part, 0) + each for part, each in units.items() if each}

    def _named(self, table: str) -> str:
        return "jobs" if table == self._world.jobs_table else "accounts"

    def _item(self, table: str, pk: str) -> Item:
        self._is_looking = True
        try:
            found = self._world.dynamodb.get_item(TableName=table, Key={"pk": {"S": pk}})
        finally:
            self._is_looking = False
        return found.get("Item", {})


@contextmanager
def metered(world: World) -> Iterator[list[Call]]:
    """Give the calls that clients of the world's session make from now on; the functions' must be made after this."""
    calls: list[Call] = []
    meter, events = _Meter(world, calls), aws_session().events
    events.register("before-call", meter.before, unique_id="meter-before")
    events.register("after-call", meter.after, unique_id="meter-after")
    try:
        yield calls
    finally:
        events.unregister("before-call", meter.before, unique_id="meter-before")
        events.unregister("after-call", meter.after, unique_id="meter-after")


def size_of(item: Item) -> int:
    """Give an item's size in bytes, as DynamoDB counts it."""
    total = 0
    for name, typed in item.items():
        ((kind, value),) = typed.items()
        length = len(value.encode()) if kind == "S" else len(str(value)) // 2 + 1
        total += len(name.encode()) + length
    return total


def _index_units(index: str, before: Item, now: Item) -> int:
    """Count the writes to an index: one for an entry that comes, goes or changes, two for one that moves."""
    old, new = ({name: item.get(name) for name in INDEXES[index]} for item in (before, now))
    keys = KEYS[index]
    was, is_there = (all(entry.get(key) for key in keys) for entry in (old, new))
    if was and is_there:
        if old == new:
            return 0
        return 1 if all(old[key] == new[key] for key in keys) else 2
    return int(was or is_there)


def _keys(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Give the table and the key of each item that a request names."""
    if "TransactItems" in document:
        parts = [part for one in document["TransactItems"] for part in one.values()]
    elif "RequestItems" in document:
        parts = [
            {"TableName": table, "Key": key}
            for table, wanted in document["RequestItems"].items()
            for key in wanted["Keys"]
        ]
    else:
        parts = [document] if "Key" in document or "Item" in document else []
    return [(part["TableName"], (part.get("Key") or part["Item"])["pk"]["S"]) for part in parts]
