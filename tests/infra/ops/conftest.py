"""The command line on a world: a deployment in moto, with a Replicate that is told what to answer."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.ops.__main__ import app
from infra.ops.deployment import Deployment
from tests.support.loopback import Answer, Call, serving
from tests.support.replicate import TOKEN, answer
from tests.support.world import WEBHOOK_SECRET, World


@dataclass(frozen=True)
class Ran:
    """What a command has left."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Afterimage:
    """The command line, told that the world is what to work on."""

    def __init__(self, world: World) -> None:
        self.world = world
        kinds = ("AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SQS::Queue")
        self.deployment = Deployment(
            name="afterimage-test",
            status="UPDATE_COMPLETE",
            parameters={},
            physical=world.physical,
            types={name: kind for kind in kinds for name, _ in world.template.resources(kind)}
            | {function.name: "AWS::Lambda::Function" for function in world.template.functions()},
            environment=lambda function: world.template.function(function).environment,
        )

    def changed(self, **changes: Any) -> None:
        """Let the deployment be another one."""
        self.deployment = replace(self.deployment, **changes)

    def __call__(self, *arguments: str, status: int = 0, answer: str | None = None) -> Ran:
        """Run a command; `answer` is what is typed, `status` how it must end."""
        # What is known of a deployment is kept while a command runs, and no longer.
        run = CliRunner().invoke(app, arguments, input=answer, obj=replace(self.deployment))
        if run.exception is not None and not isinstance(run.exception, SystemExit):
            raise run.exception
        assert run.exit_code == status, run.output
        return Ran(run.exit_code, run.stdout, run.stderr)

    def json(self, *arguments: str, status: int = 0) -> Any:
        """Run a command, and read what it prints for programs."""
        return self(*arguments, "--json", status=status).json


class Upstream:
    """Replicate as far as operators ask it: its account, its webhook secret, its predictions."""

    def __init__(self) -> None:
        self.username = "acme"
        self.signs_with = WEBHOOK_SECRET
        self.tokens = {TOKEN}
        self.predictions: dict[str, dict[str, Any]] = {}

    def respond(self, call: Call) -> Answer:
        if call.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return answer(401, {"title": "Unauthenticated", "detail": "no", "status": 401})
        if call.path == "/v1/account":
            return answer(200, {"type": "user", "username": self.username, "name": "", "github_url": ""})
        if call.path == "/v1/webhooks/default/secret":
            return answer(200, {"key": self.signs_with})
        name = call.path.rpartition("/")[2]
        if name in self.predictions:
            return answer(200, self.predictions[name])
        return answer(404, {"detail": "not found", "status": 404})


@pytest.fixture
def afterimage(world: World) -> Afterimage:
    return Afterimage(world)


@pytest.fixture
def upstream(world: World) -> Iterator[Upstream]:
    """Replicate on loopback, where the world's functions find it; such tests are marked `sockets`."""
    fake = Upstream()
    with serving(fake.respond) as origin:
        world.parameters["ReplicateApiUrl"] = origin
        yield fake


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Call], Answer]], str]]:
    """Serve something on loopback until the test ends, and give where."""
    with ExitStack() as stack:
        yield lambda respond: stack.enter_context(serving(respond))
