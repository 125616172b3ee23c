"""What alarms and the dashboard look at is really written by the running stack, under exactly these dimensions."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest

from shared.identifiers import new_job_id
from shared.job import Job, Millis, Status
from shared.metrics import NAMESPACE, SERVICE, SHAPES
from tests.journey.local import DEV, PRICES, SCHNELL, Local, Tenant, until
from tests.journey.replicate import FINISHED
from tests.support.aws_metrics import AWS_METRICS
from tests.support.cloudwatch import Dimensions, Point, points_of
from tests.support.observability import ANY, Alarm, Watched, alarm_of, watched_by

pytestmark = pytest.mark.sockets

PREFIX = "afterimage-local-"
LOST = {"on": "webhook", "kind": "lost"}
PROMPT = "a lighthouse whose keeper nobody has ever seen"
TIGHT = 2 * PRICES[SCHNELL]


@dataclass(frozen=True)
class Happened:
    """What the functions logged while everything that is measured happened, and to which jobs."""

    lines: Mapping[str, list[str]]
    jobs: Mapping[str, Job]
    committed: int
    secrets: list[str]

    @property
    def points(self) -> list[Point]:
        return [point for lines in self.lines.values() for point in points_of(lines)]

    def points_of(self, *names: str) -> list[Point]:
        """Give what was measured of the jobs that ended in these ways."""
        ids = {self.jobs[name].id for name in names}
        lines = [line for some in self.lines.values() for line in filter(_is_json, some)]
        return list(points_of(line for line in lines if json.loads(line).get("job_id") in ids))


@pytest.fixture(scope="module")
def happened(local_of_session: Local) -> Iterator[Happened]:
    local, since = local_of_session, time.time()
    with local.tenant() as tenant, local.tenant(daily_budget=TIGHT) as poor:
        ids = _let_it_happen(local, tenant, poor, since)
        local.replicate.misbehave()
        jobs = dict(zip(ids, local.end(ids.values()), strict=True))
        shown = tenant.read(jobs["succeeded"].id)
        links = [parse_qs(urlsplit(url).query)["s"][0] for url in shown["output"] if local.download(url)]
        lines = until(lambda: _logged_all(local, since, jobs), what="the lines of all ends")
        _, committed = local.account(tenant)
        secrets = [PROMPT, tenant.key, poor.key, local.stack.webhook_secret, *links]
        yield Happened(lines, jobs, committed, secrets)
    local.come_to_rest()


def _let_it_happen(local: Local, tenant: Tenant, poor: Tenant, since: float) -> dict[str, str]:
    """Give jobs that end in every way that is measured, by how they do."""
    replicate, ids = local.replicate, {}
    ids["succeeded"] = tenant.generate(PROMPT, webhook=f"{local.stack.simulator_url}/nowhere")
    ids["other model"] = tenant.generate(PROMPT, model=DEV)
    local.end(ids.values())
    until(lambda: ids["succeeded"] in local.logged("notify", since), what="the call of its webhook")
    replicate.misbehave({"on": "prediction", "kind": "fail"})
    ids["failed"] = tenant.generate(PROMPT)
    local.end([ids["failed"]])
    replicate.misbehave({"on": "prediction", "kind": "never"})
    ids["canceled"] = tenant.generate(PROMPT)
    until(lambda: local.job(ids["canceled"]).prediction_id, what="the prediction")
    assert tenant.http.post(f"/predictions/{ids['canceled']}/cancel").status_code == 202
    for kind in ("insufficient_credit", "unauthorized"):
        replicate.misbehave({"on": "create", "kind": kind})
        ids[kind] = parked = tenant.generate(PROMPT)
        until(lambda job_id=parked: _has_been_sent_back(local.job(job_id)), what="the refusal")  # type: ignore[misc]
        _forget_orders(local)
        local.forget_upstream_limit()
    replicate.misbehave()
    ids |= _not_heard_of(local, tenant)
    _refused(local, tenant)
    ids["within the budget"] = poor.generate(PROMPT, num_images=2)
    assert poor.predict().json()["code"] == "budget_exceeded"
    local.pass_time([ids["insufficient_credit"], ids["unauthorized"]], 600)
    local.reconcile()
    return ids


def _has_been_sent_back(job: Job) -> bool:
    return job.status is Status.QUEUED and job.attempt > 0


def _not_heard_of(local: Local, tenant: Tenant) -> dict[str, str]:
    """Give jobs of which no webhook tells, so that `reconcile` has to."""
    replicate = local.replicate
    replicate.misbehave({"on": "create", "kind": "cut_after_taken"}, LOST, {"on": "list", "kind": "hide_webhook"})
    # Two alike: nobody can say which prediction is whose.
    alike = [str(tenant.predict(seed=3).json()["id"]) for _ in range(2)]
    until(lambda: all(local.job(job_id).unclear_at for job_id in alike), what="the creates without an answer")
    local.pass_time(alike, 3700)
    local.reconcile()
    replicate.misbehave(LOST)
    lost = tenant.generate(PROMPT)
    _ended_at_replicate(local, lost)
    replicate.drop_outputs()
    found = tenant.generate(PROMPT)
    _ended_at_replicate(local, found)
    local.pass_time([lost, found], 31)
    local.reconcile()
    replicate.misbehave()
    return {"unknown": alike[0], "unknown too": alike[1], "lost": lost, "found": found}


def _ended_at_replicate(local: Local, job_id: str) -> None:
    until(
        lambda: [one for one in local.replicate.predictions_of(job_id) if one["status"] in FINISHED],
        what="the end at Replicate",
    )


def _refused(local: Local, tenant: Tenant) -> None:
    """Let a webhook be refused, and something happen that nobody expects."""
    job_id = new_job_id(Millis(int(time.time() * 1000)))
    answer = tenant.http.post(f"/webhooks/replicate/{job_id}?attempt=1&k=forged", json={"id": "forged"})
    assert answer.status_code == 401
    # An order that no job can be read from fails again and again; it is taken away before it is a dead letter.
    since = time.time()
    sent = local.sqs.send_message(QueueUrl=local.stack.dispatch_queue_url, MessageBody=json.dumps({"no": "order"}))
    until(lambda: sent["MessageId"] in local.logged("dispatch", since), what="the failure in the log")
    _forget_orders(local)


def _forget_orders(local: Local) -> None:
    """Drop what waits for `dispatch`: nothing that was not sent back."""
    local.sqs.purge_queue(QueueUrl=local.stack.dispatch_queue_url)


def _logged_all(local: Local, since: float, jobs: Mapping[str, Job]) -> dict[str, list[str]] | None:
    lines = {name: local.logged(name, since).splitlines() for name in local.stack.functions}
    ended = {
        document["job_id"]
        for one in lines.values()
        for document in map(json.loads, filter(_is_json, one))
        if document["message"] in {"ended", "abandoned"}
    }
    return lines if ended >= {job.id for job in jobs.values()} else None


def _is_json(line: str) -> bool:
    return line.startswith("{")


@pytest.fixture(scope="module")
def cloudwatch(local_of_session: Local) -> Any:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
    return session.client("cloudwatch", endpoint_url=local_of_session.stack.aws_endpoint_url)


@pytest.fixture(scope="module")
def alarms(cloudwatch: Any) -> list[Alarm]:
    return [alarm_of(one, PREFIX) for one in cloudwatch.describe_alarms(MaxRecords=100)["MetricAlarms"]]


@pytest.fixture(scope="module")
def watched(cloudwatch: Any, alarms: list[Alarm]) -> list[Watched]:
    """All that alarms and widgets of the deployed stack look at."""
    widgets = json.loads(cloudwatch.get_dashboard(DashboardName="afterimage-local")["DashboardBody"])["widgets"]
    return [alarm.watched for alarm in alarms] + [one for widget in widgets for one in watched_by(widget)]


def test_what_is_looked_at_of_ours_is_written_with_these_dimensions(happened: Happened, watched: list[Watched]) -> None:
    ours = [one for one in watched if one.namespace == NAMESPACE]
    written = {(point.name, point.dimensions) for point in happened.points if point.namespace == NAMESPACE}
    assert ours
    missing = [one for one in ours if not any(_is(one, name, dimensions) for name, dimensions in written)]
    assert missing == []


def _is(one: Watched, name: str, dimensions: Dimensions) -> bool:
    found = dict(dimensions)
    return (
        one.name == name
        and set(one.dimensions) == set(found)
        and all(value in {ANY, found[key]} for key, value in one.dimensions.items())
    )


def test_each_of_our_metrics_is_written_in_each_way_that_is_declared_and_in_no_other(happened: Happened) -> None:
    declared = {(metric.value, frozenset({SERVICE, *by})) for metric, shape in SHAPES.items() for by in shape.by}
    assert {(one.name, frozenset(name for name, _ in one.dimensions)) for one in happened.points} == declared
    assert {value for one in happened.points for name, value in one.dimensions if name == SERVICE} == {PREFIX[:-1]}


def test_what_is_looked_at_of_aws_is_documented_and_of_something_that_was_deployed(
    local_of_session: Local, watched: list[Watched]
) -> None:
    local, stack = local_of_session, local_of_session.stack
    queues = {url.rpartition("/")[2] for url in local.sqs.list_queues()["QueueUrls"]}
    resources = local.aws.cloudformation.describe_stack_resources(StackName="afterimage-local")["StackResources"]
    (api,) = (one["PhysicalResourceId"] for one in resources if one["ResourceType"] == "AWS::ApiGatewayV2::Api")
    deployed = {
        "FunctionName": {*stack.functions.values()},
        "QueueName": queues,
        "ApiId": {api},
        "TableName": {stack.jobs_table, stack.accounts_table},
        "BucketName": {stack.bucket},
        "StorageType": {"StandardStorage"},
    }
    of_aws = [one for one in watched if one.namespace != NAMESPACE]
    assert {one.namespace for one in of_aws} == set(AWS_METRICS)
    for one in of_aws:
        assert frozenset(one.dimensions) in AWS_METRICS[one.namespace].metrics[one.name], one
        for name, value in one.dimensions.items():
            assert value in deployed[name], one


def test_all_that_was_spent_is_counted_also_where_nothing_came_of_it(happened: Happened) -> None:
    jobs = [job for name, job in happened.jobs.items() if name != "within the budget"]
    unknown = [happened.jobs[name] for name in ("unknown", "unknown too")]
    assert {job.problem and job.problem.code for job in unknown} == {"outcome_unknown"}
    ids = {job.id for job in jobs}
    counted = {
        document["job_id"]: document["SpentUsd"]
        for document in documents(happened)
        if "SpentUsd" in document and document["job_id"] in ids
    }
    assert {job.id for job in unknown} <= set(counted)
    assert sum(counted.values()) * 1_000_000 == pytest.approx(happened.committed)
    assert happened.committed == sum(job.cost or 0 for job in jobs)


def documents(happened: Happened) -> list[dict[str, Any]]:
    return [json.loads(line) for lines in happened.lines.values() for line in lines if _is_json(line)]


def test_outcomes_are_counted_by_model_and_failures_by_code(happened: Happened) -> None:
    points = [one for one in happened.points_of(*happened.jobs) if one.name in {"Submitted", "Succeeded", "Failed"}]
    models = {(one.name, value) for one in points for name, value in one.dimensions if name == "model"}
    assert models == {(name, SCHNELL) for name in ("Submitted", "Succeeded", "Failed")} | {
        (name, DEV) for name in ("Submitted", "Succeeded")
    }
    codes = {value for one in points for name, value in one.dimensions if name == "code"}
    assert codes == {"out_of_memory", "outcome_unknown", "output_expired"}


def test_the_budget_is_seen_to_come_to_its_end(happened: Happened) -> None:
    (used,) = (one.value for one in happened.points_of("within the budget") if one.name == "BudgetUsedPercent")
    assert used == pytest.approx(100)
    told = [document for document in documents(happened) if document["message"] == "over_budget"]
    assert [document["BudgetUsedPercent"] for document in told] == [100]


def test_a_job_is_followed_by_its_id_from_function_to_function(happened: Happened) -> None:
    def names(which: str) -> set[str]:
        wanted = happened.jobs[which].id
        return {
            name
            for name, lines in happened.lines.items()
            if any(json.loads(line).get("job_id") == wanted for line in filter(_is_json, lines))
        }

    assert names("succeeded") >= {"submit", "webhook", "archive", "notify", "status", "files"}
    assert names("canceled") >= {"submit", "cancel", "archive"}
    assert names("found") >= {"submit", "reconcile", "archive"}
    assert names("insufficient_credit") >= {"submit", "dispatch", "webhook", "archive"}


def test_no_line_holds_what_was_asked_for_a_key_a_body_or_a_signed_link(happened: Happened) -> None:
    everything = "\n".join(line for lines in happened.lines.values() for line in lines)
    assert happened.jobs["succeeded"].id in everything
    assert [secret for secret in happened.secrets if secret in everything] == []
