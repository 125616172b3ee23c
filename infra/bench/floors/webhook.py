"""Verifies, writes once, answers."""

import base64
import hashlib
import hmac
import json
from typing import Any

import boto3
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver

from infra.bench.floors.aws import LOG, secret, touch

SQS = boto3.client("sqs")
KEY = base64.b64decode(secret("WEBHOOK_SECRET_PARAMETER").removeprefix("whsec_"))
app = APIGatewayHttpResolver()


@app.post("/webhooks/replicate/<job_id>")
def receive(job_id: str) -> dict[str, bool]:
    """Take one webhook."""
    headers, body = app.current_event.headers, app.current_event.decoded_body or ""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}"
    digest = base64.b64encode(hmac.digest(KEY, signed.encode(), hashlib.sha256)).decode()
    if not hmac.compare_digest(headers["webhook-signature"].removeprefix("v1,"), digest):
        raise PermissionError
    touch(job_id, status=json.loads(body)["status"])
    LOG.info("received", job_id=job_id)
    return {"received": True}


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401
    """Answer."""
    return app.resolve(event, context)
