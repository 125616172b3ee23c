"""The emulator of AWS with a meter on its wire: which function asked for what, and what DynamoDB would charge for it.

Functions sign with credentials of their own, so that each request says who sent it. What the emulator does within
itself (reading queues for functions, telling of objects, running the schedule) is no request, and is not counted; on
AWS it is done by AWS too.
"""

from __future__ import annotations

import json
import os
import re
from contextvars import ContextVar
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from threading import Lock
from typing import TYPE_CHECKING, Any

from infra.local import emulator
from infra.local.asgi import answer, header

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from infra.local.asgi import App, Message, Receive, Scope, Send

    type Handler = Callable[[str, str, Mapping[str, str], bytes, Any], Awaitable[tuple[int, Any, Any]]]

METER = "/_meter"
COUNTS = ("calls", "refused", "write_units", "read_units")
_CREDENTIAL = re.compile(r"Credential=(?P<key>[^/]+)/\d+/[^/]+/(?P<service>[^/]+)/")
_READS = frozenset({"GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems"})
_READ_BYTES = 4096


@dataclass
class Asked:
    """A request of a function, and what came of it; units are DynamoDB's request units."""

    who: str
    service: str
    operation: str
    table: str = ""
    write_units: float = 0.0
    read_units: float = 0.0
    is_refused: bool = False

    @property
    def name(self) -> str:
        """Give what was asked for, such as `dynamodb UpdateItem jobs`."""
        return " ".join(filter(None, (self.service, self.operation, self.table)))


_asked: ContextVar[Asked | None] = ContextVar("asked", default=None)


class Meter:
    """Counts the requests of functions."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._functions: dict[str, str] = {}  # by their access keys
        self._counts: dict[str, dict[str, dict[str, float]]] = {name: {} for name in COUNTS}

    def know(self, access_key: str, function: str) -> None:
        """Learn whose credentials these are."""
        self._functions[access_key] = function

    def recognise(self, scope: Scope) -> Asked | None:
        """Say what a function asks for; None if it is somebody else, such as a caller with a signed link."""
        credential = _CREDENTIAL.search(header(scope, b"authorization") or "")
        if credential is None or (who := self._functions.get(credential["key"])) is None:
            return None
        target = header(scope, b"x-amz-target")
        return Asked(who, credential["service"], target.rpartition(".")[2] if target else scope["method"])

    def note(self, asked: Asked) -> None:
        """Count a request that was answered."""
        with self._lock:
            for name, more in zip(COUNTS, (1, asked.is_refused, asked.write_units, asked.read_units), strict=True):
                counts = self._counts[name].setdefault(asked.who, {})
                counts[asked.name] = counts.get(asked.name, 0) + more

    def shown(self) -> bytes:
        """Give all counts since the start, as JSON."""
        with self._lock:
            return json.dumps(self._counts).encode()


def metered(app: App, meter: Meter) -> App:
    """Wrap the emulator, so that a meter sees what functions ask of it; the meter is read at a path of its own."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == METER:
            await answer(send, HTTPStatus.OK, "application/json", meter.shown())
            return
        asked = meter.recognise(scope) if scope["type"] == "http" else None
        if asked is None:
            await app(scope, receive, send)
            return

        async def see(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= HTTPStatus.BAD_REQUEST:
                asked.is_refused = True
            await send(message)

        token = _asked.set(asked)
        try:
            await app(scope, receive, see)
        finally:
            _asked.reset(token)
            meter.note(asked)

    return handle


def with_units(handle: Handler, size_of: Callable[[Any], int]) -> Handler:
    """Wrap the emulator's DynamoDB, so that it says what AWS would charge for a request.

    Writes it can tell itself, when it is asked for it. Of reads it tells one size, so theirs are computed from what
    was found. Where a condition does not hold, AWS charges too, and this does not: such requests are counted apart.
    """

    async def handle_with_units(
        method: str, path: str, headers: Mapping[str, str], body: bytes, query: object, /
    ) -> tuple[int, Any, Any]:
        asked = _asked.get()
        if asked is None:
            return await handle(method, path, headers, body, query)
        request = json.loads(body)
        asked.table = _table(request)
        if asked.operation not in _READS:
            body = json.dumps(request | {"ReturnConsumedCapacity": "TOTAL"}).encode()
        status, answered, content = await handle(method, path, headers, body, query)
        document = json.loads(content)
        if asked.operation not in _READS:
            asked.write_units = write_units(document)
        elif status == HTTPStatus.OK:
            asked.read_units = read_units(request, document, size_of)
        return status, answered, content

    return handle_with_units


def write_units(document: Mapping[str, Any]) -> float:
    """Add up what an answer says was consumed: of one table, or of those of a transaction."""
    consumed = document.get("ConsumedCapacity", [])
    return sum(float(one["CapacityUnits"]) for one in (consumed if isinstance(consumed, list) else [consumed]))


def read_units(request: Mapping[str, Any], document: Mapping[str, Any], size_of: Callable[[Any], int]) -> float:
    """Compute what a read takes: a unit for each 4 KB, half of it where it need not be the latest.

    Items are rounded up one by one, those of a query together.
    """
    if "RequestItems" in request:
        return sum(
            _units(size_of(item) for item in document["Responses"].get(table, ())) * _factor(wanted)
            for table, wanted in request["RequestItems"].items()
        )
    if "Items" in document:
        return _units([sum(size_of(item) for item in document["Items"])]) * _factor(request)
    return _units([size_of(document.get("Item", {}))]) * _factor(request)


def _units(sizes: Iterable[int]) -> int:
    return sum(max(1, ceil(size / _READ_BYTES)) for size in sizes)


def _factor(request: Mapping[str, Any]) -> float:
    return 1.0 if request.get("ConsistentRead") else 0.5


def _table(request: Mapping[str, Any]) -> str:
    """Name the table that a request is about, as short as it is in the template; none where there may be several."""
    name = str(request.get("TableName") or next(iter(request.get("RequestItems", {})), ""))
    return "jobs" if "JobsTable" in name else "accounts" if "AccountsTable" in name else ""


def main() -> None:
    """Serve as the emulator does."""
    # What is measured is how processes work, not how they start: those that have started stay.
    os.environ["LAMBDA_WARM_TTL_SECONDS"] = "3600"
    from ministack.services import dynamodb, sts  # noqa: PLC0415 - as late as the emulator itself imports them

    meter = Meter()
    register, as_aws = sts.register_session, emulator.as_aws

    def register_and_know(access_key: str, session: dict[str, Any]) -> None:
        meter.know(access_key, str(session["Arn"]).rpartition("-")[2])
        register(access_key, session)

    sts.register_session = register_and_know
    dynamodb.handle_request = with_units(dynamodb.handle_request, dynamodb._item_size_bytes)  # noqa: SLF001
    emulator.as_aws = lambda app: metered(as_aws(app), meter)
    emulator.main()


if __name__ == "__main__":
    main()
