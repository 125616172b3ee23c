"""Reads the job that a message names."""

import json
from typing import Any

import boto3

from infra.bench.floors.aws import DYNAMODB, JOBS, LOG, secret

LINK_KEY = secret("LINK_KEY_PARAMETER")
SQS = boto3.client("sqs")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401, ARG001
    """Look at each message."""
    for record in event["Records"]:
        job_id = json.loads(record["body"])["detail"]["object"]["key"].split("/")[2]
        DYNAMODB.get_item(TableName=JOBS, Key={"pk": {"S": f"job#{job_id}"}})
        LOG.info("told", job_id=job_id)
    return {"batchItemFailures": []}
