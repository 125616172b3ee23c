"""What an alarm would see, from what the local stack tells: log lines, queues, answers, and the emulator's metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from shared.metrics import NAMESPACE
from tests.support.cloudwatch import STATISTICS, points_of
from tests.support.observability import Alarm, Watched, alarm_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.journey.local import Local

PREFIX = "afterimage-local-"
AHEAD = timedelta(minutes=5)  # of now: the end of what is asked for
CROSSED: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
}


@dataclass(frozen=True)
class Answered:
    """An answer of the API to somebody."""

    at: float
    status: int


class Meter:
    """Measures what the deployed alarms look at."""

    def __init__(self, local: Local, cloudwatch: Any, answers: Sequence[Answered]) -> None:
        """`answers` is what callers of the API were answered, as the gateway counts it."""
        self._local = local
        self._cloudwatch = cloudwatch
        self._answers = answers
        found = cloudwatch.describe_alarms(MaxRecords=100)["MetricAlarms"]
        self.alarms: dict[str, Alarm] = {alarm.short: alarm for alarm in (alarm_of(one, PREFIX) for one in found)}

    def value(self, alarm: Alarm, since: float) -> float | None:
        """Give the alarm's statistic of everything since a time; None: there is no data."""
        values = self._values(alarm.watched, since)
        return STATISTICS[alarm.properties["Statistic"]](values) if values else None

    def crossed(self, alarm: Alarm, value: float | None, threshold: float | None = None) -> bool:
        """Say whether a value is beyond the alarm's own threshold, or another one."""
        if value is None:
            return bool(alarm.properties["TreatMissingData"] == "breaching")
        limit = alarm.properties["Threshold"] if threshold is None else threshold
        return CROSSED[alarm.properties["ComparisonOperator"]](value, limit)

    def _values(self, watched: Watched, since: float) -> list[float]:
        match watched.namespace:
            case str(name) if name == NAMESPACE:
                return self._logged(watched, since)
            case "AWS/SQS":
                return self._of_queue(watched.name, watched.dimensions["QueueName"])
            case "AWS/ApiGateway" if watched.name == "5xx":
                return [1.0 for one in self._answers if one.at >= since and one.status // 100 == 5]
            case "AWS/Lambda" if watched.name == "Invocations":
                # The emulator counts those that it is asked for, but not those of schedules and queues.
                return [1.0 for _ in self._starts(watched.dimensions["FunctionName"], since)]
            case "AWS/Lambda":
                return self._of_lambda(watched, since)
        raise ValueError(watched)

    def _logged(self, watched: Watched, since: float) -> list[float]:
        lines = [line for name in self._local.stack.functions for line in self._local.logged(name, since).splitlines()]
        wanted = (watched.namespace, watched.name, frozenset(watched.dimensions.items()))
        return [
            point.value
            for point in points_of(lines)
            if (point.namespace, point.name, point.dimensions) == wanted and point.at >= since * 1000
        ]

    def _of_queue(self, name: str, queue: str) -> list[float]:
        url = self._local.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        if name == "ApproximateNumberOfMessagesVisible":
            found = self._local.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
            return [float(found["Attributes"]["ApproximateNumberOfMessages"])]
        # Looked at, and left where it was; not often, since each look counts as a delivery that has failed.
        answer = self._local.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0, MessageSystemAttributeNames=["SentTimestamp"]
        )
        return [time.time() - int(one["Attributes"]["SentTimestamp"]) / 1000 for one in answer.get("Messages", [])]

    def _starts(self, function: str, since: float) -> list[str]:
        short = next(name for name, deployed in self._local.stack.functions.items() if deployed == function)
        return [line for line in self._local.logged(short, since).splitlines() if line.startswith("START ")]

    def _of_lambda(self, watched: Watched, since: float) -> list[float]:
        """Ask the emulator, which counts by function alone; what has no dimensions is the sum of all."""
        names = [watched.dimensions[name] for name in watched.dimensions] or [*self._local.stack.functions.values()]
        found = [
            point["Sum"]
            for name in names
            for point in self._cloudwatch.get_metric_statistics(
                Namespace=watched.namespace,
                MetricName=watched.name,
                Dimensions=[{"Name": "FunctionName", "Value": name}],
                StartTime=datetime.fromtimestamp(since, UTC),
                EndTime=datetime.now(UTC) + AHEAD,
                Period=3600,
                Statistics=["Sum"],
            )["Datapoints"]
        ]
        return [float(value) for value in found]
