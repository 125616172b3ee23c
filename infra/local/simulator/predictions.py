"""Predictions and trainings, and how each of them lives: taken, started, logged, finished, forgotten after its hour."""

import json
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from infra.local.simulator import images, logs, training
from infra.local.simulator.catalog import Catalog
from infra.local.simulator.clock import Scheduler, utc_now
from infra.local.simulator.faults import Faults
from infra.local.simulator.files import Files
from infra.local.simulator.listener import Places
from infra.local.simulator.models import FLUX_LORA
from infra.local.simulator.outputs import Outputs
from infra.local.simulator.prediction import Order, Prediction, redacted
from infra.local.simulator.training import Training
from infra.local.simulator.webhooks import Webhooks

THROTTLE_S = 0.5  # output and logs: at most one webhook each in this time
FINISH_S = 0.02  # from the files to the end
HOLD_S = 0.05  # between two looks whether a prediction that is held may go on
ID_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"


@dataclass(frozen=True)
class Step:
    """What happens after a `share` of the whole run has passed since the step before; then `part` of it is done."""

    share: float
    part: float
    action: Callable[[Prediction], object]


class Predictions:
    """All predictions, and the steps of their lives."""

    def __init__(
        self,
        *,
        scheduler: Scheduler,
        faults: Faults,
        outputs: Outputs,
        webhooks: Webhooks,
        files: Files,
        catalog: Catalog,
        places: Places,
        durations_s: Mapping[str, float],
        output_ttl_s: float,
    ) -> None:
        self._scheduler = scheduler
        self._faults = faults
        self._outputs = outputs
        self._webhooks = webhooks
        self._files = files
        self._catalog = catalog
        self._places = places
        self._durations_s = durations_s
        self._output_ttl_s = output_ttl_s
        self._all: dict[str, Prediction] = {}
        self._lock = threading.RLock()

    def create(self, order: Order) -> tuple[Prediction, dict[str, Any]]:
        """Start one; also how it looked then."""
        fault = self._faults.take("prediction")
        seed = order.input.get("seed")
        order, hashes = redacted(order)
        with self._lock:
            prediction = (Prediction if order.destination is None else Training)(
                id="".join(secrets.choice(ID_LETTERS) for _ in range(26)),
                number=len(self._all) + 1,
                order=order,
                secrets=hashes,
                seed=int(seed) if isinstance(seed, int | float) else secrets.randbelow(2**31),
                api_url=self._places.api,
                fault=fault,
            )
            self._all[prediction.id] = prediction
            if order.webhook and "completed" in order.events:
                self._webhooks.expect(prediction.id)
            if order.cancel_after_s is not None:
                prediction.deadline = prediction.created_at + timedelta(seconds=order.cancel_after_s)
                self._scheduler.after(order.cancel_after_s, partial(self._pass_deadline, prediction))
            self._announce(prediction, "start")
            self._plan(prediction)
            return prediction, prediction.shown()

    def get(self, kind: str, prediction_id: str) -> Prediction | None:
        """Find one by its id."""
        found = self._all.get(prediction_id)
        return found if found and found.kind == kind else None

    def shown(self, prediction: Prediction) -> dict[str, Any]:
        """Show one as the API does, at one moment."""
        with self._lock:
            return prediction.shown()

    def newest_first(self, kind: str | None = None) -> list[Prediction]:
        """List them all, or all of a kind."""
        with self._lock:
            return [each for each in reversed(self._all.values()) if kind in {None, each.kind}]

    def summary(self, prediction: Prediction) -> dict[str, Any]:
        """What the control port tells of one."""
        with self._lock:
            return prediction.summary()

    def cancel(self, prediction: Prediction) -> dict[str, Any]:
        """Canceling what has ended changes nothing."""
        with self._lock:
            self._end(prediction, "canceled")
            return prediction.shown()

    def drop_outputs(self) -> int:
        """Remove the data of all that have ended; how many files that were."""
        with self._lock:
            return self._expire(*(prediction for prediction in self._all.values() if prediction.ended))

    def stop(self) -> None:
        """Let go of everybody who waits."""
        for prediction in self.newest_first():
            self._settle(prediction)

    # The life of one prediction. Each step is taken once, and does nothing after the end.

    def _plan(self, prediction: Prediction) -> None:
        fault = prediction.fault
        total_s = self._durations_s[prediction.kind] + (fault.delay_s if fault else 0.0)
        boot_s = min(0.15 * total_s, 0.1)
        match fault.kind if fault else None:
            case "never":
                return
            case "aborted":
                self._scheduler.after(boot_s, partial(self._end, prediction, "aborted"))
            case _:
                self._scheduler.after(boot_s, partial(self._start, prediction, total_s - boot_s))

    def _start(self, prediction: Prediction, run_s: float) -> None:
        with self._lock:
            if prediction.ended:
                return
            prediction.started_at = utc_now()
            if refusal := prediction.refusal():
                self._end(prediction, "failed", error=refusal)
                return
            prediction.status = _unknown(prediction, "run") or "processing"
            prediction.logs = prediction.first_lines()
            if prediction.fault and prediction.fault.kind == "long_logs":
                prediction.logs = logs.filled(prediction.logs, prediction.fault.options["bytes"])
            self._announce(prediction, "logs")
        self._files.read(prediction, partial(self._run, prediction, run_s))

    def _run(self, prediction: Prediction, run_s: float, unreadable: str | None) -> None:
        """Go on when the files of the input are there."""
        if unreadable:
            self._end(prediction, "failed", error=unreadable)
            return
        ticks = prediction.ticks(min(60, int(run_s / THROTTLE_S)))
        steps = [Step(0.9 / ticks, tick / ticks, partial(self._log, part=tick / ticks)) for tick in range(1, ticks + 1)]
        fault = prediction.fault
        match fault.kind if fault else None:
            case "fail" if fault:
                steps.append(Step(0.0, 1.0, partial(self._end, status="failed", error=fault.options["error"])))
            case "canceled":
                steps[len(steps) // 2 :] = [Step(0.2, 0.5, partial(self._end, status="canceled"))]
            case _:
                steps.append(Step(0.02, 1.0, self._make))
        self._go_on(prediction, iter(steps), run_s)

    def _go_on(self, prediction: Prediction, steps: Iterator[Step], run_s: float) -> None:
        """Take the next step when its time has come: one after the other, however slow threads are."""
        if step := next(steps, None):
            self._scheduler.after(step.share * run_s, partial(self._take, prediction, step, steps, run_s))

    def _take(self, prediction: Prediction, step: Step, steps: Iterator[Step], run_s: float) -> None:
        fault = prediction.fault
        if prediction.ended:
            return
        if fault and fault.kind == "held" and step.part > fault.options["part"] and not fault.replaced.is_set():
            self._scheduler.after(HOLD_S, partial(self._take, prediction, step, steps, run_s))
            return
        step.action(prediction)
        self._go_on(prediction, steps, run_s)

    def _log(self, prediction: Prediction, part: float) -> None:
        with self._lock:
            if prediction.ended or part <= prediction.part:
                return
            prediction.part = part
            output = prediction.order.model.output
            if output.grows:
                whole = output.shape(prediction.order.input, ())
                prediction.output = whole[: math.ceil(part * len(whole))]
                self._announce(prediction, "output")
            else:
                prediction.logs += prediction.next_lines()
                self._announce(prediction, "logs")

    def _make(self, prediction: Prediction) -> None:
        if isinstance(prediction, Training):
            self._publish(prediction)
        else:
            self._produce(prediction)

    def _produce(self, prediction: Prediction) -> None:
        output = prediction.order.model.output
        wanted = int(prediction.given("num_outputs") or 1) if output.files is None else output.files
        made = max(0, wanted - _dropped(prediction, wanted))
        if wanted and not made and "nsfw-empty" not in prediction.prompt.split():
            self._end(prediction, "failed", error=prediction.order.model.all_unsafe)
            return
        files = _pictures(prediction, made)
        with self._lock:
            if prediction.ended:
                return
            paths = self._outputs.put(prediction.id, files)
            prediction.images = made
            prediction.output = output.shape(prediction.order.input, [self._places.delivery + path for path in paths])
            if prediction.output:
                self._announce(prediction, "output")
            self._settle(prediction)
        final = _unknown(prediction, "end") or "succeeded"
        self._scheduler.after(FINISH_S, partial(self._end, prediction, final))

    def _publish(self, prediction: Training) -> None:
        """Give the destination a version of its own, and the training its weights."""
        destination = str(prediction.order.destination)
        archive = training.weights(prediction)
        with self._lock:
            if prediction.ended:
                return
            (path,) = self._outputs.put(prediction.id, {training.WEIGHTS: archive})
            version = self._catalog.add_version(destination, FLUX_LORA)
            prediction.output = {"version": f"{destination}:{version}", "weights": self._places.delivery + path}
            self._end(prediction, _unknown(prediction, "end") or "succeeded")

    def _end(self, prediction: Prediction, status: str, error: str | None = None) -> None:
        with self._lock:
            if prediction.ended:
                return
            prediction.status, prediction.error = status, error
            prediction.completed_at = utc_now()
            if status == "canceled" and not prediction.output:
                prediction.logs += "Prediction canceled\n" if prediction.started_at else ""
            if not prediction.fault or prediction.fault.options.get("webhook") is not False:
                self._announce(prediction, "completed")
            self._settle(prediction)
        self._scheduler.after(self._output_ttl_s, partial(self._expire, prediction))

    def _settle(self, prediction: Prediction) -> None:
        """Have those who wait for it answered, with what it is now."""
        with self._lock:
            if prediction.settled_as is None:
                prediction.settled_as = prediction.shown()
        prediction.settled.set()

    def _pass_deadline(self, prediction: Prediction) -> None:
        self._end(prediction, "canceled" if prediction.started_at else "aborted")

    def _expire(self, *predictions: Prediction) -> int:
        with self._lock:
            for prediction in predictions:
                prediction.data_removed = True
            return self._outputs.drop(prediction.id for prediction in predictions)

    def _announce(self, prediction: Prediction, event: str) -> None:
        """Send a webhook if one is asked for; output and logs wait until they may, and yield to the end."""
        if not prediction.order.webhook or event not in prediction.order.events:
            return
        if event in {"output", "logs"}:
            now = time.monotonic()
            due = prediction.last_sent.get(event, -1.0) + THROTTLE_S
            if due - THROTTLE_S > now:
                return  # One is waiting already, and will tell this too.
            if due > now:
                prediction.last_sent[event] = due
                self._scheduler.after(due - now, partial(self._announce_late, prediction, event))
                return
            prediction.last_sent[event] = now
        self._send(prediction, event)

    def _announce_late(self, prediction: Prediction, event: str) -> None:
        with self._lock:
            if not prediction.ended:
                self._send(prediction, event)

    def _send(self, prediction: Prediction, event: str) -> None:
        body = json.dumps(prediction.shown()).encode()
        self._webhooks.send(prediction.id, event, str(prediction.order.webhook), body)


def _pictures(prediction: Prediction, number: int) -> dict[str, bytes]:
    output_format = prediction.given("output_format") or "png"
    quality = prediction.given("output_quality")
    size = images.size_of(prediction.order.model, prediction.order.input)
    files = {}
    for n in range(number):
        picture = images.make(prediction.prompt, prediction.seed, n, size)
        files[f"out-{n}.{output_format}"] = images.encode(
            picture, output_format, 80 if quality is None else int(quality)
        )
    return files


def _unknown(prediction: Prediction, at: str) -> str | None:
    fault = prediction.fault
    if fault and fault.kind == "unknown_status" and fault.options["at"] == at:
        return str(fault.options["status"])
    return None


def _dropped(prediction: Prediction, wanted: int) -> int:
    """How many images the safety checker takes away."""
    fault = prediction.fault
    if fault and fault.kind == "nsfw":
        drop = fault.options["drop"]
        return wanted if drop is None else int(drop)
    words = prediction.prompt.split()
    if not {"nsfw-all", "nsfw-empty"}.isdisjoint(words):
        return wanted
    return 1 if "nsfw-one" in words else 0
