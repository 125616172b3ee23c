"""What happened to a job and when, as far as the job tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.job import Job, Millis

HIDDEN = "[input]"
_LEAST = 4  # characters of a value that would be recognized


@dataclass(frozen=True)
class Moment:
    """Something that happened."""

    at: Millis
    what: str


def history_of(job: Job) -> list[Moment]:
    """Give the moments of a job's life, by time; earlier attempts leave only their number."""
    attempt = f"attempt {job.attempt}"
    known = [
        (job.created_at, "accepted"),
        (job.claimed_at, f"{attempt} claimed, to be sent to Replicate"),
        (job.unclear_at, f"{attempt} ended without a clear answer"),
        (job.started_at, "Replicate began to work on it"),
        (job.deadline_hit_at, "its deadline passed"),
        (job.cancel_requested_at, "cancel requested"),
        (job.completed_at, f"{job.status}" if job.ended else "ended"),
        (job.archived_at, "manifest written"),
        (job.deleted_at, "deleted by its owner"),
        (job.purged_at, "all that it held removed"),
    ]
    return sorted((Moment(at, what) for at, what in known if at is not None), key=lambda moment: moment.at)


def without_input(text: str, job: Job) -> str:
    """Give a text, such as Replicate's words for what went wrong, that repeats nothing of what the job was given."""
    strings = {one for one in _strings(job.input) if len(one) >= _LEAST}
    for one in sorted(strings, key=len, reverse=True):
        text = text.replace(one, HIDDEN)
    return text


def _strings(value: object) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [one for inner in value.values() for one in _strings(inner)]
        case list():
            return [one for inner in value for one in _strings(inner)]
    return []
