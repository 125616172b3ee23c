"""Deploying the real template to the emulator, as `sam deploy` would to AWS."""

import io
import py_compile
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.client import CloudFormationClient

_ARTIFACTS = "afterimage-local-artifacts"
_STACK = "afterimage-local"
_OBSERVABILITY = "infra/observability.yaml"
_DEPLOY_TIMEOUT_S = 180
_SETTLED = frozenset({"CREATE_COMPLETE", "CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"})


class DeployError(Exception):
    """The template was not deployed; the message has the reasons that CloudFormation gave."""


class Aws:
    """The emulator's clients, as its administrator."""

    def __init__(self, endpoint_url: str) -> None:
        self.endpoint_url = endpoint_url
        session = boto3.Session(
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - MiniStack's fixed administrator  # nosec B106
            region_name="us-east-1",
        )
        self.cloudformation = session.client("cloudformation", endpoint_url=endpoint_url)
        self.lambda_ = session.client("lambda", endpoint_url=endpoint_url)
        self.dynamodb = session.client("dynamodb", endpoint_url=endpoint_url)
        self.logs = session.client("logs", endpoint_url=endpoint_url)
        self.s3 = session.client("s3", endpoint_url=endpoint_url)
        self.ssm = session.client("ssm", endpoint_url=endpoint_url)


def package(folder: Path, prefix: str) -> bytes:
    """Return a zip of a folder's files below `prefix`, its modules compiled.

    Each worker of a function unpacks its own copy; without bytecode each would compile it anew.
    """
    content = io.BytesIO()
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    with zipfile.ZipFile(content, "w") as archive, tempfile.TemporaryDirectory() as scratch:
        compiled = Path(scratch, "module.pyc")
        for path in files:
            name = Path(prefix, path.relative_to(folder))
            archive.write(path, name)
            if path.suffix == ".py":
                py_compile.compile(
                    str(path),
                    str(compiled),
                    dfile=str(name),
                    doraise=True,
                    # Unpacked files have other times than these, so bytecode must not ask for them.
                    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                )
                cached = f"{path.stem}.{sys.implementation.cache_tag}.pyc"
                archive.write(compiled, name.parent / "__pycache__" / cached)
    return content.getvalue()


def deploy(aws: Aws, root: Path, parameters: Mapping[str, str]) -> dict[str, str]:
    """Deploy the template and return its outputs, with every resource's physical id by its logical one."""
    aws.s3.create_bucket(Bucket=_ARTIFACTS)
    # Dependencies are not packaged: functions run in this environment, which has the layer's pins.
    functions, shared = package(root / "functions", ""), package(root / "shared", "python/shared")
    aws.s3.put_object(Bucket=_ARTIFACTS, Key="functions.zip", Body=functions)
    aws.s3.put_object(Bucket=_ARTIFACTS, Key="shared.zip", Body=shared)
    nested = f"{aws.endpoint_url}/{_ARTIFACTS}/observability.yaml"
    aws.s3.put_object(Bucket=_ARTIFACTS, Key="observability.yaml", Body=(root / _OBSERVABILITY).read_bytes())
    template = _point_to_artifacts((root / "template.yaml").read_text(), nested)
    aws.s3.put_object(Bucket=_ARTIFACTS, Key="template.yaml", Body=template.encode())
    aws.cloudformation.create_stack(
        StackName=_STACK,
        TemplateURL=f"{aws.endpoint_url}/{_ARTIFACTS}/template.yaml",
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        OnFailure="DO_NOTHING",
    )
    return deployed(aws)


def deployed(aws: Aws) -> dict[str, str]:
    """Wait until the stack is deployed, and return its outputs and physical ids."""
    outputs = _wait(aws.cloudformation)
    repair_concurrency(aws)
    resources = aws.cloudformation.describe_stack_resources(StackName=_STACK)["StackResources"]
    return {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in resources} | outputs


def _point_to_artifacts(template: str, nested: str) -> str:
    """Name what was uploaded where the template names what lies here: what `sam package` does, and nothing else."""
    named = [
        (f"{key}: {folder}/", f"{key}: s3://{_ARTIFACTS}/{folder}.zip")
        for key, folder in (("CodeUri", "functions"), ("ContentUri", "shared"))
    ]
    for before, after in [*named, (f"TemplateURL: {_OBSERVABILITY}", f"TemplateURL: {nested}")]:
        if template.count(before) != 1:
            raise DeployError(f"template.yaml should say `{before}` exactly once.")
        template = template.replace(before, after)
    return template


def repair_concurrency(aws: Aws) -> None:
    """Set MaximumConcurrency again, since MiniStack keeps a parameter's number as text and stumbles over it."""
    for mapping in aws.lambda_.list_event_source_mappings()["EventSourceMappings"]:
        if scaling := mapping.get("ScalingConfig"):
            aws.lambda_.update_event_source_mapping(
                UUID=mapping["UUID"],
                ScalingConfig={"MaximumConcurrency": int(scaling["MaximumConcurrency"])},
            )


def _wait(cloudformation: "CloudFormationClient") -> dict[str, str]:
    deadline = time.monotonic() + _DEPLOY_TIMEOUT_S
    while time.monotonic() < deadline:
        stack = cloudformation.describe_stacks(StackName=_STACK)["Stacks"][0]
        if stack["StackStatus"] == "CREATE_COMPLETE":
            return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        if stack["StackStatus"] in _SETTLED:
            break
        time.sleep(0.05)
    events = cloudformation.describe_stack_events(StackName=_STACK)["StackEvents"]
    failed = [
        f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}"
        for event in events
        if event["ResourceStatus"].endswith("FAILED")
    ]
    raise DeployError("\n".join(["CloudFormation did not deploy template.yaml:", *failed]))
