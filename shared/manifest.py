"""The manifest: one document a job, written last, with everything a consumer of the bucket needs to know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from shared.job import Millis
from shared.outputs import output_of
from shared.pricing import MICRO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.job import Job

VERSION = 1


def manifest_of(job: Job) -> Mapping[str, Any]:
    """Give the manifest of a finished job; it depends on nothing else, so that a repeat writes the same."""
    if not job.ended:
        raise ValueError("only a finished job has a manifest")
    return {
        "version": VERSION,
        "job_id": job.id,
        "tenant": job.tenant,
        "kind": job.kind,
        "batch_id": job.batch_id,
        "prediction_id": job.prediction_id,
        "model": job.model,
        "model_version": job.version,
        "deployment": job.deployment,
        "destination": job.destination,
        "input": job.input,
        "status": job.status,
        "problem": {"code": job.problem.code, "detail": job.problem.detail} if job.problem else None,
        "error": job.error,
        "warnings": list(job.warnings),
        "output": output_of(job, {file.n: file.key for file in job.files}),
        "files": [
            {
                "key": file.key,
                "content_type": file.content_type,
                "bytes": file.bytes,
                "sha256": file.sha256,
                "width": file.width,
                "height": file.height,
            }
            for file in job.files
        ],
        "metrics": job.metrics or {},
        "price": {"usd": job.price.micro_usd / MICRO, "per": job.price.unit},
        "estimated_cost_usd": job.estimate / MICRO,
        "cost_usd": (job.cost or 0) / MICRO,
        "created_at": iso(job.created_at),
        "started_at": iso(job.started_at),
        "completed_at": iso(job.completed_at),
    }


def iso(at: Millis | None) -> str | None:
    """Write a time as Replicate does: ISO 8601, UTC, with a Z."""
    if at is None:
        return None
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_iso(text: str) -> Millis | None:
    """Read a time in ISO 8601, which is UTC unless it says otherwise; None if it is none."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    since = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.fromtimestamp(0, UTC)
    return Millis(since // timedelta(milliseconds=1))
