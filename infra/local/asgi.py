"""The few shapes of ASGI that the local stack uses."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

type Scope = MutableMapping[str, Any]
type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]
type App = Callable[[Scope, Receive, Send], Awaitable[None]]


def header(scope: Scope, name: bytes) -> str | None:
    """Return the last value of a request header; ASGI has the names in lower case."""
    values: Iterable[bytes] = [value for key, value in scope["headers"] if key == name]
    return next((value.decode("latin-1") for value in reversed(list(values))), None)


async def answer(send: Send, status: int, content_type: str, body: bytes) -> None:
    """Send a whole response."""
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
