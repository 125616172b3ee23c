"""Every call that a function makes, to AWS or to Replicate, passes here, and one of them meets a fault."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from shared.dynamo import TRIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.support.world import Clock

CALL_S = 0.005
AWS_TIMEOUT_S = 5.0
REPLICATE_TIMEOUT_S = 15.0
OUTAGE_S = 600.0

READS = frozenset(
    {
        "dynamodb.get_item",
        "dynamodb.batch_get_item",
        "dynamodb.query",
        "s3.list_object_versions",
        "s3.list_objects_v2",
        "s3.get_object",
    }
    | {"ssm.get_parameters", "replicate.get", "replicate.list"}
)
TRANSACTION = "dynamodb.transact_write_items"
UPDATE = "dynamodb.update_item"
TWICE = frozenset({UPDATE, "sqs.send_message", "s3.put_object"})  # a transaction repeats under its token: once


class Died(BaseException):
    """The process is gone. No `except Exception` sees it, as no code sees its own end."""


class Misplayed(BaseException):
    """This harness is at fault; the functions must not take it for an error of AWS."""


class Fault(StrEnum):
    """What can happen at a call."""

    DIES_BEFORE = "dies-before"  # the process dies before the call
    DIES_AFTER = "dies-after"  # the process dies after the call took effect
    THROTTLED = "throttled"  # refused without effect, for longer than boto3 tries
    UNREACHABLE = "unreachable"  # no connection, no effect
    UNANSWERED = "unanswered"  # no effect, and no answer either
    TIMES_OUT = "times-out"  # it took effect, and the answer is lost
    BREAKS = "breaks"  # a 500 without effect (only Replicate; boto3 repeats it for AWS)
    REPEATED = "repeated"  # it took effect, boto3 sent it again, and the second answer is what is seen
    CONFLICT = "conflict"  # a transaction is in the way, once
    CONTENDED = "contended"  # transactions are in the way for longer than is tried
    OUTAGE = "outage"  # nobody reaches this service for ten minutes
    PAUSED = "paused"  # the process stands still for nearly as long as it may run, and the world goes on
    DUPLICATED = "duplicated"  # what triggered this is delivered once more, and worked on before this goes on
    CANCELED = "canceled"  # the owner cancels at this very moment


@dataclass(frozen=True)
class Call:
    """One call: which function made it, and what of: `dynamodb.update_item`, `replicate.create`."""

    function: str
    name: str

    @property
    def service(self) -> str:
        return self.name.partition(".")[0]

    @property
    def reads(self) -> bool:
        """Whether it has no effect."""
        return self.name in READS


@dataclass(frozen=True)
class Point:
    """One thing that goes wrong: this fault, at the call with this number."""

    call: int
    fault: Fault


ALWAYS = {Fault.DIES_BEFORE, Fault.UNREACHABLE}
BETWEEN = {Fault.PAUSED, Fault.DUPLICATED, Fault.CANCELED}
ANY_WRITE = ALWAYS | BETWEEN | {Fault.DIES_AFTER, Fault.TIMES_OUT, Fault.THROTTLED, Fault.OUTAGE}


def faults_of(call: Call) -> list[Fault]:
    """Give all faults that differ from each other at a call: a read has no effect that could come or be missing."""
    faults = set(ALWAYS) if call.reads else set(ANY_WRITE)
    if not call.reads or call.name == "dynamodb.get_item" or call.service == "replicate":
        faults |= BETWEEN
    if call.name in TWICE:
        faults.add(Fault.REPEATED)
    if call.name in {TRANSACTION, UPDATE}:
        faults |= {Fault.CONFLICT, Fault.CONTENDED}
    if call.service == "replicate":
        faults |= {Fault.BREAKS, Fault.THROTTLED} if call.reads else {Fault.BREAKS, Fault.UNANSWERED}
    return [fault for fault in Fault if fault in faults]


class Calls:
    """Counts and names all calls, and lets faults strike."""

    def __init__(self, clock: Clock, points: Iterable[Point], interrupt: Callable[[Fault], None]) -> None:
        """`interrupt` is what lets something else happen while the call waits."""
        self.log: list[Call] = []
        self.times: list[int] = []
        self.runs: list[int] = []  # of the function, to which each call belongs
        self.run = 0
        self._clock = clock
        self._faults = {point.call: point.fault for point in points}
        self._interrupt = interrupt
        self._contended = ("", 0)
        self._outage = ("", 0)

    def make(self, call: Call, perform: Callable[[], Any]) -> Any:
        """Make a call, or what becomes of it here."""
        number = len(self.log)
        self.log.append(call)
        self.times.append(self._clock())
        self.runs.append(self.run)
        self._clock.go_on(CALL_S)
        if self._contended[0] == call.name and self._contended[1] > 0:
            self._contended = (call.name, self._contended[1] - 1)
            _conflict(call)
        if self._outage[0] == call.service and self._clock() < self._outage[1]:
            _unreachable(call)
        if (fault := self._faults.get(number)) is not None:
            return self._strike(fault, call, perform)
        return perform()

    def _strike(  # noqa: C901 - one case a fault
        self, fault: Fault, call: Call, perform: Callable[[], Any]
    ) -> Any:
        timeout_s = REPLICATE_TIMEOUT_S if call.service == "replicate" else AWS_TIMEOUT_S
        match fault:
            case Fault.DIES_BEFORE:
                raise Died
            case Fault.DIES_AFTER:
                perform()
                raise Died
            case Fault.THROTTLED:
                return _throttle(call)
            case Fault.UNREACHABLE:
                _unreachable(call)
            case Fault.UNANSWERED:
                self._clock.go_on(timeout_s)
                _time_out(call)
            case Fault.TIMES_OUT:
                perform()
                self._clock.go_on(timeout_s)
                _time_out(call)
            case Fault.BREAKS:
                return httpx.Response(500, stream=httpx.ByteStream(b"oops"))
            case Fault.REPEATED:
                perform()
            case Fault.CONFLICT:
                _conflict(call)
            case Fault.CONTENDED:
                self._contended = (call.name, TRIES - 1)
                _conflict(call)
            case Fault.OUTAGE:
                self._outage = (call.service, self._clock() + round(OUTAGE_S * 1000))
                _unreachable(call)
            case Fault.PAUSED | Fault.DUPLICATED | Fault.CANCELED:
                self._interrupt(fault)
        return perform()


class Tapped:
    """A client of boto3's, or what plays one, each of whose operations is a call of `function`."""

    def __init__(
        self, client: Any, *, service: str, function: str, calls: Calls, seen: Callable[[str, Any, Any], None]
    ) -> None:
        """`seen` is told of each operation that took effect, before the function is."""
        self._client = client
        self._service = service
        self._function = function
        self._calls = calls
        self._seen = seen

    def __getattr__(self, operation: str) -> Any:
        call = Call(self._function, f"{self._service}.{operation}")

        def perform(**parameters: Any) -> Any:
            answer = getattr(self._client, operation)(**parameters)
            try:
                self._seen(call.name, parameters, answer)
            except Exception as error:
                raise Misplayed from error
            return answer

        return lambda **parameters: self._calls.make(call, partial(perform, **parameters))


def _throttle(call: Call) -> httpx.Response:
    if call.service == "replicate":
        body = b'{"detail": "Request was throttled. Your rate limit resets in ~30s."}'
        return httpx.Response(429, stream=httpx.ByteStream(body))
    if call.name == TRANSACTION:
        raise _canceled("ThrottlingError")
    code = {"dynamodb": "ProvisionedThroughputExceededException", "s3": "SlowDown"}.get(call.service, "Throttling")
    raise ClientError({"Error": {"Code": code, "Message": ""}}, call.name)


def _unreachable(call: Call) -> None:
    if call.service == "replicate":
        raise httpx.ConnectError("nobody there")
    raise EndpointConnectionError(endpoint_url=call.service)


def _time_out(call: Call) -> None:
    if call.service == "replicate":
        raise httpx.ReadTimeout("no answer")
    raise ReadTimeoutError(endpoint_url=call.service)


def _conflict(call: Call) -> None:
    if call.name == TRANSACTION:
        raise _canceled("TransactionConflict")
    raise ClientError({"Error": {"Code": "TransactionConflictException", "Message": ""}}, call.name)


def _canceled(reason: str) -> ClientError:
    error: Any = {
        "Error": {"Code": "TransactionCanceledException", "Message": ""},
        "CancellationReasons": [{"Code": reason}, {"Code": "None"}],
    }
    return ClientError(error, TRANSACTION)
