"""Reads a job, answers its file."""

import os
from typing import Any

import boto3
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response

from infra.bench.floors.aws import DYNAMODB, JOBS, secret

LINK_KEY = secret("LINK_KEY_PARAMETER")
S3 = boto3.client("s3")
app = APIGatewayHttpResolver()


@app.get("/files/<job_id>/<name>")
def download(job_id: str, name: str) -> Response[Any]:
    """Give one file."""
    item = DYNAMODB.get_item(TableName=JOBS, Key={"pk": {"S": f"job#{job_id}"}})["Item"]
    key = f"jobs/{item['tenant']['S']}/{job_id}/{name}"
    content = S3.get_object(Bucket=os.environ["BUCKET"], Key=key)["Body"].read()
    return Response(200, "image/webp", content)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401
    """Answer."""
    return app.resolve(event, context)
