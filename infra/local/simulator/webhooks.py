"""Webhooks: signed by the Standard Webhooks scheme, in order within a prediction, the terminal one tried again."""

import base64
import hashlib
import hmac
import http.client
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from infra.local.simulator.clock import Scheduler, Workers, utc_now, written
from infra.local.simulator.faults import Fault, Faults
from infra.local.simulator.outgoing import Outgoing, target
from infra.local.simulator.records import Records

RETRY_DELAYS_S = (1.0, 2.0, 4.0, 8.0, 16.0, 29.0)  # About one minute after completion.
TIMEOUT_S = 10
SENDERS = 16
WRONG_SECRET = "whsec_" + base64.b64encode(b"of another account").decode()


def sign(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Sign as the Standard Webhooks scheme does."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


@dataclass(frozen=True)
class Delivery:
    """One webhook on its way; `again` allows retries."""

    prediction_id: str
    event: str
    url: str
    body: bytes
    webhook_id: str
    fault: Fault | None = None
    attempt: int = 1
    again: bool = True

    @property
    def kind(self) -> str | None:
        """The fault it meets."""
        return self.fault.kind if self.fault else None


class Webhooks:
    """Sends them from a bounded number of threads."""

    def __init__(
        self,
        *,
        secret: str,
        scheduler: Scheduler,
        faults: Faults,
        records: Records,
        outgoing: Outgoing,
        retry_delays_s: Sequence[float] = RETRY_DELAYS_S,
    ) -> None:
        self._secret = secret
        self._scheduler = scheduler
        self._faults = faults
        self._records = records
        self._outgoing = outgoing
        self._retry_delays_s = tuple(retry_delays_s)
        self._workers = Workers("webhook", SENDERS)
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[Delivery]] = {}
        self._held: dict[str, tuple[Fault, list[Delivery]]] = {}

    def expect(self, prediction_id: str) -> None:
        """A prediction with a webhook begins; decides whether its events are held to be reversed."""
        if fault := self._faults.take("webhook", whole_prediction=True):
            with self._lock:
                self._held[prediction_id] = (fault, [])

    def send(self, prediction_id: str, event: str, url: str, body: bytes) -> None:
        """Send one, or hold it where the prediction's are to be reversed."""
        delivery = Delivery(prediction_id, event, url, body, f"msg_{secrets.token_hex(13)}")
        with self._lock:
            held = self._held.get(prediction_id)
            if held:
                held[1].append(replace(delivery, fault=held[0]))
                if event == "completed":
                    del self._held[prediction_id]
        if not held:
            self._meet_fault(delivery)
        elif event == "completed":
            self._scheduler.after(held[0].delay_s, lambda: self._queue_all(reversed(held[1])))

    def stop(self) -> None:
        """End the threads; what is under way ends with its connection."""
        self._workers.stop()
        self._workers.join(0.3)

    def _meet_fault(self, delivery: Delivery) -> None:
        fault = self._faults.take("webhook", event=delivery.event)
        delivery = replace(delivery, fault=fault)
        if fault and fault.kind == "lost":
            self._record(delivery, None, "lost")
        elif fault and fault.delay_s:
            self._scheduler.after(fault.delay_s, lambda: self._queue(delivery))
        else:
            self._queue(delivery)

    def _queue_all(self, deliveries: Iterable[Delivery]) -> None:
        for delivery in deliveries:
            self._queue(delivery)

    def _queue(self, delivery: Delivery) -> None:
        """One at a time within a prediction, so that order is kept unless a fault breaks it."""
        with self._lock:
            waiting = self._waiting.setdefault(delivery.prediction_id, deque())
            idle = not waiting
            waiting.append(delivery)
            if delivery.kind == "doubled" and delivery.attempt == 1:
                waiting.append(replace(delivery, again=False))
        if idle:
            self._workers.submit(lambda: self._send_next(delivery.prediction_id))

    def _send_next(self, prediction_id: str) -> None:
        with self._lock:
            delivery = self._waiting[prediction_id][0]
        try:
            self._attempt(delivery)
        finally:
            with self._lock:
                waiting = self._waiting[prediction_id]
                waiting.popleft()
                if not waiting:
                    del self._waiting[prediction_id]
            if waiting:
                self._workers.submit(lambda: self._send_next(prediction_id))

    def _attempt(self, delivery: Delivery) -> None:
        sent_at = written(utc_now())
        try:
            status, error = self._post(delivery), None
        except (OSError, http.client.HTTPException, ValueError) as failure:
            status, error = None, f"{type(failure).__name__}: {failure}"
        self._record(delivery, status, error, sent_at)
        failed = status is None or status >= http.HTTPStatus.BAD_REQUEST
        left = self._retry_delays_s[delivery.attempt - 1 :]
        if delivery.event == "completed" and delivery.again and failed and left:
            again = replace(delivery, attempt=delivery.attempt + 1)
            self._scheduler.after(left[0], lambda: self._queue(again))

    def _post(self, delivery: Delivery) -> int:
        url = urlsplit(delivery.url)
        secret = WRONG_SECRET if delivery.kind == "forged" else self._secret
        timestamp = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Replicate-Simulator",
            "webhook-id": delivery.webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(secret, delivery.webhook_id, timestamp, delivery.body),
        }
        with self._outgoing.connection(url, TIMEOUT_S) as connection:
            connection.request("POST", target(url), body=delivery.body, headers=headers)
            response = connection.getresponse()
            response.read()
            return response.status

    def _record(self, delivery: Delivery, status: int | None, error: str | None, at: str | None = None) -> None:
        self._records.webhook(
            at=at or written(utc_now()),
            prediction_id=delivery.prediction_id,
            event=delivery.event,
            url=delivery.url,
            webhook_id=delivery.webhook_id,
            attempt=delivery.attempt,
            status=status,
            error=error,
            fault=delivery.kind,
        )
