"""Reads a key and a job, answers."""

import os
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver

from infra.bench.floors.aws import DYNAMODB, JOBS, LOG, secret

LINK_KEY = secret("LINK_KEY_PARAMETER")
ACCOUNTS = os.environ["ACCOUNTS_TABLE"]
app = APIGatewayHttpResolver()


@app.get("/v1/predictions/<job_id>")
def read(job_id: str) -> dict[str, Any]:
    """Give one job."""
    DYNAMODB.get_item(TableName=ACCOUNTS, Key={"pk": {"S": "key#none"}})
    item = DYNAMODB.get_item(TableName=JOBS, Key={"pk": {"S": f"job#{job_id}"}})["Item"]
    LOG.info("read", job_id=job_id)
    return {"id": job_id, "status": item["status"]["S"]}


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401
    """Answer."""
    return app.resolve(event, context)
