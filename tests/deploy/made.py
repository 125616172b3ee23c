"""A stack of the emulator that was made with `make deploy`'s program, not with the local stack's own."""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from infra.local.deploy import Aws, deployed, repair_concurrency
from infra.local.stack import LocalStack
from tests.artifact.building import ROOT
from tests.deploy.terminal import Terminal


class Made:
    """Deploys the built template, answering as a person would, and keeps what was shown."""

    def __init__(self, built: Path, folder: Path) -> None:
        self.built = built
        self.config = folder / "samconfig.toml"
        # The same settings, for the stage that the local stack has.
        self.config.write_text(re.sub(r"\bdev\b", "local", (ROOT / "infra/samconfig.toml").read_text()))
        self._folder = folder
        self.local = LocalStack(deployer=self._deploy)
        self.token = ""
        self.shown = ""
        self.status: int | None = None
        self.parameters: list[str] = []
        self.aws: Aws

    def _deploy(self, aws: Aws, _root: Path, parameters: Mapping[str, str]) -> dict[str, str]:
        self.aws = aws
        self.parameters = [f"{name}={value}" for name, value in parameters.items()]
        token = aws.ssm.get_parameter(Name="/afterimage/local/replicate-api-token", WithDecryption=True)
        self.token = token["Parameter"]["Value"]
        # Nothing is there when a stranger begins.
        names = [f"/afterimage/local/{name}" for name in SECRETS]
        aws.ssm.delete_parameters(Names=names)
        with self.run("deploy", *self.given()) as terminal:
            terminal.expect(r"Deploy this changeset\?.*:")
            terminal.type("y")
            terminal.expect("Replicate API token:")
            found = deployed(aws)
            # Now it has an API, which has to answer before `doctor` asks.
            self.local.children[0].tell({"api_id": found["Api"]})
            terminal.type(self.token)
            self.status = terminal.end()
            self.shown = terminal.shown
        return found

    def given(self, *more: str) -> list[str]:
        """Give the arguments that name this stack, what was built, and its parameters."""
        parameters = [argument for one in (*self.parameters, *more) for argument in ("--parameter", one)]
        return [*self.named(), "--built", str(self.built), *parameters]

    def named(self, stage: str = "local") -> list[str]:
        """Give the arguments that name a stage."""
        return ["--stage", stage, "--config", str(self.config)]

    @contextmanager
    def run(self, command: str, *arguments: str, variables: Mapping[str, str] = {}) -> Iterator[Terminal]:
        """Run a command of `infra.deploy` in a terminal."""
        program = [sys.executable, "-m", "infra.deploy", command, *arguments]
        with self._watched(program, variables) as terminal:
            yield terminal

    @contextmanager
    def sam(self, *arguments: str) -> Iterator[Terminal]:
        """Run the SAM CLI itself."""
        with self._watched([Path(sys.executable).with_name("sam"), *arguments], {}) as terminal:
            yield terminal

    @contextmanager
    def _watched(self, program: Sequence[str | Path], variables: Mapping[str, str]) -> Iterator[Terminal]:
        with Terminal(program, {**self.environment(), **variables}, ROOT) as terminal:
            try:
                yield terminal
            finally:
                repair_concurrency(self.aws)

    def environment(self) -> dict[str, str]:
        """Give what a person would have set for an account of AWS."""
        return {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self._folder),
            "TERM": "dumb",
            "COLUMNS": "200",
            "SAM_CLI_TELEMETRY": "0",
            "SAM_CLI_POLL_DELAY": "0.2",
            "AWS_ENDPOINT_URL": self.aws.endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


SECRETS: Sequence[str] = ("replicate-api-token", "replicate-webhook-secret", "callback-key", "link-key")
