"""The wiring of `console`, apart from `services`, which loads boto3: the page needs no client, and comes sooner."""

from __future__ import annotations

import os
from functools import cache

from shared.settings import ConsoleSettings


@cache
def image_sources() -> tuple[str, ...]:
    """Give the origins that links to files lead to."""
    # AWS's own variable for an S3 that is elsewhere, such as the local stack's.
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        return (endpoint,)
    return tuple(f"https://{host}" for host in ConsoleSettings.load(os.environ).hosts)
