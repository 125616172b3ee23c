"""`audit`: our jobs against Replicate's own list."""

from typing import TYPE_CHECKING, Annotated

import typer

from infra.ops.command import Operator
from infra.ops.screen import clock, facts, parse_ago, table
from shared.auditing import Auditor, Owner
from shared.job import Millis
from shared.manifest import iso
from shared.services import now

if TYPE_CHECKING:
    from rich.console import RenderableType


def audit(
    ops: Operator,
    since: Annotated[str, typer.Option("--since", help="How far back, such as 90m, 24h or 7d.")] = "24h",
) -> None:
    """Look for predictions that are paid for and belong to no job, and for jobs whose prediction Replicate never had.

    It changes nothing. Status 1: something was found. Predictions of others who use the same account, and all that
    were started without a webhook of ours, are only counted.
    """
    deployment = ops.deployment
    begun = Millis(parse_ago(since))
    auditor = Auditor(
        jobs=deployment.jobs, replicate=deployment.replicate(), origin=deployment.settings.origins[0], now=now
    )
    tenants = [tenant.name for tenant in deployment.tenants.all()]
    with ops.screen.progress("comparing") as bar:
        report = auditor.audit(tenants, since=begun, looked_at=lambda _: bar.step())
    counts = {owner.value: report.predictions[owner] for owner in Owner}
    document = {
        "since": iso(begun),
        "jobs": report.jobs,
        "predictions": counts,
        "counted_as_paid_without_prediction": report.unclear,
        "findings": [
            {
                "fault": one.fault,
                "prediction_id": one.prediction_id,
                "job_id": one.job_id,
                "created_at": iso(one.created_at),
                "detail": one.detail,
            }
            for one in report.findings
        ],
    }
    rows = [(one.fault, one.prediction_id, one.job_id, clock(one.created_at), one.detail) for one in report.findings]
    shown: list[RenderableType] = [
        facts(
            since=clock(begun),
            jobs=report.jobs,
            predictions=", ".join(f"{count} {owner}" for owner, count in counts.items() if count) or "none",
            counted_as_paid_without_prediction=", ".join(report.unclear) or "none",
        ),
        "",
        table("fault", "prediction", "job", "made", "what", rows=rows) if rows else "Nothing was found.",
    ]
    ops.screen.show(document, *shown)
    if report.findings:
        raise typer.Exit(1)
