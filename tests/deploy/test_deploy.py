"""`make deploy`, as a stranger and as an operator use it."""

import io
import re
import shlex
import zipfile
from collections.abc import Mapping

import httpx
import pytest

from infra.local.stack import Stack
from tests.deploy.made import SECRETS, Made
from tests.journey.local import Local
from tests.journey.replicate import PATIENCE_S

pytestmark = pytest.mark.sockets


def parameters(made: Made, name: str = "afterimage-local") -> dict[str, str]:
    (described,) = made.aws.cloudformation.describe_stacks(StackName=name)["Stacks"]
    return {one["ParameterKey"]: one["ParameterValue"] for one in described["Parameters"]}


def secrets(made: Made) -> dict[str, str]:
    names = [f"/afterimage/local/{name}" for name in SECRETS]
    found = made.aws.ssm.get_parameters(Names=names, WithDecryption=True)["Parameters"]
    return {one["Name"]: one["Value"] for one in found}


def tenants_and_keys(local: Local) -> set[str]:
    pages = local.aws.dynamodb.get_paginator("scan").paginate(TableName=local.stack.accounts_table)
    rows = {item["pk"]["S"] for page in pages for item in page["Items"]}
    return {pk for pk in rows if pk.startswith(("account#", "key#"))}


def live(local: Local, function: str) -> Mapping[str, str]:
    """Give the variables of the version that is called."""
    found = local.aws.lambda_.get_function_configuration(FunctionName=local.stack.functions[function], Qualifier="live")
    return found["Environment"]["Variables"]


def test_a_stranger_is_led_from_nothing_to_a_request_that_works(made: Made, stack: Stack) -> None:
    shown = made.shown
    assert made.status == 0, shown
    assert "account 000000000000 in us-east-1" in shown
    assert shown.count("Deploy this changeset?") == 1
    assert re.search(r"^secrets\s+ok\b", shown, re.MULTILINE), shown
    assert re.search(r"^webhook URL\s+ok\b", shown, re.MULTILINE), shown
    (command,) = re.findall(r"^ +curl ((?:.*\\\n)*.*)", shown, re.MULTILINE)
    url, *rest = [one for one in shlex.split(command.replace("\\\n", "")) if one != "-sS"]
    options = list(zip(rest[::2], rest[1::2], strict=True))
    headers = dict(value.split(": ", 1) for flag, value in options if flag == "-H")
    assert url == f"{stack.api_url}/generate"
    answer = httpx.post(url, content=dict(options)["-d"], headers=headers, timeout=PATIENCE_S)
    assert answer.status_code in {200, 202}, answer.text
    key = headers["Authorization"].removeprefix("Bearer ")
    assert f"The API key of tenant 'first', which cannot be shown again: {key}" in shown


def test_the_token_that_is_typed_is_stored_and_never_shown(made: Made, stack: Stack) -> None:
    assert stack.api_url
    stored = secrets(made)
    assert len(stored) == 4
    assert stored["/afterimage/local/replicate-api-token"] == made.token
    for value in stored.values():
        assert value not in made.shown


def test_what_was_deployed_is_what_was_built(made: Made, local: Local) -> None:
    layers = local.aws.lambda_.get_function_configuration(FunctionName=local.stack.functions["submit"])["Layers"]
    url = local.aws.lambda_.get_layer_version_by_arn(Arn=layers[0]["Arn"])["Content"]["Location"]
    packed = zipfile.ZipFile(io.BytesIO(httpx.get(url, timeout=PATIENCE_S).content))
    built = made.built / "SharedLayer"
    here = {str(path.relative_to(built)): path.read_bytes() for path in built.rglob("*") if path.is_file()}
    assert {name: packed.read(name) for name in packed.namelist() if not name.endswith("/")} == here


def test_it_can_be_repeated_and_changes_nothing(made: Made, local: Local) -> None:
    with made.run("deploy", "--unattended", *made.given()) as terminal:
        assert terminal.end() == 0, terminal.shown
    assert re.fullmatch("[0-9a-f]{16}", parameters(made)["Release"])
    before = parameters(made), secrets(made), tenants_and_keys(local)
    with made.run("deploy", *made.given()) as terminal:
        assert terminal.end() == 0, terminal.shown
    assert (parameters(made), secrets(made), tenants_and_keys(local)) == before
    assert "No changes to deploy" in terminal.shown
    assert "Keys of theirs are there, and are not shown again." in terminal.shown
    assert "Bearer YOUR_API_KEY" in terminal.shown


def test_a_changed_parameter_alone_reaches_the_version_that_is_called(made: Made, local: Local) -> None:
    before = secrets(made), tenants_and_keys(local), parameters(made)["Release"]
    with made.run("deploy", "--unattended", *made.given("RatePerMinute=51")) as terminal:
        assert terminal.end() == 0, terminal.shown
    assert live(local, "submit")["RATE_PER_MINUTE"] == "51"
    assert (secrets(made), tenants_and_keys(local)) == before[:2]
    assert parameters(made)["Release"] != before[2]
    made.parameters.append("RatePerMinute=51")
    with local.tenant() as tenant:
        local.end([tenant.generate()])


def test_a_no_changes_nothing(made: Made, local: Local) -> None:
    before = parameters(made)
    with made.run("deploy", *made.given("RatePerMinute=52")) as terminal:
        terminal.expect(r"Deploy this changeset\?.*:")
        terminal.type("n")
        assert terminal.end() == 1
    assert terminal.shown.rstrip().endswith("Nothing was deployed.")
    assert parameters(made) == before
    assert live(local, "submit")["RATE_PER_MINUTE"] != "52"


def test_sam_deploy_alone_takes_the_same_settings(made: Made, local: Local) -> None:
    template = str(made.built / "template.yaml")
    settings = ("--config-file", str(made.config), "--config-env", "local")
    with made.sam("deploy", *settings, "--template-file", template, "--no-confirm-changeset") as terminal:
        assert terminal.end() == 0, terminal.shown
    assert parameters(made)["Release"] == ""
    with local.tenant() as tenant:
        local.end([tenant.generate()])


def test_a_stage_that_nobody_has_described_is_refused(made: Made, stack: Stack) -> None:
    assert stack.api_url
    with made.run("deploy", *made.named("elsewhere")) as terminal:
        assert terminal.end() == 1
    assert terminal.shown == "samconfig.toml has no stage 'elsewhere', but local, prod.\n"
