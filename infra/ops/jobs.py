"""`jobs`: what became of a request, and what can still be done about it."""

import heapq
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from infra.ops.command import Operator, Yes, command, group
from infra.ops.deployment import Deployment
from infra.ops.documents import document_of
from infra.ops.screen import OpsError, clock, facts, parse_ago, table
from shared import services
from shared.history import history_of
from shared.identifiers import ids_between
from shared.job import Job, Kind, Millis, Status, TenantId
from shared.manifest import iso
from shared.notify_queue import COMPLETED, START, Notice
from shared.notifying import Heard
from shared.pricing import usd
from shared.retrying import Retrier
from shared.services import now

_LOG_PAGES = 20  # of one function's log

app = group("What became of requests, and what can still be done about them.")

JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="The job's id, which callers know as the prediction's.")
]
Contents = Annotated[
    bool, typer.Option("--contents", help="Also what the caller wrote: prompts, inputs, logs, webhook.")
]


@command(app, "show")
def show(
    ops: Operator,
    job_id: JobArgument,
    *,
    contents: Contents = False,
    logs: Annotated[bool, typer.Option("--logs", help="Also what the functions have logged about it.")] = False,
) -> None:
    """Show everything about a job: its history, attempts, prediction, files, cost and problem."""
    deployment = ops.deployment
    job = deployment.job(job_id)
    heard = Heard(deployment.dynamo, deployment.jobs.table, now=now)
    document = document_of(job, contents=contents) | {
        "webhook_heard": [event for event in (START, COMPLETED) if heard.has(Notice(job.id, event))],
        "retried_as": _retrier(deployment).retried_as(job),
    }
    parts: list[RenderableType] = [_summary(job, document), "", _history(job), *_files(job)]
    if contents:
        parts += ["", json.dumps(document["input"], indent=2, ensure_ascii=False)]
    if logs:
        document["log_lines"] = lines = list(_logged(deployment, job))
        rows = [(clock(line["at"]), line["function"], line["message"], line["about"]) for line in lines]
        parts += ["", table("time", "function", "message", "", rows=rows)]
    ops.screen.show(document, *parts)


@command(app, "list")
def list_jobs(
    ops: Operator,
    *,
    tenant: Annotated[list[str] | None, typer.Option("--tenant", help="Only these tenants' jobs.")] = None,
    status: Annotated[list[Status] | None, typer.Option("--status", help="Only jobs in these states.")] = None,
    kind: Annotated[Kind | None, typer.Option("--kind", help="Only predictions, or only trainings.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only jobs of this model, as owner/name.")] = None,
    batch: Annotated[str | None, typer.Option("--batch", help="Only jobs of this batch.")] = None,
    since: Annotated[str, typer.Option("--since", help="How far back, such as 90m, 24h or 7d.")] = "7d",
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most, the newest first.")] = 50,
) -> None:
    """List jobs, the newest first."""
    deployment = ops.deployment
    names = tenant or [one.name for one in deployment.tenants.all()]
    among: dict[str, Sequence[str]] = {
        name: values
        for name, values in (("status", status), ("kind", kind and [kind]), ("batch_id", batch and [batch]))
        if values
    }
    between = ids_between(Millis(parse_ago(since)), now())
    each = [deployment.jobs.each(TenantId(name), between=between, among=among) for name in names]
    newest = heapq.merge(*each, key=lambda job: job.id, reverse=True)
    wanted = (job for job in newest if job.deleted_at is None and model in {None, job.model})
    found = list(islice(wanted, limit))
    rows = [
        (job.id, job.tenant, job.status, job.model, clock(job.created_at), _cost(job), job.problem and job.problem.code)
        for job in found
    ]
    shown = table("job", "tenant", "status", "model", "accepted", "USD", "problem", rows=rows)
    ops.screen.show([document_of(job, contents=False) for job in found], shown)


@command(app, "cancel")
def cancel(ops: Operator, job_id: JobArgument, *, yes: Yes = False) -> None:
    """Cancel a job as its owner would; what has ended, or is being stored, stays as it is."""
    deployment = ops.deployment
    job = deployment.job(job_id)
    if job.ended or job.status is Status.STORING:
        raise OpsError(f"It is {job.status}: there is nothing to cancel.")
    ops.screen.confirm(f"Cancel job {job.id} of {job.tenant!r}, which is {job.status}?", yes=yes)
    with deployment.wired_as("CancelFunction"):
        canceled = services.cancel().canceler.cancel(job)
    said = f"{job.id} is {canceled.status}."
    if not canceled.ended:
        said = f"{job.id} is {canceled.status}, and being canceled with Replicate."
    ops.screen.show({"id": job.id, "status": canceled.status, "cancel_requested": not canceled.ended}, said)


@command(app, "retry")
def retry(ops: Operator, job_id: JobArgument, *, yes: Yes = False) -> None:
    """Start a failed job's order anew, as a new job that is paid for by the same tenant.

    Refused: what did not fail, has cost something, ended without anybody knowing whether it ran, was given secrets or
    files that are gone, or has been retried before. So nothing is paid for twice.
    """
    deployment = ops.deployment
    job = deployment.job(job_id)
    ops.screen.confirm(f"Start the order of job {job.id} of {job.tenant!r} anew?", yes=yes)
    new = _retrier(deployment).retry(job, deployment.tenants.get(job.tenant).limits)
    ops.screen.show({"id": new.id, "retries": job.id, "status": new.status}, new.id)


def _retrier(deployment: Deployment) -> Retrier:
    return Retrier(ledger=deployment.ledger, queue=deployment.dispatch_queue, files=deployment.files, now=now)


def _summary(job: Job, document: dict[str, Any]) -> RenderableType:
    problem = document["problem"]
    waits = not job.ended or job.archived_at is None or (job.deleted_at is not None and job.purged_at is None)
    known = {
        "job": job.id,
        "tenant": job.tenant,
        "status": f"{job.status} ({job.percent} %)" if job.percent is not None and not job.ended else job.status,
        "model": f"{job.model}:{job.version}" if job.version else job.model,
        "deployment": job.deployment,
        "destination": job.destination,
        "batch": job.batch_id,
        "prediction": job.prediction_id or "none known",
        "attempts": f"{job.attempt}, not in {job.absences} of Replicate's lists" if job.absences else job.attempt,
        "archive_runs": job.takes or None,
        "shared_by": f"{job.joined + 1} requests" if job.joined else None,
        "USD": _cost(job),
        "problem": f"{problem['code']}: {problem['detail']}" if problem else None,
        "error": document["error"],
        "warnings": "\n".join(document["warnings"]) or None,
        "webhook": _told(job, document),
        "inputs": ", ".join(document["input_fields"]),
        "retried_as": document["retried_as"],
        "next_look": clock(job.due_at) if waits else None,
    }
    return facts(**known)


def _told(job: Job, document: dict[str, Any]) -> str | None:
    if job.webhook is None:
        return None
    heard = ", ".join(document["webhook_heard"]) or "nothing"
    return f"{document['webhook_host']} wants {', '.join(job.webhook_events)}; has heard {heard}"


def _cost(job: Job) -> str:
    if job.cost is not None:
        return usd(job.cost)
    return f"{usd(job.hold.amount)} held" if job.hold is not None else ""


def _history(job: Job) -> RenderableType:
    rows, before = [], None
    for moment in history_of(job):
        passed = f"+{(moment.at - before) / 1000:.1f} s" if before is not None else ""
        rows.append((iso(moment.at), passed, moment.what))
        before = moment.at
    return table("time", "", "what", rows=rows)


def _files(job: Job) -> list[RenderableType]:
    if not job.files:
        return []
    sizes = [f"{file.width} x {file.height}" if file.width and file.height else None for file in job.files]
    rows = [
        (file.key, file.content_type, file.bytes, size, file.sha256[:12])
        for file, size in zip(job.files, sizes, strict=True)
    ]
    return ["", table("file", "type", "bytes", "size", "sha256", rows=rows)]


def _logged(deployment: Deployment, job: Job) -> Iterator[dict[str, Any]]:
    """Give the lines that name the job, by time; what functions log holds nothing that callers wrote."""
    found = []
    for function, log_group in deployment.log_groups.items():
        pages = deployment.logs.get_paginator("filter_log_events").paginate(
            logGroupName=log_group, startTime=job.created_at, filterPattern=f'"{job.id}"'
        )
        for page in islice(pages, _LOG_PAGES):
            found += [(event["timestamp"], function, event["message"]) for event in page["events"]]
    for at, function, text in sorted(found):
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if not isinstance(line, dict) or line.get("job_id") != job.id:
            continue
        left_out = ("_aws", "job_id", "message", "timestamp", "location", "service", "xray_trace_id", "level")
        about = {key: value for key, value in line.items() if key not in left_out}
        yield {
            "at": at,
            "function": function,
            "level": line.get("level"),
            "message": line.get("message"),
            "about": ", ".join(f"{key}={value}" for key, value in about.items()),
        }
