"""Replicate's prediction documents, read tolerantly: fields may be added, odd, or missing."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from shared.errors import Code, Problem
from shared.job import Millis, PredictionId, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

LOGS_KEPT = 4_000  # characters from the end: enough for the last bars and an error, and small in an item
ERROR_KEPT = 4_000  # characters
METRICS_KEPT = 8_000  # characters of JSON; more is none of Replicate's usual ones
OUTPUTS_LIVE_S = 3600  # after the end of the prediction; then Replicate deletes them
_SIGNED = re.compile(r"""(https?://[^\s"'?]+)\?[^\s"']*X-Amz-[^\s"']*""")
_PROGRESS = re.compile(r"(?<!\d)(?P<bar>\d{1,3})%\|(?:[^|\r\n]*\|\s*\d+/(?P<total>\d+))?|Progress: (?P<plain>\d{1,3})%")


class UpstreamStatus(StrEnum):
    """The statuses that Replicate is known to use."""

    STARTING = "starting"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    ABORTED = "aborted"


VERDICTS: Mapping[str, Status] = {
    UpstreamStatus.SUCCEEDED: Status.SUCCEEDED,
    UpstreamStatus.FAILED: Status.FAILED,
    UpstreamStatus.CANCELED: Status.CANCELED,
    UpstreamStatus.ABORTED: Status.CANCELED,
}
"""The statuses that end a prediction, and how its job ends then."""


@dataclass(frozen=True)
class Prediction:
    """What we use of a prediction. `status` is Replicate's word, which may be one that we do not know."""

    id: PredictionId
    status: str
    output: Any = None
    error: str | None = None
    logs: str = ""
    metrics: Mapping[str, Any] | None = None
    created_at: Millis | None = None
    started_at: Millis | None = None
    completed_at: Millis | None = None
    data_removed: bool = False
    model: str | None = None
    version: str | None = None
    input: Any = None
    webhook: str | None = None  # None also where Replicate does not say

    @property
    def ended(self) -> bool:
        """Whether Replicate is done with it."""
        return self.verdict is not None

    @property
    def verdict(self) -> Status | None:
        """How its job ends, if it has ended; an end that we do not know by name is a failure."""
        if self.status in VERDICTS:
            return VERDICTS[self.status]
        return Status.FAILED if self.status not in UpstreamStatus and self.completed_at is not None else None

    @property
    def percent(self) -> int | None:
        """How far the logs say it is, from 0 to 100.

        A training tells how many steps it makes: other bars, of what it loads or prepares, are not its own.
        """
        steps = self._steps
        found = None
        for match in _PROGRESS.finditer(self.logs):
            if match["plain"] or steps is None or match["total"] == str(steps):
                found = min(int(match["plain"] or match["bar"]), 100)
        return found

    @property
    def seconds(self) -> float | None:
        """How long it ran, by Replicate's measure or by its times; None if neither makes sense."""
        measured = self._measured
        if measured is not None:
            return measured
        if self.started_at is None or self.completed_at is None or self.completed_at < self.started_at:
            return None
        return (self.completed_at - self.started_at) / 1000

    @property
    def has_run(self) -> bool:
        """Whether it was begun, which is what has to be paid for."""
        return self.started_at is not None or bool(self._measured)

    @property
    def _measured(self) -> float | None:
        given = (self.metrics or {}).get("predict_time")
        if isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given < math.inf:
            return given
        return None

    @property
    def _steps(self) -> int | None:
        given = self.input.get("steps") if isinstance(self.input, dict) else None
        return given if isinstance(given, int) and not isinstance(given, bool) else None


def decode_document(body: bytes) -> Any:  # noqa: ANN401
    """Decode JSON of Replicate's.

    Half a character, which logs can end in, is replaced, since nothing can store it; NaN and the infinite, which are
    not JSON although Python reads and writes them, are null.

    Raises:
        ValueError, RecursionError: it is not JSON, or too deep to be ours.
    """
    document = json.loads(body, parse_float=_finite, parse_constant=lambda _: None)
    if b"\\ud" in body.lower():
        text = json.dumps(document, ensure_ascii=False)
        document = json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return document


def parse_prediction(document: Any) -> Prediction:  # noqa: ANN401
    """Read a prediction from decoded JSON.

    Raises:
        ValueError: it has no id or no status, so that nothing can be done with it.
    """
    match document:
        case {"id": str() as prediction_id, "status": str() as status} if prediction_id and status:
            pass
        case _:
            raise ValueError("not a prediction: no id or status")
    metrics = document.get("metrics")
    return Prediction(
        id=PredictionId(prediction_id),
        status=status,
        output=document.get("output"),
        error=error[:ERROR_KEPT] if (error := _text(document.get("error"))) else error,
        logs=(_text(document.get("logs")) or "")[-LOGS_KEPT:],
        metrics=metrics if isinstance(metrics, dict) and len(json.dumps(metrics)) <= METRICS_KEPT else None,
        created_at=_millis(document.get("created_at")),
        started_at=_millis(document.get("started_at")),
        completed_at=_millis(document.get("completed_at")),
        data_removed=document.get("data_removed") is True,
        model=_text(document.get("model")),
        version=_text(document.get("version")),
        input=document.get("input"),
        webhook=_text(document.get("webhook")),
    )


def problem_of(prediction: Prediction) -> Problem:
    """Say by a stable code why a prediction failed; Replicate gives nothing but the text of `error`."""
    text = prediction.error or "Replicate gave no reason."
    lowered = text.lower()
    if "nsfw" in lowered:
        return Problem(Code.NSFW_CONTENT, text)
    if "E1001" in text or "out of memory" in lowered:
        return Problem(Code.OUT_OF_MEMORY, text)
    return Problem(Code.UPSTREAM_FAILED, text)


def without_signatures(text: str) -> str:
    """Give a text in which no signed URL works: models tell which of their inputs they could not read."""
    return _SIGNED.sub(r"\1", text) if "X-Amz-" in text else text


def _text(value: Any) -> str | None:  # noqa: ANN401
    if isinstance(value, str):
        return without_signatures(value)
    return None if value is None else without_signatures(json.dumps(value, ensure_ascii=False))


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _millis(value: Any) -> Millis | None:  # noqa: ANN401
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return Millis(round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000))
