"""What the simulator remembers of calls and webhooks, for tests to read."""

import threading
from typing import Any

from infra.local.simulator.clock import utc_now, written
from infra.local.simulator.faults import Fault
from infra.local.simulator.listener import Answer, Request


class Records:
    """What the control port tells."""

    def __init__(self) -> None:
        self._calls: list[dict[str, Any]] = []
        self._webhooks: list[dict[str, Any]] = []
        self._fetched: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def call(
        self, on: str | None, request: Request, answer: Answer, fault: Fault | None, *, kind: str | None = None
    ) -> None:
        """Remember a request to the API or the delivery host; `kind` tells predictions and trainings apart."""
        details = {
            "at": written(utc_now()),
            "on": on,
            "kind": kind,
            "method": request.method,
            "path": request.target,
            "status": "cut" if answer.status is None or answer.truncated else answer.status,
            "prediction_id": answer.prediction_id,
            "authorization": "authorization" in request.headers,
            "fault": fault.kind if fault else None,
        }
        with self._lock:
            self._calls.append(details)

    def webhook(self, **details: object) -> None:
        """Remember an attempt to send a webhook."""
        with self._lock:
            self._webhooks.append(details)

    def fetched(self, **details: object) -> None:
        """Remember a file of an input that was asked for."""
        with self._lock:
            self._fetched.append(details)

    def shown(self) -> dict[str, Any]:
        """List calls, webhooks, and files that were read."""
        with self._lock:
            return {"calls": list(self._calls), "webhooks": list(self._webhooks), "fetched": list(self._fetched)}

    def forget(self) -> None:
        """Start anew."""
        with self._lock:
            self._calls.clear()
            self._webhooks.clear()
            self._fetched.clear()
