"""Permissions: each function can do what its role says and no more, so that a missing permission fails here too."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from tests.journey.local import PRICES, SCHNELL, Local, Tenant, until
from tests.journey.replicate import Replicate

pytestmark = pytest.mark.sockets


@contextmanager
def without(local: Local, function: str, action: str, table: str = "") -> Iterator[None]:
    """Take one permission out of a function's role, for a while."""
    configuration = local.aws.lambda_.get_function_configuration(FunctionName=local.stack.functions[function])
    role = configuration["Role"].rpartition("/")[2]
    found = local.iam.get_role_policy(RoleName=role, PolicyName=function)["PolicyDocument"]
    whole: dict[str, Any] = dict(found) if isinstance(found, Mapping) else json.loads(found)
    statements = [_less(statement, action, table) for statement in whole["Statement"]]
    assert statements != whole["Statement"], f"{function} has no {action}"
    less = whole | {"Statement": [statement for statement in statements if statement["Action"]]}
    local.iam.put_role_policy(RoleName=role, PolicyName=function, PolicyDocument=json.dumps(less))
    try:
        yield
    finally:
        local.iam.put_role_policy(RoleName=role, PolicyName=function, PolicyDocument=json.dumps(whole))


def _less(statement: dict[str, Any], action: str, resource: str) -> dict[str, Any]:
    actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
    if resource not in json.dumps(statement["Resource"]):
        return statement
    return statement | {"Action": [one for one in actions if one != action]}


def test_submit_without_putitem_on_jobs_accepts_nothing(tenant: Tenant, local: Local, replicate: Replicate) -> None:
    creates = replicate.creates()
    with without(local, "submit", "dynamodb:PutItem", local.stack.jobs_table):
        answer = tenant.predict()
        assert (answer.status_code, answer.json()["code"]) == (500, "internal")
        assert "AccessDenied" not in answer.text
    assert (replicate.creates(), local.jobs_of(tenant), local.account(tenant)) == (creates, [], (0, 0))
    local.end([tenant.predict().json()["id"]])


def test_webhook_without_sendmessage_has_replicate_send_again(
    tenant: Tenant, local: Local, replicate: Replicate
) -> None:
    with without(local, "webhook", "sqs:SendMessage"):
        job_id = tenant.generate()
        until(
            lambda: 500 in [one["status"] for one in replicate.webhooks_of(job_id) if one["event"] == "completed"],
            what="a refusal of the last webhook",
        )
        assert not local.job(job_id).ended
    (job,) = local.end([job_id])
    assert job.status == "succeeded"


def test_archive_without_putobject_shows_no_success_and_reconcile_makes_up_for_it(tenant: Tenant, local: Local) -> None:
    since = time.time() - 1
    with without(local, "archive", "s3:PutObject"):
        job_id = tenant.generate()
        until(lambda: "AccessDenied" in local.logged("archive", since), what="the refusal in the log")
        shown = tenant.read(job_id)
        assert (shown["status"], shown["afterimage"]["stage"]) == ("processing", "storing")
        assert (shown["output"], local.objects(local.job(job_id))) == (None, {})
    # The message is hidden from everybody for half an hour; the lease ends after less than six minutes.
    local.pass_time([job_id], 400)
    local.reconcile()
    (job,) = local.end([job_id])
    assert (job.status, job.takes, local.charged([job])) == ("succeeded", 2, 1)
    assert local.account(tenant) == (0, PRICES[SCHNELL])


def test_status_without_query_lists_nothing_and_still_reads_one(tenant: Tenant, local: Local) -> None:
    (job,) = local.end([tenant.generate()])
    with without(local, "status", "dynamodb:Query"):
        assert tenant.http.get("/v1/predictions").status_code == 500
        assert tenant.read(job.id)["status"] == "succeeded"
    assert len(tenant.http.get("/v1/predictions").json()["results"]) == 1
