"""Metrics, written as log lines that CloudWatch reads (embedded metric format)."""

from __future__ import annotations

from enum import StrEnum


class Metric(StrEnum):
    """What is counted."""

    NO_CREDIT = "UpstreamCreditExhausted"
    CREDENTIALS_REFUSED = "UpstreamCredentialsRefused"
    REPAIRED = "RepairedByReconcile"
    MINUTES_TO_EXPIRY = "MinutesToExpiry"


def count(metric: Metric, value: float = 1) -> None:
    """Write one metric, in the namespace that the environment names."""
    # Imported where it is needed: most requests count nothing.
    from aws_lambda_powertools.metrics import MetricUnit, single_metric  # noqa: PLC0415

    with single_metric(name=metric, unit=MetricUnit.Count, value=value):
        pass
