"""The first prediction: submitted, watched and looked at through the public interface, as a stranger would."""

import json
import time
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from infra.local.deploy import Aws
from infra.local.stack import Stack

_TIMEOUT_S = 120
_POLL_S = 0.1
_FINISHED = frozenset({"succeeded", "failed", "canceled"})
_LOGGED_LINES = 15
_LAMBDAS_OWN_LINES = ("INIT_START", "START", "END", "REPORT")
_REQUEST = {"prompt": "a lighthouse at dawn, watercolour", "num_images": 1}


class ProofError(Exception):
    """The stack is up, but its first prediction did not come through."""


@dataclass(frozen=True)
class Proof:
    """A prediction that came through."""

    prediction_id: str
    status: str
    images: list[str]
    keys: list[str]


def prove(stack: Stack) -> Proof:
    """Run one prediction to its end and read its image.

    Raises:
        ProofError: an answer was not what it should have been; the message holds it.
    """
    try:
        return _prove(stack)
    except (ProofError, httpx.HTTPError) as error:
        raise ProofError("\n".join([str(error), "", "What the functions logged last:", *_logged(stack)])) from error


def _prove(stack: Stack) -> Proof:
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=_TIMEOUT_S, trust_env=False) as client:
        answer = _checked(client.post("/generate", json=_REQUEST))
        deadline = time.monotonic() + _TIMEOUT_S
        while (job := answer.json())["status"] not in _FINISHED:
            if time.monotonic() > deadline:
                raise ProofError(f"The prediction was not finished after {_TIMEOUT_S} s: {json.dumps(job)}")
            time.sleep(_POLL_S)
            answer = _checked(client.get(f"/predictions/{job['prediction_id']}"))
        if job["status"] != "succeeded":
            raise ProofError(f"The prediction ended otherwise: {json.dumps(job)}")
    for image in job["images"]:
        # Without the API key, as a browser would; the link leads on to the bucket.
        _checked(httpx.get(image, follow_redirects=True, timeout=_TIMEOUT_S, trust_env=False))
    return Proof(job["prediction_id"], job["status"], job["images"], _stored(stack, job["prediction_id"]))


def _stored(stack: Stack, prediction_id: str) -> list[str]:
    s3 = Aws(stack.aws_endpoint_url).s3
    found = s3.list_objects_v2(Bucket=stack.bucket, Prefix="jobs/").get("Contents", [])
    return [item["Key"] for item in found if f"/{prediction_id}/" in item["Key"]]


def _logged(stack: Stack) -> list[str]:
    logs = Aws(stack.aws_endpoint_url).logs
    events = [
        event
        for function in stack.functions.values()
        for event in logs.filter_log_events(logGroupName=f"/aws/lambda/{function}")["events"]
        if not event["message"].startswith(_LAMBDAS_OWN_LINES)
    ]
    events.sort(key=lambda event: event["timestamp"])
    return [event["message"].rstrip() for event in events[-_LOGGED_LINES:]]


def _checked(response: httpx.Response) -> httpx.Response:
    if response.status_code >= HTTPStatus.BAD_REQUEST:
        request = response.request
        raise ProofError(f"{request.method} {request.url} answered {response.status_code}: {response.text}")
    return response
