"""Reads a key and a job, answers; has what it takes to cancel with Replicate."""

import os
from typing import Any

import boto3
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from replicate.client import Client

from infra.bench.floors.aws import DYNAMODB, JOBS, LOG, secret

CLIENT = Client(api_token=secret("REPLICATE_TOKEN_PARAMETER"), base_url=os.environ["REPLICATE_API_URL"])
LINK_KEY = secret("LINK_KEY_PARAMETER")
ACCOUNTS = os.environ["ACCOUNTS_TABLE"]
SQS = boto3.client("sqs")
app = APIGatewayHttpResolver()


@app.post("/v1/predictions/<job_id>/cancel")
def cancel(job_id: str) -> dict[str, Any]:
    """Give one job, which has ended."""
    DYNAMODB.get_item(TableName=ACCOUNTS, Key={"pk": {"S": "key#none"}})
    item = DYNAMODB.get_item(TableName=JOBS, Key={"pk": {"S": f"job#{job_id}"}})["Item"]
    LOG.info("read", job_id=job_id)
    return {"id": job_id, "status": item["status"]["S"]}


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401
    """Answer."""
    return app.resolve(event, context)
