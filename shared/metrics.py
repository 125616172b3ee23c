"""What is measured, and how a log line says so: CloudWatch's embedded metric format, so that measuring imports nothing.

Each value of a dimension is one more metric to pay for (0.30 USD a month), so that dimensions have few values: models
are counted by the registry's names, and all others as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMESPACE = "Afterimage"
SERVICE = "service"  # the dimension of every metric: tells the deployments of an account apart


class Metric(StrEnum):
    """What is measured."""

    SUBMITTED = "Submitted"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELED = "Canceled"
    SPENT = "SpentUsd"
    QUEUED = "QueuedSeconds"  # from the admission to the POST that Replicate took
    STARTING = "StartingSeconds"  # from there until Replicate began: its queue, and a cold model
    RUNNING = "RunningSeconds"  # by Replicate's clock
    STORING = "StoringSeconds"  # from Replicate's end to ours, with all files stored
    REPAIRED = "RepairedByReconcile"
    MINUTES_TO_EXPIRY = "MinutesToExpiry"  # of a result that was found unsaved
    WEBHOOKS_REFUSED = "WebhooksRefused"
    NO_CREDIT = "UpstreamCreditExhausted"
    CREDENTIALS_REFUSED = "UpstreamCredentialsRefused"
    BUDGET_USED = "BudgetUsedPercent"  # of a tenant's day
    UNEXPECTED = "UnexpectedErrors"


@dataclass(frozen=True)
class Shape:
    """The unit of a metric, and the dimensions it is counted by beside the service: each tuple is a metric more."""

    unit: str = "Count"
    by: tuple[tuple[str, ...], ...] = ((),)


_BY_MODEL = (("model",),)
SHAPES: Mapping[Metric, Shape] = {
    Metric.SUBMITTED: Shape(by=_BY_MODEL),
    Metric.SUCCEEDED: Shape(by=_BY_MODEL),
    Metric.FAILED: Shape(by=(("model",), ("code",))),
    Metric.CANCELED: Shape(),
    Metric.SPENT: Shape("None", _BY_MODEL),
    Metric.QUEUED: Shape("Seconds"),
    Metric.STARTING: Shape("Seconds"),
    Metric.RUNNING: Shape("Seconds", _BY_MODEL),
    Metric.STORING: Shape("Seconds"),
    Metric.REPAIRED: Shape(),
    Metric.MINUTES_TO_EXPIRY: Shape("None"),
    Metric.WEBHOOKS_REFUSED: Shape(),
    Metric.NO_CREDIT: Shape(),
    Metric.CREDENTIALS_REFUSED: Shape(),
    Metric.BUDGET_USED: Shape("Percent"),
    Metric.UNEXPECTED: Shape(),
}


def embedded(values: Mapping[Metric, float], dimensions: Mapping[str, str], *, at: int) -> dict[str, Any]:
    """Give what makes a log line one that CloudWatch measures by; `at` is in milliseconds since 1970.

    Raises:
        KeyError: a metric is counted by a dimension that is not given.
    """
    if not values:
        return {}
    sets = {metric: [[SERVICE, *names] for names in SHAPES[metric].by] for metric in values}
    used = {name: dimensions[name] for names in sets.values() for one in names for name in one}
    directives = [
        {
            "Namespace": NAMESPACE,
            "Dimensions": names,
            "Metrics": [{"Name": metric.value, "Unit": SHAPES[metric].unit} for metric in alike],
        }
        for names, alike in groupby(sorted(sets, key=sets.__getitem__), key=sets.__getitem__)
    ]
    measured = {metric.value: value for metric, value in values.items()}
    return {**used, **measured, "_aws": {"Timestamp": at, "CloudWatchMetrics": directives}}
