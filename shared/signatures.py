"""What is signed: webhooks (by the Standard Webhooks scheme), the URLs Replicate calls, and links to files.

All comparisons take constant time. Whatever is malformed is refused like what is forged, by one exception.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SECRET_PREFIX = "whsec_"  # noqa: S105 - what secrets begin with  # nosec B105
TOLERANCE_S = 300  # before and after, as the scheme recommends
_MOST_SIGNATURES = 16
_SHORT_BYTES = 16  # of HMAC-SHA256 in URLs: 128 bits
_SECONDS = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)


class BadSignature(Exception):
    """It is not signed by who it should be, or too old, or malformed."""


def decode_secret(secret: str) -> bytes:
    """Give the key behind a `whsec_…` secret.

    Raises:
        ValueError: it is not such a secret; then nothing can be verified, and nothing passes.
    """
    try:
        key = base64.b64decode(secret.strip().removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("a webhook secret is base64 after its prefix") from error
    if not key:
        raise ValueError("a webhook secret is not empty")
    return key


def sign_webhook(key: bytes, *, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Give the signature (`v1,…`) of a webhook sent at `timestamp` (seconds)."""
    digest = hmac.digest(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def verify_webhook(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, *, now: float) -> None:
    """Require that one of the keys signed this body just now; `headers` have lower-case names, `now` is in seconds.

    Raises:
        BadSignature: anything else.
    """
    webhook_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "").split()[:_MOST_SIGNATURES]
    if not webhook_id or not webhook_id.isascii() or not _SECONDS.fullmatch(timestamp):
        raise BadSignature("a header is missing or malformed")
    if abs(now - int(timestamp)) > TOLERANCE_S:
        raise BadSignature("too old or too new")
    expected = [sign_webhook(key, webhook_id=webhook_id, timestamp=int(timestamp), body=body) for key in keys]
    # Every pair is compared, so that the time does not tell which one matched.
    if not any([equal(right, one) for right in expected for one in given]):  # noqa: C419
        raise BadSignature("no signature matches")


def sign_callback(key: str, job_id: str, attempt: int) -> str:
    """Sign the URL that Replicate calls for one attempt of a job; Replicate's signature does not cover it."""
    return _short(key, f"callback:{job_id}.{attempt}")


def sign_link(key: str, job_id: str, name: str, expires: int) -> str:
    """Sign a link to a file of a job that works until `expires` (seconds)."""
    return _short(key, f"link:{job_id}/{name}?{expires}")


def equal(right: str, given: str) -> bool:
    """Compare what was computed with what somebody sent."""
    return hmac.compare_digest(right.encode(), given.encode(errors="replace"))


def _short(key: str, text: str) -> str:
    if not key:
        raise ValueError("a signing key is not empty")
    digest = hmac.digest(key.encode(), text.encode(errors="replace"), hashlib.sha256)
    return base64.urlsafe_b64encode(digest[:_SHORT_BYTES]).rstrip(b"=").decode()
