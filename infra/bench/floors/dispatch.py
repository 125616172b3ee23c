"""Claims the job that a message names; has what it takes to start it."""

import json
import os
from typing import Any

import boto3
from replicate.client import Client

from infra.bench.floors.aws import LOG, secret, touch

CLIENT = Client(api_token=secret("REPLICATE_TOKEN_PARAMETER"), base_url=os.environ["REPLICATE_API_URL"])
CALLBACK_KEY = secret("CALLBACK_KEY_PARAMETER")
SQS = boto3.client("sqs")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401, ARG001
    """Look at each message."""
    for record in event["Records"]:
        job_id = json.loads(record["body"])["job_id"]
        touch("limit", status="leased")
        touch(job_id, status="starting")
        LOG.info("claimed", job_id=job_id)
    return {"batchItemFailures": []}
