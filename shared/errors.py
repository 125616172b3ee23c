"""Every refusal and every failed job says what is wrong by one of these codes.

AfterimageError
├── Refusal             the caller's request is refused: becomes a problem document
├── UpstreamError       Replicate did not do what was asked; says whether it may have been taken
│   ├── UpstreamRefused     a definite no (400, 404, 422): nothing was started, nor will be
│   ├── UpstreamNotTaken    surely not started; may be sent again (429, 402, 401, 403, no connection)
│   └── UpstreamUnclear     a timeout, a reset, a 5xx: it may have been started, and paid
├── OutputError         an output of Replicate's cannot be stored
│   ├── OutputRejected      it must not be stored: wrong host, too large, not what it claims
│   ├── OutputExpired       its source is gone
│   └── OutputUnavailable   it cannot be had now; trying again may help
├── AddressError        a URL that a stranger gave cannot be called
│   ├── AddressRefused      it must not be called, now or later
│   └── AddressUnavailable  it gives no answer now; trying again may help
├── Unheard             a caller's webhook was not heard; trying again may help
└── Contended           DynamoDB refused a transaction again and again; trying again may help
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Code(StrEnum):
    """The stable names of everything that can be wrong; clients branch on them."""

    MALFORMED_JSON = "malformed_json"
    UNAUTHORIZED = "unauthorized"
    BUDGET_EXCEEDED = "budget_exceeded"
    FORBIDDEN = "forbidden"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    NOT_FOUND = "not_found"
    NOT_CANCELABLE = "not_cancelable"
    NOT_FINISHED = "not_finished"
    MODEL_NOT_FOUND = "model_not_found"
    NOT_OFFERED = "not_offered"
    FILES_EXPIRED = "files_expired"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    INVALID_INPUT = "invalid_input"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    UPSTREAM_REJECTED = "upstream_rejected"
    RATE_LIMITED = "rate_limited"
    TOO_MANY_IN_FLIGHT = "too_many_in_flight"
    INTERNAL = "internal"
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"
    # Only of jobs that ended:
    UPSTREAM_FAILED = "upstream_failed"
    NSFW_CONTENT = "nsfw_content"
    OUT_OF_MEMORY = "out_of_memory"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    OUTCOME_UNKNOWN = "outcome_unknown"
    OUTPUT_REJECTED = "output_rejected"
    OUTPUT_EXPIRED = "output_expired"


@dataclass(frozen=True)
class Kind:
    """What one code means over HTTP: its status, its title, and whether the same request may be sent again."""

    status: int
    title: str
    retryable: bool = False


KINDS: Mapping[Code, Kind] = {
    Code.MALFORMED_JSON: Kind(400, "The body is not JSON"),
    Code.UNAUTHORIZED: Kind(401, "No valid API key"),
    Code.BUDGET_EXCEEDED: Kind(402, "The daily budget would be passed", retryable=True),
    Code.FORBIDDEN: Kind(403, "Not allowed"),
    Code.MODEL_NOT_ALLOWED: Kind(403, "This model may not be called"),
    Code.NOT_FOUND: Kind(404, "Not found"),
    Code.MODEL_NOT_FOUND: Kind(404, "Model not found"),
    Code.NOT_OFFERED: Kind(404, "This route is not offered"),
    Code.NOT_CANCELABLE: Kind(409, "It can no longer be canceled"),
    Code.NOT_FINISHED: Kind(409, "It has not ended yet", retryable=True),
    Code.FILES_EXPIRED: Kind(410, "The files have expired"),
    Code.PAYLOAD_TOO_LARGE: Kind(413, "The body is too large"),
    Code.UNSUPPORTED_MEDIA_TYPE: Kind(415, "Unsupported media type"),
    Code.INVALID_INPUT: Kind(422, "Input validation failed"),
    Code.IDEMPOTENCY_KEY_REUSED: Kind(422, "The idempotency key belongs to another request"),
    Code.UPSTREAM_REJECTED: Kind(422, "Replicate refused the request"),
    Code.RATE_LIMITED: Kind(429, "Too many requests a minute", retryable=True),
    Code.TOO_MANY_IN_FLIGHT: Kind(429, "Too many unfinished jobs", retryable=True),
    Code.INTERNAL: Kind(500, "Internal error", retryable=True),
    Code.UPSTREAM_UNAVAILABLE: Kind(503, "Temporarily unavailable", retryable=True),
    Code.UPSTREAM_FAILED: Kind(422, "The prediction failed", retryable=True),
    Code.NSFW_CONTENT: Kind(422, "All images were withheld as NSFW"),
    Code.OUT_OF_MEMORY: Kind(422, "The model ran out of memory"),
    Code.DEADLINE_EXCEEDED: Kind(422, "The deadline passed", retryable=True),
    Code.OUTCOME_UNKNOWN: Kind(422, "Whether the prediction ran is unknown"),
    Code.OUTPUT_REJECTED: Kind(422, "An output could not be accepted"),
    Code.OUTPUT_EXPIRED: Kind(422, "An output was gone before it could be stored"),
}


@dataclass(frozen=True)
class InvalidField:
    """One field of the caller's that is wrong, in the form Replicate uses."""

    field: str
    description: str


@dataclass(frozen=True)
class Problem:
    """Why a job did not succeed, as it is kept with the job."""

    code: Code
    detail: str
    invalid_fields: tuple[InvalidField, ...] = ()


class AfterimageError(Exception):
    """The root of all errors that this project raises on purpose."""


@dataclass
class Refusal(AfterimageError):
    """The request is refused; the caller is told why, what to change, and when to come back.

    `retry_after` is in seconds; `headers` are added to the answer.
    """

    code: Code
    detail: str
    invalid_fields: Sequence[InvalidField] = ()
    retry_after: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class UpstreamError(AfterimageError):
    """Replicate did not do what was asked."""


@dataclass
class UpstreamRefused(UpstreamError):
    """Replicate answered with a definite no: nothing was started, and repeating it would not help."""

    status: int
    detail: str
    invalid_fields: Sequence[InvalidField] = ()


class Cause(StrEnum):
    """Why Replicate surely did not take a request."""

    THROTTLED = "throttled"
    NO_CREDIT = "no_credit"
    CREDENTIALS = "credentials"
    FORBIDDEN = "forbidden"  # perhaps the token, perhaps only this request
    NO_CONNECTION = "no_connection"


@dataclass
class UpstreamNotTaken(UpstreamError):
    """The request was surely not taken; `retry_after` (seconds) is Replicate's own word, if it gave one."""

    cause: Cause
    retry_after: float | None = None


class UpstreamUnclear(UpstreamError):
    """The request may have been taken: it must not simply be repeated."""


class OutputError(AfterimageError):
    """An output of a prediction could not be stored."""


class OutputRejected(OutputError):
    """The output must not be stored, now or later."""


class OutputExpired(OutputError):
    """The source of the output is gone."""


class OutputUnavailable(OutputError):
    """The output cannot be had at the moment."""


class AddressError(AfterimageError):
    """A URL that a stranger gave cannot be called; the text goes on after "the URL …"."""


class AddressRefused(AddressError):
    """The rules for outgoing requests forbid it."""


class AddressUnavailable(AddressError):
    """Nobody answers there at the moment."""


class Unheard(AfterimageError):
    """What a caller's webhook was told did not arrive, or was not accepted."""


class Contended(AfterimageError):
    """Other transactions on the same items kept winning."""
