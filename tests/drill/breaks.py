"""What each alarm stands for, broken on the local stack, and mended again as the runbook says."""

from __future__ import annotations

import base64
import json
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from shared.identifiers import new_job_id
from shared.job import Millis
from tests.journey.local import until
from tests.journey.replicate import FINISHED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from tests.drill.drill import Drill

    type Broken = Callable[[Drill], AbstractContextManager[float]]

OFTEN = 12  # what an alarm of several times needs, and a little more
BUDGET = 10_000  # micro-USD: three images of 3,000 are 90%
SILENT_S = 65  # longer than from one minute's run to the next one's
LOST: Mapping[str, Any] = {"on": "webhook", "kind": "lost"}
FUNCTIONS = (
    *("submit", "dispatch", "webhook", "archive", "notify", "status"),
    *("catalog", "files", "console", "cancel", "reconcile"),
)


@dataclass(frozen=True)
class Break:
    """Something that is broken while `broken` is entered, which gives the time from when on that can be seen.

    `threshold` takes the place of the alarm's where that would be a matter of quarters of an hour; nothing is looked at
    before `after_s`.
    """

    alarm: str
    what: str
    broken: Broken
    threshold: float | None = None
    after_s: float = 0


# How things are broken


@contextmanager
def _denied(drill: Drill, function: str, action: str, resource: str = "") -> Iterator[None]:
    """Take a permission out of a function's role."""
    local = drill.local
    configuration = local.aws.lambda_.get_function_configuration(FunctionName=local.stack.functions[function])
    role = configuration["Role"].rpartition("/")[2]
    found = local.iam.get_role_policy(RoleName=role, PolicyName=function)["PolicyDocument"]
    whole: dict[str, Any] = json.loads(found) if isinstance(found, str) else dict(found)
    less = [_less(statement, action, resource) for statement in whole["Statement"]]
    assert less != whole["Statement"], f"{function} has no {action}"
    put = partial(local.iam.put_role_policy, RoleName=role, PolicyName=function)
    put(PolicyDocument=json.dumps({**whole, "Statement": [one for one in less if one["Action"]]}))
    try:
        yield
    finally:
        put(PolicyDocument=json.dumps(whole))


def _less(statement: dict[str, Any], action: str, resource: str) -> dict[str, Any]:
    actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
    if resource not in json.dumps(statement["Resource"]):
        return statement
    return {**statement, "Action": [one for one in actions if one != action]}


@contextmanager
def _hasty(drill: Drill, queue: str) -> Iterator[None]:
    """Have what failed come again after a second instead of many minutes."""
    url = drill.queue(queue)
    attributes = drill.local.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    drill.local.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1"})
    try:
        yield
    finally:
        drill.local.sqs.set_queue_attributes(
            QueueUrl=url, Attributes={"VisibilityTimeout": attributes["VisibilityTimeout"]}
        )


@contextmanager
def _unread(drill: Drill, queue: str) -> Iterator[None]:
    """Have nobody read a queue."""
    lambda_ = drill.local.aws.lambda_
    (mapping,) = (
        one
        for one in lambda_.list_event_source_mappings()["EventSourceMappings"]
        if one["EventSourceArn"].endswith(f":afterimage-local-{queue}")
    )
    lambda_.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        yield
    finally:
        lambda_.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


# What callers see


@contextmanager
def _answers_5xx(drill: Drill) -> Iterator[float]:
    since = time.time()
    with _denied(drill, "files", "dynamodb:Query"):
        for _ in range(OFTEN):
            drill.ask("GET", "/v1/files")
        yield since


@contextmanager
def _unexpected(drill: Drill) -> Iterator[float]:
    since = time.time()
    with _denied(drill, "status", "dynamodb:Query"):
        for _ in range(OFTEN):
            drill.ask("GET", "/v1/predictions")
        yield since


@contextmanager
def _throttled(drill: Drill) -> Iterator[float]:
    since = time.time()
    lambda_, name = drill.local.aws.lambda_, drill.local.stack.functions["console"]
    lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    try:
        for _ in range(OFTEN):
            with suppress(lambda_.exceptions.TooManyRequestsException):
                lambda_.invoke(FunctionName=name, Payload=b"{}")
        yield since
    finally:
        lambda_.delete_function_concurrency(FunctionName=name)


# Crashes


@contextmanager
def _crashes(drill: Drill, function: str) -> Iterator[float]:
    since = time.time()
    lambda_, name = drill.local.aws.lambda_, drill.local.stack.functions[function]
    handler = lambda_.get_function_configuration(FunctionName=name)["Handler"]
    lambda_.update_function_configuration(FunctionName=name, Handler="nowhere.handler")
    try:
        answer = lambda_.invoke(FunctionName=name, Payload=b"{}")
        assert "FunctionError" in answer
        yield since
    finally:
        lambda_.update_function_configuration(FunctionName=name, Handler=handler)


# Queues


@contextmanager
def _dead_dispatches(drill: Drill) -> Iterator[float]:
    since = time.time()
    with _hasty(drill, "dispatch"), _denied(drill, "dispatch", "dynamodb:UpdateItem", drill.local.stack.jobs_table):
        # Several jobs of one request are started by `dispatch`.
        job_ids = drill.generate_all(2)
        yield since
    drill.operate("queues redrive dispatch --yes")
    assert {job.status for job in drill.local.end(job_ids)} == {"succeeded"}


@contextmanager
def _dead_archives(drill: Drill) -> Iterator[float]:
    since = time.time()
    with _hasty(drill, "archive"), _denied(drill, "archive", "s3:PutObject"):
        job_id = drill.tenant.generate()
        yield since
    # The dead letter holds the job's lease, which ends after less than six minutes.
    drill.local.pass_time([job_id], 400)
    drill.operate("queues redrive archive --yes")
    (job,) = drill.local.end([job_id])
    assert job.status == "succeeded"


@contextmanager
def _dead_notices(drill: Drill) -> Iterator[float]:
    since = time.time()
    with _hasty(drill, "notify"), _denied(drill, "notify", "dynamodb:GetItem"):
        drill.local.end([drill.tenant.generate()])
        yield since
    drill.operate("queues redrive notify --yes")


@contextmanager
def _dead_runs(drill: Drill) -> Iterator[float]:
    since = time.time()
    with _denied(drill, "reconcile", "dynamodb:Query"):
        drill.invoke_as_scheduled("reconcile")
        yield since
    drill.operate("queues redrive reconcile --yes")


@contextmanager
def _old_dispatches(drill: Drill) -> Iterator[float]:
    since = time.time()
    with _unread(drill, "dispatch"):
        job_ids = drill.generate_all(2)
        yield since
    assert {job.status for job in drill.local.end(job_ids)} == {"succeeded"}


@contextmanager
def _old_archives(drill: Drill) -> Iterator[float]:
    since = time.time()
    with _unread(drill, "archive"):
        job_id = drill.tenant.generate()
        yield since
    drill.local.end([job_id])


# Replicate


@contextmanager
def _refused_by_replicate(drill: Drill, kind: str) -> Iterator[float]:
    since = time.time()
    drill.local.replicate.misbehave({"on": "create", "kind": kind})
    job_id = drill.tenant.generate()
    yield since
    drill.local.replicate.misbehave()
    drill.local.pass_time([job_id], 600)
    drill.local.reconcile()
    drill.local.end([job_id])


@contextmanager
def _forged_webhooks(drill: Drill) -> Iterator[float]:
    since = time.time()
    for _ in range(OFTEN):
        job_id = new_job_id(Millis(int(time.time() * 1000)))
        k = base64.urlsafe_b64encode(job_id.encode()).decode()
        drill.ask("POST", f"/webhooks/replicate/{job_id}?attempt=1&k={k}", json={"id": "forged"})
    yield since


def _unheard(drill: Drill, jobs: int, *faults: Mapping[str, Any]) -> list[str]:
    """Let jobs end at Replicate without anybody hearing of it, and give their ids; `reconcile` finds them then."""
    drill.local.replicate.misbehave(dict(LOST), *map(dict, faults))
    job_ids = [drill.tenant.generate() for _ in range(jobs)]

    def are_done() -> bool:
        found = [drill.local.replicate.predictions_of(job_id) for job_id in job_ids]
        return all(one and one[0]["status"] in FINISHED for one in found)

    until(are_done, what="the end of the predictions")
    return job_ids


@contextmanager
def _lost_webhooks(drill: Drill) -> Iterator[float]:
    since = time.time()
    job_ids = _unheard(drill, OFTEN)
    drill.local.pass_time(job_ids, 31)
    drill.local.reconcile()
    yield since
    drill.local.replicate.misbehave()
    drill.local.end(job_ids)


# Results and money


@contextmanager
def _late_result(drill: Drill) -> Iterator[float]:
    since = time.time()
    # Nobody has asked for 40 minutes: so long ago it was over, says Replicate.
    job_ids = _unheard(drill, 1, {"on": "get", "kind": "aged", "seconds": 2400})
    drill.local.pass_time(job_ids, 31)
    drill.local.reconcile()
    yield since
    drill.local.replicate.misbehave()
    drill.local.end(job_ids)


@contextmanager
def _lost_result(drill: Drill) -> Iterator[float]:
    since = time.time()
    job_ids = _unheard(drill, 1)
    drill.local.replicate.drop_outputs()
    drill.local.pass_time(job_ids, 31)
    drill.local.reconcile()
    (job,) = drill.local.end(job_ids)
    assert job.status == "failed"
    yield since


@contextmanager
def _spent_budget(drill: Drill) -> Iterator[float]:
    since = time.time()
    with drill.local.tenant(daily_budget=BUDGET) as tenant:
        job_id = tenant.generate(num_images=3)
        yield since
        drill.operate(f"tenants budget {tenant.name} 1.00")
        drill.local.end([job_id])


@contextmanager
def _no_runs(drill: Drill) -> Iterator[float]:
    before = time.time()
    alarm = drill.meter.alarms["reconcile-stands"]
    with drill.local.scheduled_now():
        until(lambda: not drill.meter.crossed(alarm, drill.meter.value(alarm, before) or 0), what="a run by schedule")
    # From now on there is no schedule.
    yield time.time()
    with drill.local.scheduled_now():
        after = time.time()
        until(lambda: not drill.meter.crossed(alarm, drill.meter.value(alarm, after) or 0), what="a run by schedule")


BREAKS: tuple[Break, ...] = (
    Break("api-5xx", "files may not query, and files are listed", _answers_5xx),
    Break("unexpected-errors", "status may not query, and jobs are listed", _unexpected),
    Break("throttled", "console has no concurrency, and is invoked", _throttled),
    *(
        Break(f"{name}-crashes", f"{name} has a handler that is nowhere", partial(_crashes, function=name))
        for name in FUNCTIONS
    ),
    Break("dispatch-dlq", "dispatch may not write jobs", _dead_dispatches),
    Break("archive-dlq", "archive may not write to the bucket", _dead_archives),
    Break("notify-dlq", "notify may not read jobs", _dead_notices),
    Break("reconcile-dlq", "reconcile may not query what is due", _dead_runs),
    Break("dispatch-age", "nobody reads DispatchQueue", _old_dispatches, threshold=3, after_s=4),
    Break("archive-age", "nobody reads ArchiveQueue", _old_archives, threshold=3, after_s=4),
    Break("no-credit", "Replicate answers 402", partial(_refused_by_replicate, kind="insufficient_credit")),
    Break("token-refused", "Replicate answers 401", partial(_refused_by_replicate, kind="unauthorized")),
    Break("webhooks-refused", "forged webhooks", _forged_webhooks),
    Break("webhooks-missing", "all webhooks are lost", _lost_webhooks),
    Break("results-near-expiry", "a result that was ready 40 minutes ago", _late_result),
    Break("result-lost", "Replicate has deleted what nobody had heard of", _lost_result),
    Break("budget-near-end", "a tenant uses 90% of its budget", _spent_budget),
    Break("reconcile-stands", f"no schedule for {SILENT_S} s", _no_runs, after_s=SILENT_S),
)
