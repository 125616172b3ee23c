"""From an AWS account to a request that works: built, deployed, given its secrets and a first tenant, and looked over.

Each step finds out whether it is done already, so that the whole can be repeated after whatever went wrong.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import boto3
import typer
from botocore.exceptions import ClientError

from infra.deploy.target import ROOT, Target, release
from infra.ops.command import Operator
from infra.ops.deployment import Deployment
from infra.ops.doctor import doctor
from infra.ops.screen import OpsError, Screen
from infra.ops.secret_parameters import KEYS, TOKEN, WEBHOOK_SECRET, set_secrets

_SAM = Path(sys.executable).with_name("sam")
_DEPLOYED = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE"})
_BODY = '{"prompt": "an astronaut riding a horse", "num_images": 1}'


def deploy(target: Target, *, tenant: str, built: Path | None = None, unattended: bool = False) -> None:
    """Deploy, or deploy again.

    `built` is what was built before; without it, it is built now. `tenant` is made if there is none. What is
    `unattended` asks nothing, and makes no tenant: nobody should find a key in a log.

    Raises:
        OpsError: a step failed, or was not wanted; what was done before it stays, and is not done again.
        typer.Exit: everything is there, but `doctor` found something.
    """
    _say(f"Deploying stage {target.stage} as the stack {target.stack}, to {_account()}.")
    if built is None:
        built = ROOT / ".aws-sam" / "build"
        _sam("build", "--config-file", target.config, "--template-file", ROOT / "template.yaml", "--build-dir", built)
    _deploy(target, built, unattended=unattended)
    found = Deployment.find(target.stack)
    ops = Operator(Screen(), lambda: found)
    if unfinished := _missing_secrets(target.stage):
        _say(f"Not there yet: {', '.join(unfinished)}.")
        set_secrets(ops, _token(unattended=unattended))
    key = None if unattended else _first_key(found, tenant)
    _say("Looking it over:")
    is_well = _is_well(ops)
    _say(_how_to_use(found, key))
    if not is_well:
        _say("It is deployed, but something above has failed; `make deploy` can be repeated once it is repaired.")
        raise typer.Exit(1)


def _say(text: str) -> None:
    print(f"\n{text}", flush=True)  # before what another program prints


def _account() -> str:
    session = boto3.Session()
    if session.region_name is None:
        raise OpsError("There is no region: set AWS_DEFAULT_REGION, such as us-east-1.")
    identity = session.client("sts").get_caller_identity()
    return f"account {identity['Account']} in {session.region_name}, as {identity['Arn']}"


def _sam(command: str, *arguments: str | Path) -> None:
    done = subprocess.run(
        [_SAM, command, *arguments], cwd=ROOT, env=os.environ | {"SAM_CLI_TELEMETRY": "0"}, check=False
    )
    if done.returncode != 0:
        raise OpsError(f"`sam {command}` has failed; it says why above.")


def _deploy(target: Target, built: Path, *, unattended: bool) -> None:
    wanted = release(built, target.parameters)
    with tempfile.TemporaryDirectory() as folder:
        # From a file, values are taken as they are; on a command line, sam has rules of its own about quotes.
        parameters = Path(folder, "parameters.yaml")
        parameters.write_text(json.dumps({**target.parameters, "Release": wanted}))
        _sam(
            "deploy",
            *("--config-file", target.config, "--config-env", target.stage),
            *("--template-file", built / "template.yaml", "--parameter-overrides", f"file://{parameters}"),
            *(["--no-confirm-changeset"] if unattended else []),
        )
    # sam counts a "no" to its question as success.
    if _deployed(target.stack) != wanted:
        raise OpsError("Nothing was deployed.")


def _deployed(stack: str) -> str | None:
    """Give the release that a stack has come to, if it has come to one."""
    try:
        described = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        return None
    given = {one["ParameterKey"]: one.get("ParameterValue") for one in described.get("Parameters", [])}
    return given.get("Release") if described["StackStatus"] in _DEPLOYED else None


def _missing_secrets(stage: str) -> list[str]:
    names = [f"/afterimage/{stage}/{name}" for name in (TOKEN, WEBHOOK_SECRET, *KEYS)]
    return boto3.client("ssm").get_parameters(Names=names)["InvalidParameters"]


def _token(*, unattended: bool) -> str:
    given = os.environ.get("REPLICATE_API_TOKEN")
    if given:
        _say("The token is that of REPLICATE_API_TOKEN.")
        return given
    if unattended:
        raise OpsError("Secrets are missing: deploy once by hand, or run `python -m infra.ops secrets set`.")
    asked: Any = typer.prompt("Replicate API token", hide_input=True)
    return str(asked)


def _first_key(deployment: Deployment, name: str) -> str | None:
    """Make the first tenant and the first key, unless there are some."""
    there = deployment.tenants.all()
    if deployment.tenants.keys(None):
        _say(f"Tenants: {', '.join(one.name for one in there)}. Keys of theirs are there, and are not shown again.")
        return None
    if not there:
        deployment.accounts.create_tenant(name, {})
    else:
        name = there[0].name
    key = deployment.accounts.create_key(name)
    _say(f"The API key of tenant {name!r}, which cannot be shown again: {key}")
    return key


def _is_well(ops: Operator) -> bool:
    try:
        doctor(ops)
    except typer.Exit:
        return False
    return True


def _how_to_use(deployment: Deployment, key: str | None) -> str:
    origin = deployment.settings.origins[0]
    return f"""\
Ask for an image:

  curl -sS {origin}/generate -H 'Authorization: Bearer {key or "YOUR_API_KEY"}' \\
    -H 'Content-Type: application/json' -H 'Prefer: wait' \\
    -d '{_BODY}'

Console      {origin}/
Operate it   AFTERIMAGE_STACK={deployment.name} .venv/bin/python -m infra.ops --help"""
