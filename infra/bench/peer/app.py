"""One Lambda with FastAPI behind Mangum: it starts predictions, and stores their images in the webhook's request."""

import json
import os
import time
from typing import Any, Literal

import boto3
import httpx
from fastapi import FastAPI, HTTPException, Request
from mangum import Mangum
from pydantic import BaseModel, Field
from replicate.client import Client
from replicate.webhook import InvalidSecretKeyError, Webhooks, WebhookSigningSecret, WebhookValidationError

TABLE = boto3.resource("dynamodb").Table(os.environ["TABLE"])
S3 = boto3.client("s3")
BUCKET = os.environ["BUCKET"]
CLIENT = Client(api_token=os.environ["REPLICATE_API_TOKEN"], base_url=os.environ["REPLICATE_URL"])
SECRET = WebhookSigningSecret(key=os.environ["WEBHOOK_SECRET"])
PUBLIC_URL = os.environ["PUBLIC_URL"]

app = FastAPI(title="Images")


class FluxInput(BaseModel):
    """What a caller may ask for."""

    prompt: str = Field(min_length=1, max_length=10_000)
    model: str = "black-forest-labs/flux-schnell"
    aspect_ratio: Literal["1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "9:16", "9:21"] = "1:1"
    num_outputs: int = Field(ge=1, le=4, default=1)
    output_format: Literal["webp", "jpg", "png"] = "webp"
    output_quality: int = Field(ge=0, le=100, default=80)
    seed: int | None = None


class Started(BaseModel):
    """What is answered."""

    prediction_id: str
    status: str


class Shown(Started):
    """What a prediction is shown as."""

    images: list[str] | None = None
    error: str | None = None


@app.post("/generate", status_code=202)
def generate(wanted: FluxInput) -> Started:
    """Start a prediction with a webhook."""
    prediction = CLIENT.models.predictions.create(
        model=wanted.model,
        input=wanted.model_dump(exclude={"model"}, exclude_none=True),
        webhook=f"{PUBLIC_URL}/webhooks/replicate",
        webhook_events_filter=["start", "completed"],
    )
    TABLE.put_item(
        Item={"pk": prediction.id, "status": prediction.status, "created_at": int(time.time()), "input": wanted.prompt}
    )
    return Started(prediction_id=prediction.id, status=prediction.status)


@app.post("/webhooks/replicate")
async def webhook(request: Request) -> dict[str, bool]:
    """Take a webhook, and store the images of one that has succeeded."""
    body = (await request.body()).decode()
    try:
        Webhooks.validate(headers=dict(request.headers), body=body, secret=SECRET)
    except (WebhookValidationError, InvalidSecretKeyError) as error:
        raise HTTPException(401, "bad signature") from error
    prediction = json.loads(body)
    keys = []
    if prediction["status"] == "succeeded":
        async with httpx.AsyncClient(follow_redirects=True, timeout=60) as client:
            for number, url in enumerate(prediction["output"] or []):
                answer = await client.get(url)
                answer.raise_for_status()
                key = f"images/{prediction['id']}/{number}.webp"
                S3.put_object(Bucket=BUCKET, Key=key, Body=answer.content, ContentType="image/webp")
                keys.append(key)
    TABLE.update_item(
        Key={"pk": prediction["id"]},
        UpdateExpression="SET #s = :s, images = :i, #e = :e",
        ExpressionAttributeNames={"#s": "status", "#e": "error"},
        ExpressionAttributeValues={":s": prediction["status"], ":i": keys, ":e": prediction.get("error")},
    )
    return {"ok": True}


@app.get("/predictions/{prediction_id}")
def read(prediction_id: str) -> Shown:
    """Show a prediction."""
    item: dict[str, Any] | None = TABLE.get_item(Key={"pk": prediction_id}).get("Item")
    if item is None:
        raise HTTPException(404, "no such prediction")
    images = [
        S3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key}, ExpiresIn=3600)
        for key in item.get("images", [])
    ]
    return Shown(prediction_id=prediction_id, status=item["status"], images=images or None, error=item.get("error"))


handler = Mangum(app, lifespan="off")
