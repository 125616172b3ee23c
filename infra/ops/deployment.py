"""The deployment that a command works on: found by its CloudFormation stack, on AWS or on the local stack."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import boto3
from botocore.exceptions import ClientError

from infra.ops.screen import OpsError
from shared.accounts import Accounts
from shared.archive_queue import ArchiveQueue
from shared.dispatch_queue import DispatchQueue
from shared.dynamo import Dynamo
from shared.file_store import FileStore
from shared.job import Job
from shared.job_store import JobStore
from shared.ledger import Ledger
from shared.notify_queue import NotifyQueue
from shared.replicate_api import ReplicateApi
from shared.services import now, secret
from shared.settings import StartSettings, StatusSettings
from shared.tenants import Tenants
from shared.trained_models import TrainedModels
from shared.uploads import Uploads

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

LOCAL_STACK = "afterimage-local"
_STACK_FILE = Path(__file__).parents[2] / ".local" / "stack.json"
_QUEUE = "AWS::SQS::Queue"
_DEAD = "DeadLetterQueue"

type Environment = Callable[[str], Mapping[str, str]]


@dataclass(frozen=True)
class Deployment:
    """What was deployed: `physical` names and `types` of resources by their logical ids, and the stack's `parameters`.

    `environment` gives the variables of a function, by its logical id.
    """

    name: str
    status: str
    parameters: Mapping[str, str]
    physical: Mapping[str, str]
    types: Mapping[str, str]
    environment: Environment

    @classmethod
    def find(cls, name: str) -> Self:
        """Find a deployment by the name of its stack.

        Raises:
            OpsError: there is none where the credentials lead.
        """
        client = boto3.client("cloudformation")
        try:
            described = client.describe_stacks(StackName=name)["Stacks"][0]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            where = client.meta.region_name
            raise OpsError(
                f"There is no stack {name!r} in {where}. --stack names another one, --local is the one of `make run`."
            ) from error
        pages = client.get_paginator("list_stack_resources").paginate(StackName=name)
        resources = [one for page in pages for one in page["StackResourceSummaries"]]
        physical = {one["LogicalResourceId"]: one.get("PhysicalResourceId", "") for one in resources}
        return cls(
            name=name,
            status=described["StackStatus"],
            parameters={one["ParameterKey"]: one.get("ParameterValue", "") for one in described.get("Parameters", [])},
            physical=physical,
            types={one["LogicalResourceId"]: one["ResourceType"] for one in resources},
            environment=lambda function: _environment(physical[function]),
        )

    @classmethod
    def local(cls) -> Self:
        """Find the local stack, and have all of this process talk to it and to nothing else."""
        place = local_place("aws_endpoint_url")
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            os.environ.pop(name, None)
        # The one administrator whom the emulator knows. Functions are wired here, so that it is for all clients.
        os.environ |= {
            "AWS_ENDPOINT_URL": place,
            **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test"),
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        return cls.find(LOCAL_STACK)

    @contextmanager
    def wired_as(self, function: str) -> Iterator[None]:
        """Let `shared.services` compose what a function works with, here, and with the operator's own credentials."""
        given = {name: value for name, value in self.environment(function).items() if "POWERTOOLS" not in name}
        before = {name: os.environ.get(name) for name in given}
        os.environ |= given
        try:
            yield
        finally:
            for name, value in before.items():
                _restore(name, value)

    # ---- its parts

    @property
    def stage(self) -> str:
        """What its secrets' names begin with."""
        return self.submit_environment["STAGE"]

    @cached_property
    def submit_environment(self) -> Mapping[str, str]:
        """The variables of a function that calls Replicate."""
        return self.environment("SubmitFunction")

    @cached_property
    def settings(self) -> StartSettings:
        """How it calls Replicate, and where Replicate calls it."""
        return StartSettings.load(self.submit_environment)

    @cached_property
    def reading(self) -> StatusSettings:
        """How it answers its callers."""
        return StatusSettings.load(self.environment("StatusFunction"))

    @cached_property
    def dynamo(self) -> Dynamo:
        """Its tables' client."""
        return Dynamo(boto3.client("dynamodb"))

    @cached_property
    def sqs(self) -> "SQSClient":
        """Its queues' client."""
        return boto3.client("sqs")

    @cached_property
    def logs(self) -> Any:  # noqa: ANN401 - its types are not installed
        """What its functions log."""
        return boto3.client("logs")

    @property
    def log_groups(self) -> dict[str, str]:
        """The names of its functions' logs, by the functions' short names, such as `submit`."""
        names = [name for name, kind in self.types.items() if kind == "AWS::Logs::LogGroup"]
        return {name.removesuffix("Logs").lower(): self.physical[name] for name in names}

    @property
    def jobs(self) -> JobStore:
        """Its jobs."""
        return JobStore(self.dynamo, self.physical["JobsTable"])

    @property
    def accounts(self) -> Accounts:
        """What makes tenants and keys."""
        return Accounts(self.dynamo, self.physical["AccountsTable"], defaults=self.reading.limits, now=now)

    @property
    def tenants(self) -> Tenants:
        """What administers tenants and keys."""
        return Tenants(self.dynamo, self.physical["AccountsTable"], defaults=self.reading.limits, now=now)

    @property
    def ledger(self) -> Ledger:
        """Its money."""
        tables = {"jobs": self.physical["JobsTable"], "accounts": self.physical["AccountsTable"]}
        return Ledger(self.dynamo, **tables, now=now)

    @cached_property
    def files(self) -> FileStore:
        """Its bucket."""
        return FileStore(boto3.client("s3"), self.physical["Bucket"])

    @property
    def uploads(self) -> Uploads:
        """Its callers' files."""
        return Uploads(self.dynamo, self.physical["JobsTable"], files=lambda: self.files, now=now)

    @property
    def trained(self) -> TrainedModels:
        """What its tenants have trained."""
        return TrainedModels(self.dynamo, self.physical["AccountsTable"])

    @property
    def archive_queue(self) -> ArchiveQueue:
        """What `archive` is asked by."""
        return ArchiveQueue(self.sqs, self.physical["ArchiveQueue"])

    @property
    def dispatch_queue(self) -> DispatchQueue:
        """What `dispatch` is asked by."""
        return DispatchQueue(self.sqs, self.physical["DispatchQueue"])

    @property
    def notify_queue(self) -> NotifyQueue:
        """What `notify` is asked by."""
        return NotifyQueue(self.sqs, self.physical["NotifyQueue"])

    def replicate(self) -> ReplicateApi:
        """Replicate, as its functions call it."""
        settings = self.settings
        return ReplicateApi(token=secret(settings.replicate_token_parameter), base_url=settings.replicate_api_url)

    def dead_letter_queues(self) -> dict[str, tuple[str, str | None]]:
        """Give the dead-letter queues by their short names, such as `archive`: the URL, and that of the source."""
        urls = {name: self.physical[name] for name, kind in self.types.items() if kind == _QUEUE}
        dead = [name.removesuffix(_DEAD) for name in urls if name.endswith(_DEAD)]
        return {one.lower(): (urls[one + _DEAD], urls.get(f"{one}Queue")) for one in sorted(dead)}

    def job(self, job_id: str) -> Job:
        """Read a job.

        Raises:
            OpsError: there is none.
        """
        job = self.jobs.get(job_id)
        if job is None:
            raise OpsError(f"There is no job {job_id!r}.")
        return job


def local_place(name: str) -> str:
    """Read something from the file in which the local stack says where it is.

    Raises:
        OpsError: it does not run.
    """
    path = Path(os.environ.get("AFTERIMAGE_STACK_FILE") or _STACK_FILE)
    try:
        places: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise OpsError(f"The local stack does not run: {path} is not there. `make run` starts it.") from error
    return str(places[name])


def _environment(function: str) -> Mapping[str, str]:
    found = boto3.client("lambda").get_function_configuration(FunctionName=function)
    return found.get("Environment", {}).get("Variables", {})


def _restore(name: str, value: str | None) -> None:
    if value is None:
        del os.environ[name]
    else:
        os.environ[name] = value
