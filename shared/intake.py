"""Webhook intake: verify, read nothing, make one call, answer."""

from __future__ import annotations

from logging import WARNING
from typing import TYPE_CHECKING

from shared.errors import Code, Refusal
from shared.logs import get_logger, log_measured
from shared.metrics import Metric
from shared.prediction import decode_document, parse_prediction
from shared.signatures import BadSignature, equal, sign_callback, verify_webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.job import Millis
    from shared.reports import Reports

ATTEMPT_DIGITS = 6


class Intake:
    """Takes what Replicate reports."""

    def __init__(
        self,
        *,
        reports: Reports,
        webhook_keys: Callable[[], Sequence[bytes]],
        callback_key: str,
        now: Callable[[], Millis],
    ) -> None:
        """`webhook_keys` gives the active signing keys of Replicate's, `callback_key` signs our URLs."""
        self._reports = reports
        self._webhook_keys = webhook_keys
        self._callback_key = callback_key
        self._now = now

    def receive(self, job_id: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> str:
        """Act on a webhook, and say in a word what was done with it.

        What is verified but of no use is acknowledged, and changes nothing.

        Raises:
            Refusal: `unauthorized`: it is not signed by Replicate, or was not sent to this URL.
        """
        self._verify(job_id, query, headers, body)
        try:
            document = decode_document(body)
            parse_prediction(document)
        except (ValueError, RecursionError):
            get_logger().warning("webhook_unreadable", job_id=job_id)
            return "unreadable"
        done = self._reports.take(job_id, document)
        get_logger().info("webhook_taken", job_id=job_id, done=done)
        return done

    def _verify(self, job_id: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> None:
        try:
            self._verify_url(job_id, query.get("attempt", ""), query.get("k", ""))
            verify_webhook(self._webhook_keys(), headers, body, now=self._now() / 1000)
        except BadSignature as error:
            values = {Metric.WEBHOOKS_REFUSED: 1.0}
            log_measured("webhook_refused", values, level=WARNING, reason=str(error))
            raise Refusal(Code.UNAUTHORIZED, "This webhook is not signed as Replicate signs.") from error

    def _verify_url(self, job_id: str, attempt: str, k: str) -> None:
        is_number = attempt.isascii() and attempt.isdecimal() and len(attempt) <= ATTEMPT_DIGITS
        if not is_number or not equal(sign_callback(self._callback_key, job_id, int(attempt)), k):
            raise BadSignature("it was not sent to this URL")
