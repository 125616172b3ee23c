"""Takes the job that a message names, copies its image, ends it."""

import json
import os
from typing import Any

import boto3
import urllib3

from infra.bench.floors.aws import LOG, touch

S3, SQS = boto3.client("s3"), boto3.client("sqs")
POOL = urllib3.PoolManager()
BUCKET = os.environ["BUCKET"]


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401, ARG001
    """Work on each message."""
    for record in event["Records"]:
        order = json.loads(record["body"])
        job_id = order["job_id"]
        touch(job_id, status="storing")
        for number, url in enumerate(order["prediction"]["output"]):
            content = POOL.request("GET", url).data
            S3.put_object(Bucket=BUCKET, Key=f"floor/{job_id}/{number}.webp", Body=content, ContentType="image/webp")
        touch(job_id, status="succeeded")
        S3.put_object(Bucket=BUCKET, Key=f"floor/{job_id}/manifest.json", Body=b"{}", ContentType="application/json")
        touch(job_id, archived_at="now")
        LOG.info("ended", job_id=job_id)
    return {"batchItemFailures": []}
