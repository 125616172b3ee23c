"""`doctor`: looks a deployment over, and says of whatever is wrong how to repair it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from itertools import batched, islice

import boto3
import httpx
import typer
from botocore.exceptions import BotoCoreError, ClientError

from infra.ops.command import Operator, explain
from infra.ops.deployment import Deployment
from infra.ops.screen import OpsError, age, table
from shared.dead_letters import depth
from shared.errors import AfterimageError, Cause, UpstreamNotTaken, UpstreamRefused
from shared.identifiers import new_job_id
from shared.job import Job, Millis
from shared.job_store import BATCH, SHARDS, shard_name
from shared.prediction import OUTPUTS_LIVE_S, parse_prediction
from shared.services import now, secret

_UNAUTHORIZED = 401
_PATIENCE_S = 30
_OVERDUE_S = 300  # `reconcile` comes by every minute
_CLOSE_S = 1800  # to the deletion of a result that is not stored: half of the hour it has
_ASKED = 20  # predictions that Replicate is asked about
_DUE = 1_000  # jobs of one shard that are looked at
_LOG_PAGES = 10
_LOOKED_BACK_S = 24 * 3600
_CREDIT = "UpstreamCreditExhausted"
_DENIED = ("AccessDenied", "AccessDeniedException")


class State(StrEnum):
    """What a check has come to."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """What a check has found; the remedy is empty if nothing is to be done."""

    state: State
    said: str
    remedy: str = ""


def doctor(ops: Operator) -> None:
    """Check a deployment: secrets, Replicate, the way of its webhooks, permissions, alarms, credit, what waits.

    Status 1: something is wrong. What cannot be found out is `unknown`, and no failure.
    """
    deployment = ops.deployment
    found: dict[str, Finding] = {}
    with ops.screen.progress("looking", total=len(_CHECKS)) as bar:
        for name, check in _CHECKS.items():
            bar.say(what=name)
            found[name] = _checked(check, deployment)
            bar.step()
    rows = [(name, one.state.value, one.said, one.remedy) for name, one in found.items()]
    document = [
        {"check": name, "state": one.state, "said": one.said, "remedy": one.remedy} for name, one in found.items()
    ]
    ops.screen.show(document, table("check", "state", "what was found", "remedy", rows=rows))
    if any(one.state is State.FAILED for one in found.values()):
        raise typer.Exit(1)


def _checked(check: Callable[[Deployment], Finding], deployment: Deployment) -> Finding:
    try:
        return check(deployment)
    except (OpsError, AfterimageError, BotoCoreError, ClientError, httpx.HTTPError) as error:
        return Finding(State.UNKNOWN, explain(error))


def _stack(deployment: Deployment) -> Finding:
    said = f"{deployment.name} is {deployment.status}"
    if deployment.status.endswith("_IN_PROGRESS"):
        return Finding(State.UNKNOWN, said, "Wait until it is deployed.")
    is_well = deployment.status.endswith("_COMPLETE") and "DELETE" not in deployment.status
    return Finding(State.OK, said) if is_well else Finding(State.FAILED, said, "Look at the stack's events.")


def _secrets(deployment: Deployment) -> Finding:
    functions = [name for name, kind in deployment.types.items() if kind == "AWS::Lambda::Function"]
    variables = [deployment.environment(name) for name in functions]
    names = {value for one in variables for name, value in one.items() if name.endswith("_PARAMETER")}
    bad = []
    for name in sorted(names):
        try:
            secret(name)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ParameterNotFound":
                raise
            bad.append(name)
        except ValueError:
            bad.append(name)
    if bad:
        return Finding(State.FAILED, f"missing or empty: {', '.join(bad)}", "secrets set")
    return Finding(State.OK, f"{len(names)} parameters of the Parameter Store have values")


def _token(deployment: Deployment) -> Finding:
    try:
        account = deployment.replicate().account()
    except UpstreamNotTaken as error:
        if error.cause not in {Cause.CREDENTIALS, Cause.FORBIDDEN}:
            raise
        return Finding(State.FAILED, explain(error), "secrets rotate token")
    return Finding(State.OK, f"Replicate knows it as {account.get('username')}'s")


def _configuration(deployment: Deployment) -> Finding:
    variables = deployment.submit_environment
    wrong = []
    username, owner = variables["REPLICATE_USERNAME"], str(deployment.replicate().account().get("username"))
    if username != "none" and username.lower() != owner.lower():
        wrong.append(f"ReplicateUsername is {username}, but the token is {owner}'s")
    default, allowed = variables["DEFAULT_MODEL"], variables["ALLOWED_MODELS"]
    if not any(fnmatchcase(default, pattern.strip()) for pattern in allowed.split(",")):
        wrong.append(f"DefaultModel {default} is not among AllowedModels")
    if wrong:
        return Finding(State.FAILED, "; ".join(wrong), "Deploy with other parameters.")
    return Finding(State.OK, f"models are made under {username}; {default} is the default, and allowed")


def _webhook_secret(deployment: Deployment) -> Finding:
    stored = secret(deployment.environment("WebhookFunction")["WEBHOOK_SECRET_PARAMETER"]).split()
    if deployment.replicate().webhook_secret() in stored:
        return Finding(State.OK, f"{len(stored)} stored; what Replicate signs with is among them")
    return Finding(State.FAILED, "Replicate signs with another one: every webhook is refused", "secrets rotate webhook")


def _webhook_url(deployment: Deployment) -> Finding:
    """Post what Replicate never signed where Replicate posts: that exactly this is refused shows who answers."""
    settings = deployment.settings
    origin = settings.origins[0]
    if not settings.has_webhooks:
        return Finding(State.OK, "webhooks are off: `reconcile` asks for everything")
    forged = {"webhook-id": "msg_forged", "webhook-timestamp": str(now() // 1000), "webhook-signature": "v1,Zm9yZ2Vk"}
    url = f"{origin}/webhooks/replicate/{new_job_id(now())}?attempt=1&k=forged"
    remedy = "Set PublicUrl to where this deployment is reached, without redirects, firewalls or sign-in in between."
    try:
        # As Replicate: redirects are not followed.
        answer = httpx.post(url, json={}, headers=forged, timeout=_PATIENCE_S, follow_redirects=False)
    except httpx.HTTPError as error:
        return Finding(State.FAILED, explain(error), remedy)
    if answer.status_code != _UNAUTHORIZED:
        return Finding(State.FAILED, f"{origin} answered {answer.status_code} to a forged webhook, not 401", remedy)
    return Finding(State.OK, f"{origin} is reached from here, and refuses a forged webhook")


def _permissions(deployment: Deployment) -> Finding:
    denied = [name for pattern in _DENIED for name in _logging(deployment, pattern)]
    if denied:
        return Finding(
            State.FAILED,
            f"AWS has denied something within a day to: {', '.join(sorted(set(denied)))}",
            "Look at aws_error in their logs; deploy the template's roles again.",
        )
    return Finding(State.OK, "no function has logged within a day that AWS denied it something")


def _alarms(deployment: Deployment) -> Finding:
    topics = [deployment.physical[name] for name, kind in deployment.types.items() if kind == "AWS::SNS::Topic"]
    if given := deployment.parameters.get("AlarmTopic"):
        topics.append(given)
    if not topics:
        return Finding(State.UNKNOWN, "alarms notify nobody", "Deploy with AlarmTopic, an SNS topic's ARN.")
    client = boto3.client("sns")
    for topic in topics:
        pages = client.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
        arns = [one["SubscriptionArn"] for page in pages for one in page["Subscriptions"]]
        confirmed = [arn for arn in arns if arn.startswith("arn:")]
        if not confirmed:
            remedy = "Subscribe to the topic, and confirm what SNS sends to you."
            return Finding(State.FAILED, f"nobody has confirmed a subscription to {topic}", remedy)
    return Finding(State.OK, f"{', '.join(topics)} has confirmed subscriptions")


def _credit(deployment: Deployment) -> Finding:
    if _logging(deployment, _CREDIT):
        remedy = "Buy credit at replicate.com/account/billing; what waits is started by itself."
        return Finding(State.FAILED, "Replicate has said within a day that its credit is exhausted", remedy)
    return Finding(State.OK, "Replicate has not said within a day that its credit is exhausted")


def _results(deployment: Deployment) -> Finding:
    """Find the result that Replicate deletes next, among those that are not stored yet."""
    waiting = [job for job in _due(deployment) if job.prediction_id is not None and not job.ended]
    waiting.sort(key=lambda job: job.claimed_at or job.created_at)
    at = now()
    left: list[tuple[float, Job]] = []
    for job in waiting[:_ASKED]:
        # It cannot have ended before it was started.
        seconds = ((job.claimed_at or job.created_at) - at) / 1000 + OUTPUTS_LIVE_S
        if seconds < _CLOSE_S and (ended_at := _ended_at(deployment, job)) is not None:
            left.append(((ended_at - at) / 1000 + OUTPUTS_LIVE_S, job))
    if not left:
        return Finding(State.OK, f"{len(waiting)} predictions run, and no result is close to its deletion")
    seconds, job = min(left, key=lambda one: one[0])
    said = f"{len(left)} results are not stored; Replicate deletes that of {job.id} in {age(seconds)}"
    return Finding(State.FAILED, said, f"replay archive {job.id}")


def _ended_at(deployment: Deployment, job: Job) -> Millis | None:
    try:
        return parse_prediction(deployment.replicate().get(str(job.prediction_id), job.kind)).completed_at
    except UpstreamRefused:
        return None  # `audit` tells of it


def _overdue(deployment: Deployment) -> Finding:
    late = [(now() - job.due_at) / 1000 for job in _due(deployment) if job.due_at is not None]
    if late and max(late) > _OVERDUE_S:
        count = sum(seconds > _OVERDUE_S for seconds in late)
        said = f"{count} jobs should have been looked after, one of them {age(max(late))} ago"
        return Finding(State.FAILED, said, "Look at the log of `reconcile`, and at its schedule.")
    return Finding(State.OK, f"{len(late)} jobs are on their way, and none is overdue")


def _dead_letters(deployment: Deployment) -> Finding:
    counts = {name: depth(deployment.sqs, url).waiting for name, (url, _) in deployment.dead_letter_queues().items()}
    if any(counts.values()):
        said = ", ".join(f"{count} in {name}" for name, count in counts.items() if count)
        return Finding(State.FAILED, said, "queues look; repair the cause; queues redrive --all")
    return Finding(State.OK, f"{len(counts)} queues are empty")


_CHECKS: dict[str, Callable[[Deployment], Finding]] = {
    "stack": _stack,
    "secrets": _secrets,
    "token": _token,
    "configuration": _configuration,
    "webhook secret": _webhook_secret,
    "webhook URL": _webhook_url,
    "permissions": _permissions,
    "alarms": _alarms,
    "credit": _credit,
    "results": _results,
    "reconcile": _overdue,
    "dead letters": _dead_letters,
}


def _due(deployment: Deployment) -> Iterator[Job]:
    for shard in range(SHARDS):
        ids = deployment.jobs.due(shard_name(shard), now=2**53, limit=_DUE)
        for part in batched(ids, BATCH, strict=False):
            yield from deployment.jobs.get_many(part)


def _logging(deployment: Deployment, text: str) -> Sequence[str]:
    """Give the functions that have logged this within a day.

    Raises:
        OpsError: there is too much to read.
    """
    since = now() - _LOOKED_BACK_S * 1000
    found = []
    for function, log_group in deployment.log_groups.items():
        pages = deployment.logs.get_paginator("filter_log_events").paginate(
            logGroupName=log_group, startTime=since, filterPattern=f'"{text}"'
        )
        for n, page in enumerate(islice(pages, _LOG_PAGES)):
            if any(text in event["message"] for event in page["events"]):
                found.append(function)
                break
            if n == _LOG_PAGES - 1 and page.get("nextToken"):
                raise OpsError(f"There is too much in {log_group} to be searched here.")
    return found
