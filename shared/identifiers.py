"""Ids and fingerprints: sortable by time, random, and safe in URLs, keys and logs."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any

from shared.job import JobId, Millis

# Crockford's base 32, in lower case.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # checkov:skip=CKV_SECRET_6: no secret
TIME_CHARACTERS = 10
RANDOM_BITS = 80
LATEST = Millis(2**48 - 1)  # milliseconds since 1970 that an id can tell
LENGTH = 26


def new_job_id(now: Millis) -> JobId:
    """Make the id of a job: 48 bits of time and 80 random ones, in 26 characters that sort like the time."""
    return _id((now << RANDOM_BITS) | secrets.randbits(RANDOM_BITS))


def time_of(job_id: str) -> Millis:
    """Give the time at which an id was made."""
    number = 0
    for character in job_id:
        number = number << 5 | ALPHABET.index(character)
    return Millis(number >> RANDOM_BITS)


def ids_between(first: Millis, last: Millis) -> tuple[JobId, JobId]:
    """Give the smallest and the largest id of a time."""
    return _id(first << RANDOM_BITS), _id(((last + 1) << RANDOM_BITS) - 1)


def _id(number: int) -> JobId:
    return JobId("".join(ALPHABET[(number >> 5 * place) & 31] for place in reversed(range(LENGTH))))


def is_job_id(text: str) -> bool:
    """Say whether this can be the id of a job at all."""
    # The first character has only 3 of the 128 bits.
    return len(text) == LENGTH and text[0] <= "7" and set(text) <= set(ALPHABET)


def canonical(value: Any) -> bytes:  # noqa: ANN401
    """Give the one JSON text of a value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")


def fingerprint(*parts: Any) -> str:  # noqa: ANN401
    """Give a digest that is equal for equal values."""
    return hashlib.sha256(canonical(parts)).hexdigest()
