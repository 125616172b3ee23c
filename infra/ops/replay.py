"""`replay`: asks again for what should have happened to one job."""

from typing import Annotated

import typer

from infra.ops.command import NOT_YET, Operator, command, group
from infra.ops.jobs import JobArgument
from infra.ops.screen import OpsError, clock
from shared.notify_queue import COMPLETED, Notice
from shared.notifying import Heard
from shared.prediction import parse_prediction
from shared.services import now

app = group("Ask again for what should have happened to a job.")


@command(app, "archive")
def archive(ops: Operator, job_id: JobArgument) -> None:
    """Have a job's result stored, its manifest written, or what was deleted removed: whatever is still missing.

    Status 3: its prediction still runs.
    """
    deployment = ops.deployment
    job = deployment.job(job_id)
    if job.purged_at is not None:
        raise OpsError(f"Nothing is missing: it was deleted, and all that it held was removed {clock(job.purged_at)}.")
    if job.archived_at is not None and job.deleted_at is None:
        raise OpsError(f"Nothing is missing: its manifest was written {clock(job.archived_at)}.")
    if job.ended:
        deployment.archive_queue.send_ended(job.id)
        what = "what was deleted is to be removed" if job.deleted_at is not None else "its manifest is to be written"
    elif job.prediction_id is None:
        raise OpsError("No prediction of this job is known: `reconcile` looks it up, or has it started.")
    else:
        document = deployment.replicate().get(job.prediction_id, job.kind)
        prediction = parse_prediction(document)
        if not prediction.ended:
            ops.screen.show(
                {"id": job.id, "sent": False}, f"Its prediction is {prediction.status}: nothing to store yet."
            )
            raise typer.Exit(NOT_YET)
        deployment.archive_queue.send_completed(job.id, document)
        what = f"its prediction has {prediction.status}, and is to be stored"
    ops.screen.show({"id": job.id, "sent": True}, f"{job.id}: {what}.")


@command(app, "notify")
def notify(
    ops: Operator,
    job_id: JobArgument,
    *,
    again: Annotated[
        bool, typer.Option("--again", help="Also if the webhook has heard it, with the same webhook-id.")
    ] = False,
) -> None:
    """Have the caller's webhook told that a job has ended."""
    deployment = ops.deployment
    job = deployment.job(job_id)
    if job.deleted_at is not None:
        raise OpsError("It has been deleted: nobody is told of it.")
    if job.webhook is None or COMPLETED not in job.webhook_events:
        raise OpsError("Its caller gave no webhook that is to hear of its end.")
    if not job.ended:
        raise OpsError(f"It is {job.status}: there is no end to tell of.")
    notice, heard = Notice(job.id, COMPLETED), Heard(deployment.dynamo, deployment.jobs.table, now=now)
    if heard.has(notice):
        if not again:
            raise OpsError("The webhook has heard it. --again tells it once more.")
        heard.forget(notice)
    deployment.notify_queue.send(notice, tenant=job.tenant)
    ops.screen.show({"id": job.id, "sent": True}, f"{job.id}: its caller is to be told.")
