"""AWS's published quotas, in us-east-1 and before any increase, and limits of our own that work like them.

The pages were looked up in 2026-11, in stored copies. A figure that was not found in one is marked `is_verified=False`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

READ_ON = "2026-11"


class Change(StrEnum):
    """Who can raise a limit."""

    ON_REQUEST = "AWS, on request"
    NEVER = "nobody"
    SWITCH = "a switch, for money"
    BY_ITSELF = "grows with the load, or is warmed before"


@dataclass(frozen=True)
class Quota:
    """A published limit, per account and region unless its name says otherwise."""

    name: str
    limit: float
    unit: str
    page: str
    change: Change
    is_verified: bool = True


_DYNAMODB = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide"
_LAMBDA = "https://docs.aws.amazon.com/lambda/latest/dg"

LAMBDA_CONCURRENCY = Quota(
    "Lambda: executions at the same time",
    1_000,
    "executions",
    f"{_LAMBDA}/gettingstarted-limits.html",
    Change.ON_REQUEST,
)
LAMBDA_SCALING = Quota(
    "Lambda: new environments of one function in 10 s",
    1_000,
    "environments",
    f"{_LAMBDA}/scaling-behavior.html",
    Change.NEVER,
)
LAMBDA_SCALING_S = 10.0
SOURCE_CONCURRENCY = Quota(
    "Lambda: executions of one SQS event source",
    1_000,
    "executions",
    f"{_LAMBDA}/services-sqs-scaling.html",
    Change.NEVER,
)
API_RATE = Quota(
    "API Gateway: requests of an account",
    10_000,
    "requests a second",
    "https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html",
    Change.ON_REQUEST,
)
PARTITION_WRITES = Quota(
    "DynamoDB: writes to one partition",
    1_000,
    "write units a second",
    f"{_DYNAMODB}/bp-partition-key-design.html",
    Change.NEVER,
)
NEW_TABLE_WRITES = Quota(
    "DynamoDB: writes to a new on-demand table or index",
    4_000,
    "write units a second",
    f"{_DYNAMODB}/warm-throughput-scenarios.html",
    Change.BY_ITSELF,
)
TABLE_WRITES = Quota(
    "DynamoDB: writes to one on-demand table",
    40_000,
    "write units a second",
    f"{_DYNAMODB}/ServiceQuotas.html",
    Change.ON_REQUEST,
    is_verified=False,
)
S3_PUTS = Quota(
    "S3: writes to one prefix",
    3_500,
    "requests a second",
    "https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html",
    Change.BY_ITSELF,
    is_verified=False,
)
EVENTS = Quota(
    "EventBridge: calls of targets (750 in the smallest regions)",
    18_750,
    "calls a second",
    "https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html",
    Change.ON_REQUEST,
)
SECRETS = Quota(
    "SSM: GetParameter, at cold starts",
    40,
    "calls a second",
    "https://docs.aws.amazon.com/general/latest/gr/ssm.html",
    Change.SWITCH,
    is_verified=False,
)
MESSAGES_IN_FLIGHT = Quota(
    "SQS: messages of one queue that are being worked on",
    120_000,
    "messages",
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html",
    Change.ON_REQUEST,
    is_verified=False,
)
DECRYPTIONS = Quota(
    "KMS: symmetric operations, at cold starts",
    50_000,
    "calls a second",
    "https://docs.aws.amazon.com/kms/latest/developerguide/requests-per-second.html",
    Change.ON_REQUEST,
    is_verified=False,
)
LOG_CALLS = Quota(
    "CloudWatch Logs: PutLogEvents (whether Lambda's own delivery counts is not published)",
    5_000,
    "calls a second",
    "https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html",
    Change.ON_REQUEST,
    is_verified=False,
)
ALL = (
    LAMBDA_CONCURRENCY,
    LAMBDA_SCALING,
    SOURCE_CONCURRENCY,
    API_RATE,
    PARTITION_WRITES,
    NEW_TABLE_WRITES,
    TABLE_WRITES,
    S3_PUTS,
    EVENTS,
    SECRETS,
    MESSAGES_IN_FLIGHT,
    DECRYPTIONS,
    LOG_CALLS,
)

# SQS calls a group noisy above this share of what is in flight (with at least 30 messages) or of the processing time:
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues-detailed.html
NOISY_SHARE = 0.10
