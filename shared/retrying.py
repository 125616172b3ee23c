"""Starting the order of a failed job anew, as a job of its own, where that cannot pay for the same thing twice."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from shared import schedule
from shared.dispatch_queue import order_for
from shared.errors import AfterimageError, Code
from shared.file_inputs import TakenInput
from shared.identifiers import new_job_id
from shared.inputs.fields import LARGEST_SEED
from shared.job import Hold, Job, JobId, Millis, Status
from shared.job_store import shard_of
from shared.ledger import Pointer, day_of
from shared.pricing import usd

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.accounts import Limits
    from shared.dispatch_queue import DispatchQueue
    from shared.file_store import FileStore
    from shared.ledger import Ledger

ORDER = (
    "tenant",
    "kind",
    "model",
    "family",
    "version",
    "deployment",
    "destination",
    "makes",
    "altered",
    "fingerprint",
    "webhook",
    "webhook_events",
    "deadline_s",
    "price",
    "estimate",
)
"""The fields of a job that say what was ordered. The input, its files and its seed are written anew."""


class NotRetried(AfterimageError):
    """The job is not to be started anew; the message says why."""


class Retrier:
    """Makes a new job of a failed one's order, at most one of each."""

    def __init__(self, *, ledger: Ledger, queue: DispatchQueue, files: FileStore, now: Callable[[], Millis]) -> None:
        """Work with what admits jobs and has them started."""
        self._ledger = ledger
        self._queue = queue
        self._files = files
        self._now = now

    def retry(self, job: Job, limits: Limits) -> Job:
        """Admit the same order as a new job, within the tenant's limits but that of a minute, and have it started.

        A seed that was drawn is drawn anew; the caller's webhook, if there is one, is told of the new job.

        Raises:
            NotRetried: it did not fail, may have been paid for, cannot be repeated, or has been retried before.
            Refusal: the tenant's limits, or its closed account, forbid it.
        """
        _require_free(job)
        now = self._now()
        new_id = new_job_id(now)
        new = _anew(job, new_id, now, self._copied(job, new_id))
        # For good: a failed job is retried once, whoever asks how often; what failed again is retried by its own id.
        once = Pointer(
            pk=_pointer_pk(job),
            fingerprint=job.id,
            valid_until=Millis(2**53),
            kept_until=None,
        )
        if (met := self._ledger.admit(new, limits, once, counts=False)) is not None:
            raise NotRetried(f"it has been retried already, as {met.job_id}")
        self._queue.send(order_for(new), delay_s=0)
        return new

    def retried_as(self, job: Job) -> JobId | None:
        """Give the job that a failed one was started anew as, if it was."""
        met = self._ledger.find(_pointer_pk(job))
        return met.job_id if met else None

    def _copied(self, job: Job, new_id: JobId) -> dict[str, str]:
        """Give the new job files of its own where the former ones go with the former job."""
        own, copies = f"inputs/{job.tenant}/{job.id}/", dict(job.stored_inputs)
        for where, key in job.stored_inputs.items():
            if self._files.look(key) is None:
                raise NotRetried("a file that it was given is not kept any more; its caller has to send it")
            if key.startswith(own):
                copies[where] = f"inputs/{job.tenant}/{new_id}/{key.removeprefix(own)}"
                self._files.copy_input(key, copies[where])
        return copies


def _pointer_pk(job: Job) -> str:
    return f"pointer#{job.tenant}#retry#{job.id}"


def _require_free(job: Job) -> None:
    if job.status is not Status.FAILED:
        raise NotRetried(f"only what failed is retried, and it is {job.status}")
    if job.deleted_at is not None:
        raise NotRetried("it has been deleted")
    if job.problem is not None and job.problem.code is Code.OUTCOME_UNKNOWN:
        raise NotRetried("nobody knows whether Replicate ran it: it may have been paid for")
    if job.cost:
        raise NotRetried(f"it has cost {usd(job.cost)} USD, and would be paid for twice")
    from_files = TakenInput(job.input, job.stored_inputs).altered
    if lost := [name for name in job.altered if name not in from_files]:
        raise NotRetried(f"its secret inputs ({', '.join(lost)}) are not kept; its caller has to send it")


def _anew(job: Job, new_id: JobId, now: Millis, stored_inputs: dict[str, str]) -> Job:
    given: dict[str, Any] = dict(job.input)
    drawn = secrets.randbelow(LARGEST_SEED) if job.drawn_seed is not None else None
    if drawn is not None:
        given["seed"] = drawn
    cancel_after_ms = None if job.cancel_after_at is None else job.cancel_after_at - job.created_at
    return Job(
        id=new_id,
        status=Status.QUEUED,
        input=given,
        stored_inputs=stored_inputs,
        created_at=now,
        cancel_after_at=None if cancel_after_ms is None else Millis(now + cancel_after_ms),
        seed=drawn if drawn is not None else job.seed,
        drawn_seed=drawn,
        hold=Hold(day_of(now), job.estimate),
        due_at=schedule.after(now, schedule.QUEUED_S),
        due_shard=shard_of(new_id),
        **{name: getattr(job, name) for name in ORDER},
    )
