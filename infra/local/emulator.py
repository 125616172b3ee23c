"""The process that plays AWS: MiniStack on one port and, once told which, the deployed API on two others.

Its sockets are opened by the stack and inherited, so ports are known, and known to be free, from the start.
"""

import argparse
import asyncio
import json
import os
import resource
import sys
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs

from hypercorn.asyncio import serve
from hypercorn.config import Config

from infra.local.asgi import App, Receive, Scope, Send, answer, header
from infra.local.conditions import (
    with_conditional_writes,
    with_each_parameter,
    with_encryption_context,
    with_leading_keys,
    with_rows_of_the_table,
)
from infra.local.gateway import HttpApi
from infra.local.processes import follow_stdin
from infra.local.transform import with_parameters

# The words of S3, which MiniStack lacks: it serves such a request as if the header were not there.
_TWO_AUTHORIZATIONS = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed; only the X-Amz-Algorithm query \
parameter, Signature query string parameter or the Authorization header should be specified</Message>\
<ArgumentName>Authorization</ArgumentName></Error>"""


def as_aws(app: App) -> App:
    """Wrap MiniStack so that it refuses what S3 refuses, and takes loopback for TLS, which the bucket demands."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        presigned = "X-Amz-Algorithm" in query or "Signature" in query
        if presigned and header(scope, b"authorization") is not None:
            await answer(send, HTTPStatus.BAD_REQUEST, "application/xml", _TWO_AUTHORIZATIONS)
            return
        headers = [*scope["headers"], (b"x-forwarded-proto", b"https")]
        await app({**scope, "headers": headers}, receive, send)

    return handle


def with_batches_of_sqs(extract: Callable[..., str | None]) -> Callable[..., str | None]:
    """Wrap what names the permission a request needs: SQS has none for batches, but asks for that of single ones."""

    def of_single(*arguments: object, **named: object) -> str | None:
        action = extract(*arguments, **named)
        return action.removesuffix("Batch") if action and action.startswith("sqs:") else action

    return of_single


def with_cors_of_templates[T](answers: Callable[[Mapping[str, object], str], T]) -> Callable[..., T]:
    """Wrap what answers by an API's CORS configuration: MiniStack keeps a template's names with their capitals."""

    def of_api(configuration: Mapping[str, object], origin: str) -> T:
        return answers({name[0].lower() + name[1:]: value for name, value in configuration.items()}, origin)

    return of_api


def environment(port: int) -> dict[str, str]:
    """Return the variables that MiniStack takes its settings from, and functions their credentials' endpoint."""
    return {
        "AUTH": "true",
        **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test"),
        "AWS_DEFAULT_REGION": "us-east-1",
        # Functions presign URLs for callers, so theirs is the address that callers can reach.
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LAMBDA_EXECUTOR": "local",
        "LAMBDA_WARM_TTL_SECONDS": "60",
    }


async def _serve(arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    told: asyncio.Future[str] = loop.create_future()

    def hear(line: bytes) -> None:
        if not told.done():  # who deploys may have told already
            loop.call_soon_threadsafe(told.set_result, json.loads(line)["api_id"])

    follow_stdin(hear)
    # Imported after the variables above are known to be set: MiniStack reads them at import.
    from ministack.app import app  # noqa: PLC0415
    from ministack.core import iam_actions, iam_evaluator  # noqa: PLC0415
    from ministack.core.router import extract_access_key_id  # noqa: PLC0415
    from ministack.services import apigateway  # noqa: PLC0415
    from ministack.services.cloudformation import changesets, engine, handlers  # noqa: PLC0415

    iam_actions.extract_iam_action = with_batches_of_sqs(iam_actions.extract_iam_action)
    iam_actions.extract_resource_arn = with_each_parameter(
        iam_actions.extract_resource_arn,
        lambda headers, action, region, arn: iam_evaluator.enforce(
            extract_access_key_id(headers, {}), action, "ssm", region, resource_arn=arn
        ),
    )
    iam_actions.dynamodb_service_context = with_leading_keys(iam_actions.dynamodb_service_context)
    iam_actions.request_tag_context = with_encryption_context(iam_actions.request_tag_context)
    iam_actions.s3_service_context = with_conditional_writes(iam_actions.s3_service_context)
    iam_evaluator._resolve_condition_key = with_rows_of_the_table(iam_evaluator._resolve_condition_key)  # noqa: SLF001
    for answering in ("_cors_response_headers", "_cors_preflight_response"):
        setattr(apigateway, answering, with_cors_of_templates(getattr(apigateway, answering)))
    for module in (changesets, handlers):
        module._apply_transforms = with_parameters(engine._apply_transforms, engine._transform_parameters)  # noqa: SLF001
    async with asyncio.TaskGroup() as servers:
        aws = _config()
        aws.bind = [f"fd://{arguments.aws_fd}"]
        servers.create_task(_run(as_aws(app), aws))
        api = _config()
        api.bind = [f"fd://{arguments.https_fd}"]
        api.insecure_bind = [f"fd://{arguments.http_fd}"]
        api.certfile, api.keyfile = str(arguments.certificate), str(arguments.key)
        servers.create_task(_run(HttpApi(app, await told), api))


def _config() -> Config:
    config = Config()
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    return config


async def _run(app: App, config: Config) -> None:
    # The trigger never fires: this process is ended by the end of its stdin.
    await serve(app, config, shutdown_trigger=asyncio.Event().wait)  # type: ignore[arg-type]


def main() -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--aws-fd", "--http-fd", "--https-fd"):
        parser.add_argument(name, type=int, required=True)
    for name in ("--certificate", "--key"):
        parser.add_argument(name, type=Path, required=True)
    arguments = parser.parse_args()
    # Whatever prints goes to the log; each connection and each worker of a function takes descriptors.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_serve(arguments))


if __name__ == "__main__":
    main()
