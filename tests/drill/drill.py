"""The drill: one break after the other, on one local stack."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import boto3
import httpx

from infra.local.stack import ROOT
from tests.drill.measuring import Answered, Meter
from tests.journey.local import NO_TLS, Local, Tenant, until
from tests.journey.replicate import PATIENCE_S

if TYPE_CHECKING:
    from types import TracebackType

    from infra.local.deploy import Aws
    from infra.local.stack import Stack
    from tests.drill.breaks import Break

STACK = "afterimage-local"
ALIAS = "live"
SIGNS = {
    "GreaterThanOrEqualToThreshold": "≥",
    "GreaterThanThreshold": ">",
    "LessThanOrEqualToThreshold": "≤",
    "LessThanThreshold": "<",
}
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass(frozen=True)
class Raised:
    """What became of a break: the value that was seen, and that after it was mended, where it goes back."""

    one: Break
    metric: str
    statistic: str
    value: float | None
    comparison: str
    threshold: float
    crossed: bool
    after: float | None
    repairs: tuple[str, ...]


class Drill:
    """The local stack with its administrator, an operator, and a caller."""

    def __init__(self, stack: Stack) -> None:
        self.local = Local(stack)
        self._aws: Aws = self.local.aws
        self._exits = ExitStack()
        self._answers: list[Answered] = []
        self._operated: list[str] = []
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
        cloudwatch: Any = session.client("cloudwatch", endpoint_url=stack.aws_endpoint_url)
        self.meter = Meter(self.local, cloudwatch, self._answers)
        self.tenant: Tenant

    def __enter__(self) -> Self:
        self._exits.callback(self.local.close)
        self.local.stop_schedule()
        self.tenant = self._exits.enter_context(self.local.tenant())
        self._anybody = self._exits.enter_context(
            httpx.Client(base_url=self.local.stack.api_url, timeout=PATIENCE_S, trust_env=False, verify=NO_TLS)
        )
        self.local.end([self.tenant.generate()])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    def raise_(self, one: Break) -> Raised:
        """Break something, wait until the metric of its alarm has crossed the threshold, and mend it."""
        alarm = self.meter.alarms[one.alarm]
        self._operated.clear()
        seen: float | None = None
        with one.broken(self) as since:
            time.sleep(max(0.0, since + one.after_s - time.time()))
            deadline = time.monotonic() + PATIENCE_S
            while True:
                seen = self.meter.value(alarm, since)
                seen = 0 if seen is None and one.after_s else seen
                crossed = self.meter.crossed(alarm, seen, one.threshold)
                if crossed or time.monotonic() > deadline:
                    break
                time.sleep(0.5)
        after: float | None = None
        if alarm.watched.namespace == "AWS/SQS":
            calm = alarm.properties["Threshold"] if one.threshold is None else one.threshold
            until(
                lambda: not self.meter.crossed(alarm, self.meter.value(alarm, since), calm),
                what=f"the end of {one.alarm}",
            )
            after = self.meter.value(alarm, since) or 0
        self.local.come_to_rest()
        return Raised(
            one=one,
            metric=f"{alarm.watched.namespace} {alarm.watched.name}",
            statistic=alarm.properties["Statistic"],
            value=seen,
            comparison=SIGNS[alarm.properties["ComparisonOperator"]],
            threshold=alarm.properties["Threshold"],
            crossed=crossed,
            after=after,
            repairs=tuple(self._operated),
        )

    # What breaks are made with

    def ask(self, method: str, path: str, **given: Any) -> int:
        """Call the API as its tenant, and give the status."""
        headers = {"Authorization": f"Bearer {self.tenant.key}"}
        answer = self._anybody.request(method, path, headers=headers, **given)
        self._answers.append(Answered(time.time(), answer.status_code))
        return answer.status_code

    def generate_all(self, jobs: int) -> list[str]:
        """Order several jobs at once, and give their ids."""
        body = {"prompts": ["a quiet harbour"] * jobs, "model": "black-forest-labs/flux-schnell", "num_images": 1}
        answer = self.tenant.http.post("/generate", json=body)
        assert answer.status_code == 202, answer.text
        return [str(one["prediction_id"]) for one in answer.json()["predictions"]]

    def queue(self, name: str) -> str:
        """Give the URL of a queue."""
        return str(self.local.sqs.get_queue_url(QueueName=f"{STACK}-{name}")["QueueUrl"])

    def invoke_as_scheduled(self, function: str) -> None:
        """Invoke a function without waiting for it.

        The emulator asks what is configured for the unpublished version, whatever it was told to invoke.
        """
        name, lambda_ = self.local.stack.functions[function], self._aws.lambda_
        found = lambda_.get_function_event_invoke_config(FunctionName=name, Qualifier=ALIAS)
        lambda_.put_function_event_invoke_config(
            FunctionName=name,
            MaximumRetryAttempts=found["MaximumRetryAttempts"],
            DestinationConfig=found["DestinationConfig"],
        )
        lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")

    def operate(self, words: str) -> None:
        """Run a command of the operator's."""
        self._operated.append(f"afterimage {words}")
        environment = {**os.environ, **CREDENTIALS, "AWS_ENDPOINT_URL": self.local.stack.aws_endpoint_url}
        done = subprocess.run(
            [sys.executable, "-m", "infra.ops", *words.split(), "--stack", STACK],
            cwd=ROOT,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
