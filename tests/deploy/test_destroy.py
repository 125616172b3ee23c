"""`make destroy`: another stage in the same account, deployed without anybody's answers, and ended."""

import re
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from infra.local.stack import Stack
from tests.deploy.made import SECRETS, Made

pytestmark = pytest.mark.sockets

NOWHERE = "http://127.0.0.1:9"  # nothing listens there


@pytest.fixture
def resources(made: Made, stack: Stack) -> Iterator[dict[str, str]]:
    """The stage prod, deployed in the same account, by what it is called; `doctor` cannot reach it."""
    parameters = [f"PublicUrl={NOWHERE}", f"ReplicateApiUrl={stack.replicate_url}", "Rollout=AllAtOnce"]
    options = [argument for one in parameters for argument in ("--parameter", one)]
    arguments = [*made.named("prod"), "--built", str(made.built), *options, "--unattended"]
    with made.run("deploy", *arguments, variables={"REPLICATE_API_TOKEN": made.token}) as terminal:
        assert terminal.end() == 1, terminal.shown
    assert re.search(r"^webhook URL\s+failed\b", terminal.shown, re.MULTILINE), terminal.shown
    assert "It is deployed, but something above has failed" in terminal.shown
    assert made.token not in terminal.shown
    assert "The API key" not in terminal.shown
    listed = made.aws.cloudformation.describe_stack_resources(StackName="afterimage-prod")["StackResources"]
    yield {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in listed}
    made.aws.cloudformation.delete_stack(StackName="afterimage-prod")


def stages(made: Made) -> set[str]:
    found = made.aws.cloudformation.list_stacks()["StackSummaries"]
    names = {one["StackName"] for one in found if one["StackStatus"] != "DELETE_COMPLETE"}
    return {name.removeprefix("afterimage-") for name in names if name.startswith("afterimage-")}


def test_the_end_says_what_stays_and_what_it_costs_and_deletes_the_rest(made: Made, resources: dict[str, str]) -> None:
    with made.run("destroy", *made.named("prod")) as terminal:
        terminal.expect(r"Delete the stack afterimage-prod\?.*:")
        terminal.type("n")
        assert terminal.end() == 1
    assert "prod" in stages(made)
    for kept in ("JobsTable", "AccountsTable", "Bucket"):
        assert resources[kept] in terminal.shown
    assert "/afterimage/prod/*" in terminal.shown
    assert re.search(r"Together about \d+\.\d\d USD a month", terminal.shown)

    with made.run("destroy", *made.named("prod")) as terminal:
        terminal.expect(r"Delete the stack afterimage-prod\?.*:")
        terminal.type("y")
        assert terminal.end() == 0, terminal.shown
    assert terminal.shown.rstrip().endswith("afterimage-prod is deleted.")
    assert stages(made) >= {"local"}
    assert "prod" not in stages(made)
    for table in ("JobsTable", "AccountsTable"):
        assert made.aws.dynamodb.describe_table(TableName=resources[table])["Table"]["TableStatus"] == "ACTIVE"
    made.aws.s3.head_bucket(Bucket=resources["Bucket"])
    names = [f"/afterimage/prod/{name}" for name in SECRETS]
    assert len(made.aws.ssm.get_parameters(Names=names)["Parameters"]) == 4
    with pytest.raises(ClientError, match="Function not found"):
        made.aws.lambda_.get_function(FunctionName=resources["SubmitFunction"])

    with made.run("destroy", *made.named("prod")) as terminal:
        assert terminal.end() == 1
    assert "There is no stack 'afterimage-prod' in us-east-1." in terminal.shown
