"""The end of a deployment: what it leaves is said first, then the stack is deleted."""

import boto3
from botocore.exceptions import WaiterError

from infra.deploy.leftovers import leftovers
from infra.deploy.target import Target
from infra.ops.deployment import Deployment
from infra.ops.screen import OpsError, Screen
from shared.job_store import SHARDS, shard_name

_OF_ALL = """
Together about {usd:.2f} USD a month, by the prices of us-east-1. The bucket into which sam uploads code is shared by
all its stacks, and stays, too. A deployment that is made later begins with tables and a bucket of its own.
"""
_FOREVER = 2**53
_COUNTED = 1_000  # unfinished jobs of a shard
_POLL_S = 5
_PATIENCE_S = 3600  # what CodeDeploy does just now is ended first


def destroy(target: Target, *, yes: bool = False) -> None:
    """Delete a stage's stack, if that is wanted once it is known what stays and what is lost.

    Raises:
        OpsError: there is none, or it could not be deleted.
        typer.Abort: it is not wanted.
    """
    deployment = Deployment.find(target.stack)
    left = leftovers(deployment)
    print("This stays, and only you can delete it:\n")
    for one in left:
        print(f"{one.name}: {one.holds}, {one.usd_a_month:.2f} USD a month\n    {one.deleted_by}")
    print(_OF_ALL.format(usd=sum(one.usd_a_month for one in left)))
    if unfinished := _unfinished(deployment):
        print(f"{unfinished} jobs are unfinished: what they make is paid for, and nobody will store it.\n")
    Screen().confirm(f"Delete the stack {target.stack}?", yes=yes)
    client = boto3.client("cloudformation")
    client.delete_stack(StackName=target.stack)
    try:
        client.get_waiter("stack_delete_complete").wait(
            StackName=target.stack, WaiterConfig={"Delay": _POLL_S, "MaxAttempts": _PATIENCE_S // _POLL_S}
        )
    except WaiterError as error:
        raise OpsError(f"{target.stack} could not be deleted; its events say why: {error}") from error
    print(f"{target.stack} is deleted.")


def _unfinished(deployment: Deployment) -> int:
    return sum(
        1 for shard in range(SHARDS) for _ in deployment.jobs.due(shard_name(shard), now=_FOREVER, limit=_COUNTED)
    )
