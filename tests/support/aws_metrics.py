"""The metrics that AWS writes by itself, as far as we look at them, as its documentation lists them."""

from collections.abc import Mapping
from dataclasses import dataclass

_DOCS = "https://docs.aws.amazon.com"


@dataclass(frozen=True)
class Documented:
    """A service's metrics: the names of their dimensions, and where that is said."""

    source: str
    metrics: Mapping[str, frozenset[frozenset[str]]]


def _by(*sets: tuple[str, ...]) -> frozenset[frozenset[str]]:
    return frozenset(frozenset(names) for names in sets)


_FUNCTION = _by((), ("FunctionName",), ("FunctionName", "Resource"), ("ExecutedVersion", "FunctionName", "Resource"))
_API = _by(("ApiId",), ("ApiId", "Stage"), ("ApiId", "Method", "Resource", "Stage"))

AWS_METRICS: Mapping[str, Documented] = {
    # Not 4XXError and 5XXError: those are of REST APIs.
    "AWS/ApiGateway": Documented(
        f"{_DOCS}/apigateway/latest/developerguide/http-api-metrics.html",
        dict.fromkeys(("4xx", "5xx", "Count", "IntegrationLatency", "Latency", "DataProcessed"), _API),
    ),
    "AWS/Lambda": Documented(
        f"{_DOCS}/lambda/latest/dg/monitoring-metrics-types.html",
        dict.fromkeys(("Invocations", "Errors", "Throttles", "Duration", "ConcurrentExecutions"), _FUNCTION),
    ),
    "AWS/SQS": Documented(
        f"{_DOCS}/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html",
        dict.fromkeys(("ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"), _by(("QueueName",))),
    ),
    "AWS/DynamoDB": Documented(
        f"{_DOCS}/amazondynamodb/latest/developerguide/metrics-dimensions.html",
        dict.fromkeys(
            ("ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"),
            _by(("TableName",), ("GlobalSecondaryIndexName", "TableName")),
        ),
    ),
    "AWS/S3": Documented(
        f"{_DOCS}/AmazonS3/latest/userguide/metrics-dimensions.html",
        {"BucketSizeBytes": _by(("BucketName", "StorageType"))},
    ),
}
