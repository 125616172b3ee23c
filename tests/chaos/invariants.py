"""The promises: judged at every write while a history goes on, and once more when nothing is left to do."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from shared.errors import Code
from shared.job import Job, Status
from shared.job_store import decode
from shared.ledger import day_of
from shared.manifest import manifest_of
from shared.prediction import VERDICTS
from tests.support.world import START, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.replicate import Played
    from tests.chaos.world import History

RANKS = {Status.QUEUED: 0, Status.STARTING: 1, Status.PROCESSING: 2, Status.STORING: 3}
OVER = 4
MAY_CHANGE_AFTER_THE_END = {"due_at", "due_shard", "archived_at", "joined", "retries"}


class Witness:
    """Sees every write that took effect, and what was wrong with it."""

    def __init__(self, world: World) -> None:
        """Begin with an empty deployment."""
        self.jobs: dict[str, Job] = {}
        self.objects: dict[str, bytes] = {}
        self.wrongs: list[str] = []
        self._world = world

    def saw(self, name: str, parameters: Any, answer: Any) -> None:
        """Take note of an operation that took effect."""
        match name:
            case "dynamodb.update_item":
                if parameters["TableName"] == self._world.jobs_table:
                    self._saw_job(decode(answer["Attributes"]))
            case "dynamodb.put_item":
                self._saw_job(decode(parameters["Item"]))
            case "dynamodb.transact_write_items":
                for action in parameters["TransactItems"]:
                    written = action.get("Put") or action["Update"]
                    item = written.get("Item")
                    key = (item or written["Key"])["pk"]["S"]
                    if key.startswith("job#"):
                        self._saw_job(decode(item) if item else self._world.read(key.removeprefix("job#")))
            case "s3.put_object":
                self._saw_object(parameters["Key"])
            case "s3.delete_object":
                self.objects.pop(parameters["Key"], None)

    def _saw_object(self, key: str) -> None:
        if key in self.objects:
            self.wrongs.append(f"{key} was overwritten")
        self.objects[key] = self._world.object(key)
        if key.endswith("/manifest.json"):
            job = self.jobs[key.split("/")[-2]]
            if not job.ended:
                self.wrongs.append(f"the manifest was written while the job was {job.status}")
            elif json.loads(self.objects[key]) != json.loads(json.dumps(manifest_of(job))):
                self.wrongs.append("the manifest does not agree with the job")

    def _saw_job(self, new: Job) -> None:
        old = self.jobs.get(new.id)
        self.jobs[new.id] = new
        manifest = f"jobs/{new.tenant}/{new.id}/manifest.json"
        is_out = new.due_at is None or new.due_shard is None
        if is_out and manifest not in self.objects and new.purged_at is None:
            self.wrongs.append("the job left the due index before its manifest was written")
        if (
            new.status is Status.SUCCEEDED
            and new.deleted_at is None
            and any(file.key not in self.objects for file in new.files)
        ):
            self.wrongs.append("the job succeeded before its files were stored")
        if old is not None:
            self.wrongs += regressions(old, new)


def regressions(old: Job, new: Job) -> Iterator[str]:
    """Say what a single write must never do to a job."""
    changed = {spec.name for spec in fields(Job) if getattr(old, spec.name) != getattr(new, spec.name)}
    if old.ended and new.deleted_at is None and changed - MAY_CHANGE_AFTER_THE_END:
        yield f"the job changed after its end: {', '.join(sorted(changed))}"
    returns = old.status is Status.STARTING and new.status is Status.QUEUED and old.prediction_id is None
    if RANKS.get(new.status, OVER) < RANKS.get(old.status, OVER) and not returns:
        yield f"the status went backwards: {old.status} to {new.status}"
    if old.prediction_id not in {None, new.prediction_id}:
        yield "the job changed its prediction"
    if (new.percent or 0) < (old.percent or 0) or new.attempt < old.attempt:
        yield "a count went backwards"


def violations(history: History) -> list[str]:
    """Say everything that is wrong when nothing is left to do."""
    found = list(dict.fromkeys(history.witness.wrongs))
    if not history.is_over:
        found.append("it does not come to an end")
    found += _of_queues(history)
    jobs = [history.world.read(job_id) for job_id in history.world.jobs_written()]
    for job in jobs:
        found += _of_job(history, job)
    if history.scenario.idempotent and len(jobs) > history.scenario.jobs:
        found.append(f"one key made {len(jobs)} jobs")
    if history.scenario.reuses and sum(job.status is Status.SUCCEEDED for job in jobs) > 1:
        found.append("equal requests were paid for more than once")
    if len({job.batch_id for job in jobs}) > 1:
        found.append("one batch has several ids")
    owners = {job.prediction_id for job in jobs}
    given_up = any(map(_is_unknown, jobs))
    for one in history.replicate.predictions.values():
        if one.webhook is not None and one.id not in owners and not one.canceled and not given_up:
            found.append(f"{one.id} belongs to no job, and was not canceled")
    found += _of_account(history, jobs)
    return found


def _of_queues(history: History) -> Iterator[str]:
    for name, queue in history.queues.items():
        if queue.waiting:
            yield f"{len(queue.waiting)} messages are left in {name}"
        if queue.dead:
            yield f"{len(queue.dead)} messages are in the dead-letter queue of {name}"


def _of_account(history: History, jobs: list[Job]) -> Iterator[str]:
    account = history.world.account()
    if account["inflight"] != 0:
        yield f"{account['inflight']} jobs are in flight"
    committed = account.get(f"committed_{day_of(START)}", 0)
    spent = sum(job.cost or 0 for job in jobs)
    if committed != spent:
        yield f"the account has spent {committed}, its jobs {spent}"


def _of_job(history: History, job: Job) -> Iterator[str]:
    if not job.ended:
        yield f"the job is {job.status}"
    elif job.deleted_at is not None:
        yield from _of_deleted(history, job)
    else:
        yield from _of_ended(history, job)


def _of_ended(history: History, job: Job) -> Iterator[str]:
    if job.archived_at is None or job.due_at is not None or job.due_shard is not None:
        yield "the job is still in the due index"
    if job.hold is not None or job.lease is not None:
        yield "the job still has its hold or its lease"
    own = [one for one in history.replicate.predictions.values() if one.webhook and f"/{job.id}?" in one.webhook]
    if len(own) > 1:
        yield f"{len(own)} predictions were started"
    prediction = history.replicate.predictions.get(job.prediction_id or "")
    made = prediction.contents if prediction else []
    if prediction is not None:
        yield from _of_prediction(history, job, prediction)
    elif job.status is Status.SUCCEEDED:
        yield "the job succeeded without a prediction"
    keys = {key for key in history.world.stored() if job.id in key}
    if {file.key for file in job.files} | {f"jobs/{job.tenant}/{job.id}/manifest.json"} != keys:
        yield f"the bucket holds {sorted(keys)}"
    elif history.world.manifest(job) != json.loads(json.dumps(manifest_of(job))):
        yield "the manifest does not agree with the job"
    charged = job.price.of(images=history.scenario.images if _is_unknown(job) else len(made), seconds=0)
    if job.cost != charged:
        yield f"the job says it cost {job.cost}, Replicate charged {charged}"


def _of_deleted(history: History, job: Job) -> Iterator[str]:
    if job.purged_at is None or job.due_at is not None:
        yield "the job was deleted, but not purged"
    if left := [key for key in history.world.stored() if job.id in key]:
        yield f"the job was deleted, but the bucket holds {left}"


def _is_unknown(job: Job) -> bool:
    return job.problem is not None and job.problem.code is Code.OUTCOME_UNKNOWN


def _of_prediction(history: History, job: Job, prediction: Played) -> Iterator[str]:
    how = history.scenario.replicate
    verdict = VERDICTS.get(prediction.status)
    expires = history.scenario.problem is Code.OUTPUT_EXPIRED
    if (how.poisoned or expires) and verdict is Status.SUCCEEDED:
        verdict = Status.FAILED
    if job.status is not verdict:
        yield f"the prediction has {prediction.status}, the job {job.status}"
    bytes_stored = {file.n: history.world.object(file.key) for file in job.files}
    wanted = dict(enumerate(prediction.contents))
    if how.poisoned:
        wanted.pop(0, None)
    if expires:
        wanted.clear()
    if bytes_stored != wanted:
        yield f"{len(wanted)} files were made, {len(bytes_stored)} are stored, or they differ"
