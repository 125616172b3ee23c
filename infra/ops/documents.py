"""Jobs as documents for operators: without what callers gave, unless it is asked for."""

from typing import Any
from urllib.parse import urlsplit

from shared.history import history_of, without_input
from shared.job import Job
from shared.manifest import iso
from shared.pricing import MICRO


def document_of(job: Job, *, contents: bool) -> dict[str, Any]:
    """Give everything about a job but its secrets; with `contents` also its input, its logs and its caller's webhook.

    Without them, what a caller wrote is nowhere in it: texts of Replicate's that repeat the input are cut.
    """
    document: dict[str, Any] = {
        "id": job.id,
        "tenant": job.tenant,
        "kind": job.kind,
        "status": job.status,
        "model": job.model,
        "version": job.version,
        "deployment": job.deployment,
        "destination": job.destination,
        "batch_id": job.batch_id,
        "prediction_id": job.prediction_id,
        "attempts": job.attempt,
        "absences": job.absences,
        "archive_runs": job.takes,
        "joined": job.joined,
        "upstream_status": job.upstream_status,
        "history": [{"at": iso(moment.at), "what": moment.what} for moment in history_of(job)],
        "next_look_at": iso(job.due_at),
        "deadline_at": iso(job.deadline_at),
        "percent": job.percent,
        "metrics": dict(job.metrics or {}),
        "problem": _problem(job, contents=contents),
        "error": _shown(job.error, job, contents=contents),
        "warnings": [_shown(one, job, contents=contents) for one in job.warnings],
        "files": [
            {"key": file.key, "content_type": file.content_type, "bytes": file.bytes, "sha256": file.sha256}
            for file in job.files
        ],
        "price": {"usd": job.price.micro_usd / MICRO, "per": job.price.unit},
        "estimated_usd": job.estimate / MICRO,
        "held_usd": None if job.hold is None else job.hold.amount / MICRO,
        "cost_usd": None if job.cost is None else job.cost / MICRO,
        "webhook_host": urlsplit(job.webhook).hostname if job.webhook else None,
        "webhook_events": list(job.webhook_events),
        "input_fields": sorted(job.input),
    }
    if contents:
        document |= {"input": dict(job.input), "text": job.text, "logs": job.logs, "webhook": job.webhook}
    return document


def _problem(job: Job, *, contents: bool) -> dict[str, Any] | None:
    if job.problem is None:
        return None
    return {"code": job.problem.code, "detail": _shown(job.problem.detail, job, contents=contents)}


def _shown(text: str | None, job: Job, *, contents: bool) -> str | None:
    return text if contents or text is None else without_input(text, job)
