"""One prediction: what was asked for, what is known of it, and how Replicate shows it."""

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, ClassVar

from infra.local.simulator import logs
from infra.local.simulator.clock import utc_now, written
from infra.local.simulator.faults import Fault
from infra.local.simulator.schemas import Inputs, Model

DEFAULT_EVENTS = ("output", "completed")
REDACTED = "[REDACTED]"


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a create asks for; with a `destination` it is a training."""

    model: Model
    version: str
    input: Mapping[str, Any]
    webhook: str | None = None
    events: tuple[str, ...] = DEFAULT_EVENTS
    deployment: str | None = None
    destination: str | None = None
    cancel_after_s: float | None = None

    @property
    def inputs(self) -> Inputs:
        """The bounds of what may be given."""
        return self.model.inputs if self.destination is None else self.model.training or {}


def redacted(order: Order) -> tuple[Order, dict[str, str]]:
    """Take the secrets out of an input; also the SHA-256 of each."""
    names = [name for name, field in order.inputs.items() if field.secret and name in order.input]
    hashes = {name: hashlib.sha256(str(order.input[name]).encode()).hexdigest() for name in names}
    return replace(order, input={**order.input, **dict.fromkeys(names, REDACTED)}), hashes


@dataclass(kw_only=True)
class Prediction:
    """One prediction; `number` counts from 1 in the order of creation, trainings included."""

    kind: ClassVar[str] = "prediction"

    id: str
    number: int
    order: Order
    secrets: dict[str, str]
    seed: int
    api_url: str
    fault: Fault | None
    created_at: datetime = field(default_factory=utc_now)
    deadline: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    status: str = "starting"
    output: Any = None
    error: str | None = None
    logs: str = ""
    images: int = 0
    part: float = 0.0
    data_removed: bool = False
    settled: threading.Event = field(default_factory=threading.Event)
    settled_as: dict[str, Any] | None = None  # how it looked when all its files were there, or it ended without
    last_sent: dict[str, float] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether it changes no more."""
        return self.completed_at is not None

    @property
    def charged(self) -> bool:
        """Whether it is, or will be, paid for."""
        return self.started_at is not None or not self.ended

    @property
    def steps(self) -> int:
        """What its bar counts to."""
        return int(self.given("num_inference_steps") or 28)

    @property
    def prompt(self) -> str:
        """What the picture and the logs are about."""
        return str(self.given("prompt") or "")

    def given(self, name: str) -> Any:  # noqa: ANN401 - a JSON value
        """The value of an input that counts: the caller's, else the default."""
        inputs = self.order.inputs
        return self.order.input.get(name, inputs[name].default) if name in inputs else None

    def ticks(self, wished: int) -> int:
        """How often its progress shows."""
        return min(self.steps, max(3, wished))

    def refusal(self) -> str | None:
        """Why it fails as soon as it starts."""
        return None

    def file_refusal(self, _content: bytes) -> str | None:
        """Why it fails with this content of a file that was given."""
        return None

    def first_lines(self) -> str:
        """What the logs begin with."""
        return f"Using seed: {self.seed}\nPrompt: {self.prompt}\n"

    def next_lines(self) -> str:
        """What the logs say of the part that is done."""
        return logs.bar(round(self.part * self.steps), self.steps, self._running_s())

    def shown(self) -> dict[str, Any]:
        """As Replicate's API and webhooks have it."""
        url = f"{self.api_url}/v1/{self.kind}s/{self.id}"
        body: dict[str, Any] = {
            "id": self.id,
            "model": self.order.model.name,
            "version": self.order.version,
            "input": {} if self.data_removed else self.order.input,
            "logs": "" if self.data_removed else self.logs,
            "output": None if self.data_removed else self.output,
            "data_removed": self.data_removed,
            "error": self.error,
            "source": "api",
            "status": self.status,
            "created_at": written(self.created_at),
            "started_at": written(self.started_at),
            "completed_at": written(self.completed_at),
            "urls": {"get": url, "cancel": f"{url}/cancel", "web": f"https://replicate.com/p/{self.id}"},
            "metrics": self._metrics() if self.started_at and self.completed_at else {},
        }
        others = {
            "deadline": written(self.deadline),
            "deployment": self.order.deployment,
            "webhook": self.order.webhook,
        }
        return body | {name: value for name, value in others.items() if value}

    def summary(self) -> dict[str, Any]:
        """What the control port tells."""
        return {
            "id": self.id,
            "kind": self.kind,
            "model": self.order.model.name,
            "version": self.order.version,
            "deployment": self.order.deployment,
            "destination": self.order.destination,
            "status": self.status,
            "input": self.order.input,
            "secrets": self.secrets,
            "created_at": written(self.created_at),
            "webhook": self.order.webhook,
            "images": self.images,
            "charged": self.charged,
        }

    def _running_s(self) -> float:
        """Seconds since the start, or from it to the end."""
        if not self.started_at:
            return 0.0
        return max(((self.completed_at or utc_now()) - self.started_at).total_seconds(), 1e-3)

    def _waiting_s(self) -> float:
        """Seconds from the creation to the start."""
        return ((self.started_at or utc_now()) - self.created_at).total_seconds()

    def _predict_s(self) -> float:
        """Seconds that are paid for."""
        return self._running_s()

    def _metrics(self) -> dict[str, Any]:
        predict_s = self._predict_s()
        metrics: dict[str, Any] = {"predict_time": predict_s, "total_time": self._waiting_s() + predict_s}
        return metrics | ({"image_count": self.images} if self.images else {})
