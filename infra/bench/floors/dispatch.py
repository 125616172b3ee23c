"""Claims the job that a message names, starts it with Replicate, writes again."""

import json
import os
from typing import Any

import boto3
from replicate.client import Client

from infra.bench.floors.aws import DYNAMODB, JOBS, LOG, secret, touch

CLIENT = Client(api_token=secret("REPLICATE_TOKEN_PARAMETER"), base_url=os.environ["REPLICATE_API_URL"])
CALLBACK_KEY = secret("CALLBACK_KEY_PARAMETER")
SQS = boto3.client("sqs")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401, ARG001
    """Work on each message."""
    for record in event["Records"]:
        job_id = json.loads(record["body"])["job_id"]
        touch("limit", status="leased")
        touch(job_id, status="starting")
        item = DYNAMODB.get_item(TableName=JOBS, Key={"pk": {"S": f"job#{job_id}"}})["Item"]
        owner, name = item["model"]["S"].split("/")
        prediction = CLIENT.models.predictions.create(
            (owner, name), json.loads(item["input"]["S"]), webhook="https://images.example.com/webhooks/none"
        )
        touch(job_id, status=prediction.status, prediction_id=prediction.id)
        LOG.info("started", job_id=job_id)
    return {"batchItemFailures": []}
