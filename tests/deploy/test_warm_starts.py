"""Functions that start warm, both ways: versions with a snapshot, or kept running."""

from contextlib import suppress

import pytest

from infra.local.deploy import Aws
from infra.local.proof import prove
from infra.local.stack import LocalStack

pytestmark = pytest.mark.sockets

WARM = {"submit", "webhook", "status"}


@pytest.mark.parametrize("how", ["none", "snapstart", "provisioned"])
def test_what_people_wait_for_is_kept_warm_in_the_way_that_was_chosen(how: str) -> None:
    with LocalStack(parameters={"WarmStarts": how}) as stack:
        assert prove(stack).status == "succeeded"
        client = Aws(stack.aws_endpoint_url).lambda_
        snapshots, provisioned = set(), set()
        for name, function in stack.functions.items():
            version = client.get_function_configuration(FunctionName=function, Qualifier="live")
            if version["SnapStart"]["OptimizationStatus"] == "On":
                snapshots.add(name)
            with suppress(client.exceptions.ProvisionedConcurrencyConfigNotFoundException):
                client.get_provisioned_concurrency_config(FunctionName=function, Qualifier="live")
                provisioned.add(name)
    assert snapshots == (WARM if how == "snapstart" else set())
    assert provisioned == (WARM if how == "provisioned" else set())
