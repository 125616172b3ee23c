"""Telling an outage, where coming back helps, from a bug."""

from __future__ import annotations

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError  # noqa: A004 - AWS's, not Python's

from shared.errors import Contended, OutputUnavailable, Unheard, UpstreamNotTaken, UpstreamUnclear

STATUSES = frozenset({408, 409, 429, 500, 502, 503, 504})
THROTTLED = frozenset(
    {"ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestTimeout", "ThrottlingException"}
)
"""What AWS says with status 400, although the request was right."""


def is_outage(error: Exception) -> bool:
    """Say whether the same thing may well work a little later."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status in STATUSES or error.response["Error"]["Code"] in THROTTLED
    upstream = (OutputUnavailable, UpstreamNotTaken, UpstreamUnclear)
    return isinstance(error, (Contended, ConnectionError, HTTPClientError, Unheard, *upstream))
