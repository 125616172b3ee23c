"""Goes through the index of what is due; has what it takes to ask Replicate."""

import os
import time
from typing import Any

import boto3
from replicate.client import Client

from infra.bench.floors.aws import DYNAMODB, JOBS, LOG, secret
from shared.job_store import SHARDS, shard_name

CLIENT = Client(api_token=secret("REPLICATE_TOKEN_PARAMETER"), base_url=os.environ["REPLICATE_API_URL"])
SQS = boto3.client("sqs")


def handler(event: dict[str, Any], context: Any) -> dict[str, int]:  # noqa: ANN401, ARG001
    """Look into each shard."""
    found = 0
    for shard in range(SHARDS):
        found += DYNAMODB.query(
            TableName=JOBS,
            IndexName="due",
            KeyConditionExpression="due_shard = :shard AND due_at <= :now",
            ExpressionAttributeValues={
                ":shard": {"S": shard_name(shard)},
                ":now": {"N": str(time.time_ns() // 1_000_000)},
            },
        )["Count"]
    LOG.info("looked", found=found)
    return {"looked_after": found}
