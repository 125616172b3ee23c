"""What real DynamoDB does under contention and moto never: refuse because of a transaction that is going on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from botocore.awsrequest import AWSResponse

from tests.support.world import World


class Conflicts:
    """Lets the first calls of an operation meet a conflict: so many `times`, or always; `met` counts them."""

    def __init__(
        self, world: World, operation: str, *, times: float = float("inf"), reason: str = "TransactionConflict"
    ) -> None:
        self.met = 0
        self._events = world.dynamodb.meta.events
        self._name = f"before-call.dynamodb.{operation}"
        self._times = times
        self._answer: dict[str, Any] = {"Error": {"Code": "TransactionConflictException", "Message": ""}}
        if operation == "TransactWriteItems":
            self._answer = {
                "Error": {"Code": "TransactionCanceledException", "Message": "Transaction cancelled"},
                "CancellationReasons": [{"Code": reason, "Message": "Transaction is ongoing"}, {"Code": "None"}],
            }

    def __enter__(self) -> Self:
        self._events.register_first(self._name, self._meet)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._events.unregister(self._name, self._meet)

    def _meet(self, **_: Any) -> Any:
        if self.met >= self._times:
            return None
        self.met += 1
        return AWSResponse("", 400, {}, None), self._answer  # type: ignore[arg-type]


@contextmanager
def listening(world: World, event: str, listener: Callable[..., Any]) -> Iterator[None]:
    """Let a listener hear botocore's events of this kind while the block runs."""
    world.dynamodb.meta.events.register(event, listener)
    try:
        yield
    finally:
        world.dynamodb.meta.events.unregister(event, listener)
