"""CloudWatch as far as this project needs one: it makes metrics of log lines, and an alarm's statistic of their values.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

UNITS = {"Seconds", "Count", "Percent", "None"}  # of those that there are, what we use

type Dimensions = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Point:
    """One value of a metric; `at` is in milliseconds since 1970."""

    namespace: str
    name: str
    dimensions: Dimensions
    value: float
    at: int


STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "Sum": sum,
    "Maximum": max,
    "Minimum": min,
    "Average": lambda values: sum(values) / len(values),
}


def points_of(lines: Iterable[str]) -> Iterator[Point]:
    """Give the values that log lines hold; one that CloudWatch would not take is an error."""
    for line in lines:
        if '"_aws"' in line:
            document = json.loads(line)
            for directive in document["_aws"]["CloudWatchMetrics"]:
                yield from _points(document, directive)


def _points(document: Mapping[str, Any], directive: Mapping[str, Any]) -> Iterator[Point]:
    assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
    assert len(directive["Metrics"]) <= 100
    for names in directive["Dimensions"]:
        assert len(names) <= 30
        values = {name: document[name] for name in names}
        assert all(isinstance(value, str) and 0 < len(value) <= 1024 for value in values.values()), values
        for metric in directive["Metrics"]:
            value = document[metric["Name"]]
            assert isinstance(value, int | float), metric
            assert metric["Unit"] in UNITS
            at = document["_aws"]["Timestamp"]
            yield Point(directive["Namespace"], metric["Name"], frozenset(values.items()), float(value), at)


def by_name(lines: Iterable[str]) -> dict[str, list[float]]:
    """Give all values in log lines by the name of their metric, each once, however many dimensions it is counted by."""
    found: dict[str, list[float]] = {}
    for line in lines:
        for name, value in dict.fromkeys((point.name, point.value) for point in points_of([line])):
            found.setdefault(name, []).append(value)
    return found
