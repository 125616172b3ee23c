"""ArchiveQueue: what `archive` is asked to do, and how it is written down in a message."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.job import PredictionId
from shared.prediction import Prediction, parse_prediction

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

UNTOLD = frozenset({"input", "webhook", "urls"})
LARGEST_MESSAGE = 1_000_000  # bytes; SQS takes 1 MiB


@dataclass(frozen=True)
class ArchiveOrder:
    """What is to be done about a job.

    `cancel` names a prediction that is to be canceled with Replicate. With a `prediction_id`, the job's prediction is
    over: `prediction` is what Replicate reported, or None where that was too large to send, and Replicate is to be
    asked; `forgotten` says that Replicate has been asked for long enough, and does not know it any more. Without
    either, the job has ended and only lacks its manifest.

    An order that could not be carried out yet is sent again, with the holder of the job's `lease` and the number of
    `tries` made.
    """

    job_id: str
    prediction_id: PredictionId | None = None
    prediction: Prediction | None = None
    forgotten: bool = False
    cancel: str | None = None
    lease: str | None = None
    tries: int = 0


class ArchiveQueue:
    """Sends orders."""

    def __init__(self, client: SQSClient, url: str) -> None:
        """Work on one queue."""
        self._client = client
        self._url = url

    def send_completed(self, job_id: str, document: Any) -> None:  # noqa: ANN401
        """Order that a prediction that has ended is stored; `document` is Replicate's, decoded."""
        short = {"job_id": job_id, "prediction_id": document["id"]}
        # The input may hold secrets and signed URLs, and nobody needs it any more.
        told = {name: value for name, value in document.items() if name not in UNTOLD}
        try:
            body = _write({**short, "prediction": told})
        except RecursionError:
            body = _write(short)
        if len(body.encode()) > LARGEST_MESSAGE:
            body = _write(short)
        self._client.send_message(QueueUrl=self._url, MessageBody=body)

    def send_if_completed(self, job_id: str, document: Any) -> None:  # noqa: ANN401
        """Order that a prediction is stored, if it has ended."""
        if parse_prediction(document).ended:
            self.send_completed(job_id, document)

    def send_forgotten(self, job_id: str, prediction_id: str) -> None:
        """Order the end of a job whose prediction Replicate no longer knows."""
        body = _write({"job_id": job_id, "prediction_id": prediction_id, "forgotten": True})
        self._client.send_message(QueueUrl=self._url, MessageBody=body)

    def send_cancel(self, job_id: str, prediction_id: str) -> None:
        """Order that a prediction is canceled with Replicate."""
        self._client.send_message(QueueUrl=self._url, MessageBody=_write({"job_id": job_id, "cancel": prediction_id}))

    def send_again(self, body: str, *, lease: str, tries: int, delay_s: int) -> None:
        """Send an order again, to be carried out later."""
        message = json.loads(body) | {"lease": lease, "tries": tries}
        self._client.send_message(QueueUrl=self._url, MessageBody=_write(message), DelaySeconds=delay_s)

    def send_ended(self, job_id: str) -> None:
        """Order the manifest of a job that ended without files."""
        self._client.send_message(QueueUrl=self._url, MessageBody=_write({"job_id": job_id}))


def parse_order(body: str) -> ArchiveOrder:
    """Read a message.

    Raises:
        ValueError, KeyError: it is none of ours.
    """
    message = json.loads(body)
    document = message.get("prediction")
    return ArchiveOrder(
        job_id=message["job_id"],
        prediction_id=PredictionId(message["prediction_id"]) if "prediction_id" in message else None,
        prediction=parse_prediction(document) if document is not None else None,
        forgotten=message.get("forgotten", False),
        cancel=message.get("cancel"),
        lease=message.get("lease"),
        tries=message.get("tries", 0),
    )


def _write(message: dict[str, Any]) -> str:
    # As ASCII: SQS refuses some characters that prompts and logs may hold.
    return json.dumps(message, separators=(",", ":"))
