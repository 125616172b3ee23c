"""Validates, writes the job, starts it with Replicate, writes again."""

import os
import uuid
from typing import Any, Literal

import boto3
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from pydantic import BaseModel, Field
from replicate.client import Client

from infra.bench.floors.aws import DYNAMODB, LOG, secret, touch

CLIENT = Client(api_token=secret("REPLICATE_TOKEN_PARAMETER"), base_url=os.environ["REPLICATE_API_URL"])
LINK_KEY, CALLBACK_KEY = secret("LINK_KEY_PARAMETER"), secret("CALLBACK_KEY_PARAMETER")
ACCOUNTS = os.environ["ACCOUNTS_TABLE"]
SQS = boto3.client("sqs")
app = APIGatewayHttpResolver()


class Input(BaseModel):
    """What the model takes."""

    prompt: str
    aspect_ratio: str = "1:1"
    num_outputs: int = Field(ge=1, le=4, default=1)
    output_format: Literal["webp", "jpg", "png"] = "webp"
    output_quality: int = Field(ge=0, le=100, default=80)
    seed: int | None = None


class Body(BaseModel):
    """What a caller sends."""

    input: Input


@app.post("/v1/models/<owner>/<name>/predictions")
def create(owner: str, name: str) -> Response[Any]:
    """Start one prediction."""
    body = Body.model_validate(app.current_event.json_body)
    DYNAMODB.get_item(TableName=ACCOUNTS, Key={"pk": {"S": "key#none"}})
    job_id = uuid.uuid4().hex
    touch(job_id, status="starting")
    prediction = CLIENT.models.predictions.create(
        (owner, name), body.input.model_dump(exclude_none=True), webhook="https://images.example.com/webhooks/none"
    )
    touch(job_id, status=prediction.status, prediction_id=prediction.id)
    LOG.info("started", job_id=job_id)
    return Response(201, "application/json", prediction.json())


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401
    """Answer."""
    return app.resolve(event, context)
