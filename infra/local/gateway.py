"""What API Gateway does in front of an HTTP API, for the emulator's API.

MiniStack serves an API below a path of its own and leaves out the forwarding headers and the gateway's limits.
"""

import asyncio
import json
from http import HTTPStatus

from infra.local.asgi import App, Message, Receive, Scope, Send, answer, header

# API Gateway's quota for HTTP APIs.
_MAX_BODY_BYTES = 10 * 1024 * 1024

# There it is 30 s. Here a function, which itself is stopped after 29 s, may have to wait long for its process.
_INTEGRATION_TIMEOUT_S = 180

# MiniStack starts a process for each invocation that finds none idle. Lambda has a thousand; a laptop
# queues. Webhooks have places of their own: a submit that waits for its prediction waits for them.
_PARALLEL_CALLS = 10
_PARALLEL_WEBHOOKS = 4


class HttpApi:
    """An ASGI application that is one HTTP API of the emulator, at the root of its own origin."""

    def __init__(self, emulator: App, api_id: str) -> None:
        self._emulator = emulator
        self._prefix = f"/_aws/execute-api/{api_id}/$default"
        self._calls = asyncio.Semaphore(_PARALLEL_CALLS)
        self._webhooks = asyncio.Semaphore(_PARALLEL_WEBHOOKS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI's
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await self._handle(scope, receive, send)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (header(scope, b"host") or "").rpartition(":")[0] not in {"127.0.0.1", "localhost"}:
            # No other name leads to this API, whatever a browser was made to believe.
            await _refuse(send, HTTPStatus.FORBIDDEN, "Forbidden")
            return
        body = await _read(receive)
        if body is None:
            await _refuse(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request Entity Too Large")
            return
        places = self._webhooks if scope["path"].startswith("/webhooks/") else self._calls
        async with places:
            await self._invoke(scope, body, receive, send)

    async def _invoke(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        inner = dict(scope)
        inner["path"] = self._prefix + scope["path"]
        inner["raw_path"] = self._prefix.encode() + scope["raw_path"]
        inner["headers"] = _forwarded(scope)
        request: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        response: list[Message] = []

        async def receive_read() -> Message:
            return request.pop() if request else await receive()

        async def collect(message: Message) -> None:
            response.append(message)

        try:
            async with asyncio.timeout(_INTEGRATION_TIMEOUT_S):
                await self._emulator(inner, receive_read, collect)
        except TimeoutError:
            await _refuse(send, HTTPStatus.SERVICE_UNAVAILABLE, "Service Unavailable")
            return
        if response[0]["status"] == HTTPStatus.BAD_GATEWAY:
            # MiniStack's answer for a function that raised shows the exception; the gateway does not.
            await _refuse(send, HTTPStatus.INTERNAL_SERVER_ERROR, "Internal Server Error")
            return
        for message in response:
            await send(message)


def _forwarded(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Return the request's headers with those that the gateway writes itself."""
    host, port = scope["server"]
    client = scope["client"][0] if scope.get("client") else host
    before = header(scope, b"x-forwarded-for")
    written = {
        b"x-forwarded-for": f"{before}, {client}" if before else client,
        b"x-forwarded-port": str(port),
        b"x-forwarded-proto": scope["scheme"],
    }
    kept = [(name, value) for name, value in scope["headers"] if name not in written]
    return kept + [(name, value.encode("latin-1")) for name, value in written.items()]


async def _read(receive: Receive) -> bytes | None:
    """Read the request's body; None if it is larger than the gateway takes."""
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        part: bytes = message.get("body", b"")
        size += len(part)
        if size <= _MAX_BODY_BYTES:
            parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts) if size <= _MAX_BODY_BYTES else None


async def _refuse(send: Send, status: HTTPStatus, message: str) -> None:
    await answer(send, status, "application/json", json.dumps({"message": message}, separators=(",", ":")).encode())


async def _live(receive: Receive, send: Send) -> None:
    while (event := (await receive())["type"]) != "lifespan.shutdown":
        await send({"type": f"{event}.complete"})
    await send({"type": "lifespan.shutdown.complete"})
