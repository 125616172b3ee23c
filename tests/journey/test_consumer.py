"""The consumer that README.md offers to be pasted: deployed as it is, it works once on each job that has ended."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.journey.local import Local, Tenant, until
from tests.support.published import ROOT

pytestmark = pytest.mark.sockets

SNIPPET = ROOT / "infra" / "schemas" / "consumer.yaml"
STACK = "consumer-of-afterimage"


class Consumer:
    """The consumer, and what it has done."""

    def __init__(self, local: Local) -> None:
        self._local = local
        self._cloudformation = local.aws.cloudformation

    def deploy(self) -> None:
        self._cloudformation.create_stack(
            StackName=STACK,
            TemplateBody=SNIPPET.read_text(),
            Parameters=[{"ParameterKey": "AfterimageBucket", "ParameterValue": self._local.stack.bucket}],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        until(lambda: self._status() == "CREATE_COMPLETE", what="the consumer's stack")
        resources = self._cloudformation.describe_stack_resources(StackName=STACK)["StackResources"]
        self._physical = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in resources}

    def remove(self) -> None:
        self._cloudformation.delete_stack(StackName=STACK)
        until(lambda: self._status() in {"DELETE_COMPLETE", "gone"}, what="the end of the consumer's stack")

    def _status(self) -> str:
        try:
            return str(self._cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"])
        except self._cloudformation.exceptions.ClientError:
            return "gone"

    def done_with(self, job_id: str) -> bool:
        """Whether it has worked on a job to the end, so that it never will again."""
        key = {"job_id": {"S": job_id}}
        item = self._local.aws.dynamodb.get_item(TableName=self._physical["SeenTable"], Key=key).get("Item")
        return item is not None and int(item["taken_until"]["N"]) > time.time() + 3_600

    def said(self, job_id: str) -> list[str]:
        """Give what it wrote about a job."""
        pages = self._local.aws.logs.get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{self._physical['ConsumerFunction']}"
        )
        lines = [line for page in pages for event in page["events"] for line in event["message"].splitlines()]
        return sorted(line.partition(": ")[2] for line in lines if line.startswith(f"{job_id}: "))

    def tell(self, key: str) -> None:
        """Give it the event of an object, as EventBridge does when it delivers once more."""
        detail = {"bucket": {"name": self._local.stack.bucket}, "object": {"key": key}}
        event = json.dumps({"source": "aws.s3", "detail-type": "Object Created", "detail": detail})
        answer = self._local.aws.lambda_.invoke(FunctionName=self._physical["ConsumerFunction"], Payload=event)
        assert "FunctionError" not in answer, answer["Payload"].read()

    def failed(self) -> int:
        """Count the events that it could not work on."""
        return self._local.waiting(self._physical["ConsumerDeadLetterQueue"])


@pytest.fixture
def consumer(local: Local) -> Iterator[Consumer]:
    one = Consumer(local)
    try:
        one.deploy()
        yield one
    finally:
        one.remove()


def test_it_works_once_on_each_job_whatever_its_end(consumer: Consumer, tenant: Tenant, local: Local) -> None:
    local.replicate.misbehave({"on": "prediction", "kind": "never", "times": 1})
    canceled = tenant.generate()
    succeeded, failed = tenant.generate(num_images=2), tenant.generate("a fox nsfw-all")
    tenant.http.post(f"/predictions/{canceled}/cancel")
    jobs = local.end([canceled, succeeded, failed])
    until(lambda: all(consumer.done_with(job.id) for job in jobs), what="the consumer's work on all jobs")
    for job in jobs:
        consumer.tell(f"jobs/{tenant.name}/{job.id}/manifest.json")  # once more
    until(lambda: len(consumer.said(succeeded)) > 2 and consumer.said(failed), what="what it said")
    until(lambda: consumer.said(canceled), what="what it said of the canceled one")
    folder = f"s3://{local.stack.bucket}/jobs/{tenant.name}"
    assert consumer.said(succeeded) == [
        f"image/webp at {folder}/{succeeded}/0.webp",
        f"image/webp at {folder}/{succeeded}/1.webp",
        "succeeded, 0.006 USD",
    ]
    assert consumer.said(failed) == ["failed, 0.0 USD"]
    assert consumer.said(canceled) == [f"canceled, {local.manifest(local.job(canceled))['cost_usd']} USD"]
    assert consumer.failed() == 0


def test_readme_shows_the_consumer_as_it_is_tested() -> None:
    blocks: list[Any] = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert SNIPPET.read_text() in blocks
