"""Requests to a deployment that all tests of a module share: each test has tenants of its own."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError

from shared import services
from shared.identifiers import new_job_id
from shared.job import Job, Millis
from shared.services import now
from tests.support.loopback import serving
from tests.support.replicate import FakeReplicate, prediction
from tests.support.world import Answered, World, data_uri, deployed, environment, fresh_wiring, image

SCHNELL = "/v1/models/black-forest-labs/flux-schnell/predictions"
DEV = "/v1/models/black-forest-labs/flux-dev/predictions"
ROOM = {"rate_per_minute": 1_000, "max_in_flight": 1_000, "daily_budget": 10**9}
IMAGE = image()
_numbers = itertools.count(1)


class Caller:
    """A tenant of its own."""

    def __init__(self, world: World, replicate: FakeReplicate, **limits: int) -> None:
        self.world = world
        self.replicate = replicate
        self.tenant = f"tenant-{next(_numbers)}"
        world.accounts.create_tenant(self.tenant, {**ROOM, **limits})
        self.key = world.accounts.create_key(self.tenant)

    def post(self, path: str, body: Any, **headers: str) -> Answered:
        """Send a request; names of headers have underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.world.request("POST", path, body, key=self.key, headers=sent)

    def generate(self, body: Mapping[str, Any], **headers: str) -> Answered:
        return self.post("/generate", body, **headers)

    def get(self, path: str) -> Answered:
        return self.world.request("GET", path, key=self.key)

    def job(self, answered: Answered) -> Job:
        """Give the job that an answer of either interface tells of."""
        document = answered.json
        return self.world.read(document["id"] if "id" in document else document["prediction_id"])

    def jobs(self) -> list[Job]:
        """Give all of the tenant's jobs, the oldest first."""
        pages = self.world.dynamodb.get_paginator("query").paginate(
            TableName=self.world.jobs_table,
            IndexName="by_tenant",
            KeyConditionExpression="tenant = :tenant",
            ExpressionAttributeValues={":tenant": {"S": self.tenant}},
        )
        return [self.world.read(item["id"]["S"]) for page in pages for item in page["Items"]]

    def pointers(self) -> dict[str, Any]:
        """Give the tenant's pointers by their keys."""
        items = self.world.dynamodb.scan(TableName=self.world.jobs_table)["Items"]
        return {one["pk"]["S"]: one for one in items if one["pk"]["S"].startswith(f"pointer#{self.tenant}#")}

    @property
    def state(self) -> Any:
        """Everything of the tenant's, to compare before and after."""
        return self.account, self.jobs(), self.pointers()

    @property
    def account(self) -> Mapping[str, int]:
        return self.world.account(self.tenant)

    @property
    def committed(self) -> int:
        return sum(value for name, value in self.account.items() if name.startswith("committed_"))

    @property
    def sent(self) -> list[dict[str, Any]]:
        """The inputs that Replicate was sent."""
        return [body["input"] for body in self.replicate.created if "input" in body]

    def finish(self, job: Job, status: str = "succeeded", **fields: Any) -> Job:
        """Let a prediction end, and `archive` do its work."""
        outputs = {"output": [data_uri(IMAGE)] * job.expected_files} if status == "succeeded" else {}
        document = prediction(str(job.prediction_id), status, **{**outputs, **fields})
        assert self.world.webhook(job.id, document, attempt=job.attempt).status == 200
        assert self.world.archive() == []
        return self.world.read(job.id)


@contextmanager
def sharing() -> Iterator[tuple[World, FakeReplicate]]:
    """Deploy, with Replicate on loopback."""
    fake = FakeReplicate()
    with deployed() as world, serving(fake.respond) as origin:
        world.parameters["ReplicateApiUrl"] = origin
        yield world, fake


@contextmanager
def configured(world: World, **parameters: str) -> Iterator[None]:
    """Deploy with other parameters, in fresh processes, while the block runs."""
    before = dict(world.parameters)
    world.parameters |= parameters
    fresh_wiring()
    try:
        yield
    finally:
        world.parameters.clear()
        world.parameters |= before
        fresh_wiring()


class Died(BaseException):
    """The process ends here: nothing catches this."""


@contextmanager
def listening(world: World, event: str, listener: Callable[..., Any]) -> Iterator[None]:
    """Let a listener hear an event of botocore (`before-call.dynamodb.PutItem`) in `submit` while the block runs."""
    with environment(world.template.function("SubmitFunction").environment):
        submission = services.submit().submission
    clients: Mapping[str, Callable[[], Any]] = {
        "dynamodb": lambda: submission._jobs._dynamo.client,
        "kms": submission._secret_inputs._client,
        "s3": lambda: submission._file_inputs._files()._client,
    }
    client = clients[event.split(".")[1]]()
    client.meta.events.register_first(event, listener)
    try:
        yield
    finally:
        client.meta.events.unregister(event, listener)


class After:
    """Lets something happen at the call number `n` of its kind (from 1), once."""

    def __init__(self, n: int, happens: Callable[[], object]) -> None:
        self.calls = 0
        self._n = n
        self._happens = happens

    def __call__(self, **_: Any) -> None:
        self.calls += 1
        if self.calls == self._n:
            self._happens()


def die() -> None:
    """End the process."""
    raise Died


def fail(code: str = "InternalServerError") -> None:
    """Fail as a service does that cannot be had."""
    error: Any = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": 503}}
    raise ClientError(error, "made up")


def some_id(seconds_ago: float = 0) -> str:
    """Give an id that could be a job's."""
    return new_job_id(Millis(now() - round(seconds_ago * 1000)))
