"""Every function of the artifact starts and answers under Lambda's own runtime, with the variables of the template."""

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.artifact.running import RUNTIME, Answer, invoke
from tests.support.template import Template

pytestmark = pytest.mark.sockets


def request(method: str, path: str, body: str = "") -> dict[str, Any]:
    """Make an event as the HTTP API sends it."""
    http = {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "test"}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": "api.example", "content-type": "application/json"},
        "requestContext": {"http": http, "requestId": "r", "stage": "$default", "timeEpoch": 1_700_000_000_000},
        "body": body,
        "isBase64Encoded": False,
    }


QUEUES = ("dispatch", "archive", "notify")
# Nothing of AWS is here. They are wired before all else, and get as far as asking for a secret or a table.
NEEDY: dict[str, dict[str, Any]] = {
    "submit": request("POST", "/generate", "{}"),
    "webhook": request("POST", "/webhooks/replicate/x", "{}"),
    "status": request("GET", "/v1/predictions"),
    "files": request("POST", "/uploads", "{}"),
    "cancel": request("POST", "/v1/predictions/x/cancel"),
    "reconcile": {},
}


def run(artifact: Path, name: str, event: object, folder: Path) -> Answer:
    assert RUNTIME.is_dir(), "run `make test-artifact`"
    function = Template({}, {}).function(f"{name.capitalize()}Function")
    log = folder / "log"
    variables = dict(function.environment)
    return invoke(artifact / f"{name.capitalize()}Function", function.handler, event, log=log, variables=variables)


def test_every_function_is_run() -> None:
    names = {function.handler.partition(".")[0] for function in Template({}, {}).functions()}
    assert names == {"console", "catalog", *QUEUES, *NEEDY}


def test_the_console_answers_with_its_page(native: Path, tmp_path: Path) -> None:
    answer = run(native, "console", request("GET", "/"), tmp_path)
    assert answer.value["statusCode"] == 200, answer.log
    assert answer.value["headers"]["content-type"].startswith("text/html")
    assert b"<title>" in base64.b64decode(answer.value["body"])


def test_the_catalog_asks_for_a_key(native: Path, tmp_path: Path) -> None:
    answer = run(native, "catalog", request("GET", "/models"), tmp_path)
    assert answer.value["statusCode"] == 401, answer.log


@pytest.mark.parametrize("name", QUEUES)
def test_a_function_of_a_queue_takes_what_it_is_given(native: Path, tmp_path: Path, name: str) -> None:
    assert run(native, name, {"Records": []}, tmp_path).value == {"batchItemFailures": []}


@pytest.mark.parametrize("name", NEEDY)
def test_a_function_that_needs_aws_gets_as_far_as_asking_for_it(native: Path, tmp_path: Path, name: str) -> None:
    answer = run(native, name, NEEDY[name], tmp_path)
    assert "NoCredentialsError" in f"{answer.log} {answer.value}"


def test_a_module_that_is_missing_is_noticed(native: Path, tmp_path: Path) -> None:
    answer = invoke(native / "StatusFunction", "status.gone.handler", {}, log=tmp_path / "log")
    assert answer.value["errorType"] == "Runtime.ImportModuleError"
