"""Reads the job that a message names, and its tenant's secret; calls, signed; writes that it was heard."""

import base64
import hashlib
import hmac
import json
import os
import time
from typing import Any

import boto3
import urllib3

from infra.bench.floors.aws import DYNAMODB, JOBS, LOG, secret, touch

LINK_KEY = secret("LINK_KEY_PARAMETER")
ACCOUNTS = os.environ["ACCOUNTS_TABLE"]
SQS = boto3.client("sqs")
POOL = urllib3.PoolManager()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401, ARG001
    """Work on each message."""
    for record in event["Records"]:
        _, tenant, job_id, _ = json.loads(record["body"])["detail"]["object"]["key"].split("/")
        item = DYNAMODB.get_item(TableName=JOBS, Key={"pk": {"S": f"job#{job_id}"}})["Item"]
        DYNAMODB.get_item(TableName=ACCOUNTS, Key={"pk": {"S": f"tenant#{tenant}"}})
        body = json.dumps({"id": job_id, "status": item["status"]["S"]}).encode()
        at = str(int(time.time()))
        digest = hmac.digest(LINK_KEY.encode(), f"{job_id}.{at}.".encode() + body, hashlib.sha256)
        signature = f"v1,{base64.b64encode(digest).decode()}"
        headers = {"webhook-id": job_id, "webhook-timestamp": at, "webhook-signature": signature}
        POOL.request("POST", item["webhook"]["S"], body=body, headers=headers)
        touch(job_id, status="heard")
        LOG.info("told", job_id=job_id)
    return {"batchItemFailures": []}
