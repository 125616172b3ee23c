"""Reads a key, and what is kept of Replicate's answer; has what it takes to ask Replicate."""

import os
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from pydantic import BaseModel

from infra.bench.floors.aws import DYNAMODB, JOBS, LOG

ACCOUNTS = os.environ["ACCOUNTS_TABLE"]
app = APIGatewayHttpResolver()


class Input(BaseModel):
    """What the model takes."""

    prompt: str


@app.get("/v1/models/<owner>/<name>")
def read(owner: str, name: str) -> dict[str, Any]:
    """Give one model."""
    DYNAMODB.get_item(TableName=ACCOUNTS, Key={"pk": {"S": "key#none"}})
    DYNAMODB.get_item(TableName=JOBS, Key={"pk": {"S": f"catalog#models/{owner}/{name}"}})
    LOG.info("read")
    return {"owner": owner, "name": name, "input": Input.model_json_schema()}


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401
    """Answer."""
    return app.resolve(event, context)
