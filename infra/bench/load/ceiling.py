"""What the emulator can do at most: functions that do nothing behind the same gateway, and plain calls to its AWS."""

from __future__ import annotations

import http.client
import io
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.journey.local import Local

CALLERS = 8
ROUNDS = 3  # in turn, so that what else the machine does hits all of them
NOTHING = "a function that does nothing"
PUT = "DynamoDB PutItem"
_CODE = 'def handler(event, context):\n    return {"statusCode": 200, "body": "{}"}\n'
_PATH = "/load-nothing"
_SETTLED_S = 60


def measure(local: Local, seconds: float) -> dict[str, float]:
    """Give how many a second there were of each, with eight callers that do nothing else."""
    _deploy_nothing(local)
    callers = {
        NOTHING: _getting(local.stack.api_url, _PATH),
        "GET /health": _getting(local.stack.api_url, "/health"),
        PUT: _putting(local),
    }
    rates: dict[str, list[float]] = {name: [] for name in callers}
    for number in range(ROUNDS + 1):
        for name, caller in callers.items():
            rate = _rate(caller, seconds)
            if number:  # in the first round processes start
                rates[name].append(rate)
    return {name: median(found) for name, found in rates.items()}


def _rate(caller: Callable[[], Callable[[], None]], seconds: float) -> float:
    """Have each caller do it as often as it can for so long, and give how often a second that was."""

    def call() -> int:
        do, times = caller(), 0
        do()  # what is new takes longer once
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            do()
            times += 1
        return times

    with ThreadPoolExecutor(CALLERS) as pool:
        return sum(done.result() for done in [pool.submit(call) for _ in range(CALLERS)]) / seconds


def _getting(origin: str, path: str) -> Callable[[], Callable[[], None]]:
    def caller() -> Callable[[], None]:
        connection = http.client.HTTPConnection(urlsplit(origin).netloc, timeout=_SETTLED_S)

        def get() -> None:
            connection.request("GET", path)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != http.client.OK:
                raise RuntimeError(f"{path} answered {answer.status}: {content!r}")

        return get

    return caller


def _putting(local: Local) -> Callable[[], Callable[[], None]]:
    """Put an item of 1 KB, as plainly as the client allows."""
    item: Any = {"pk": {"S": "load#ceiling"}, "content": {"S": "x" * 1000}}

    def caller() -> Callable[[], None]:
        client = _client(local, "dynamodb")

        def put() -> None:
            client.put_item(TableName=local.stack.jobs_table, Item=item)

        return put

    return caller


def _client(local: Local, service: str) -> Any:  # noqa: ANN401 - boto3's, which are made of data
    session = boto3.Session(
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - MiniStack's fixed administrator  # nosec B106
        region_name="us-east-1",
    )
    once = Config(retries={"total_max_attempts": 1})
    return session.client(service, endpoint_url=local.stack.aws_endpoint_url, config=once)


def _deploy_nothing(local: Local) -> None:
    """Put a function that does nothing behind a route of the API, beside ours."""
    like: Any = local.aws.lambda_.get_function_configuration(FunctionName=local.stack.functions["status"])
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("nothing.py", _CODE)
    made = local.aws.lambda_.create_function(
        FunctionName="afterimage-local-nothing",
        Runtime="python3.13",
        Role=like["Role"],
        Handler="nothing.handler",
        Code={"ZipFile": content.getvalue()},
    )
    local.aws.lambda_.add_permission(
        FunctionName=made["FunctionName"],
        StatementId="gateway",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
    )
    gateway = _client(local, "apigatewayv2")
    (api,) = gateway.get_apis()["Items"]
    integration = gateway.create_integration(
        ApiId=api["ApiId"],
        IntegrationType="AWS_PROXY",
        IntegrationUri=made["FunctionArn"],
        PayloadFormatVersion="2.0",
    )
    gateway.create_route(
        ApiId=api["ApiId"], RouteKey=f"GET {_PATH}", Target=f"integrations/{integration['IntegrationId']}"
    )
