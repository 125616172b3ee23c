"""What starts, repairs and cancels jobs, composed as `shared.services` does, but on the world's clock."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, override
from urllib.parse import parse_qs, urlsplit

import boto3

from shared.canceling import Canceler
from shared.dispatch_queue import DispatchOrder, DispatchQueue, parse_order
from shared.dispatching import Dispatcher
from shared.file_inputs import FileInputs
from shared.job import Job, Millis
from shared.job_store import JobStore
from shared.reconciling import MARGIN_S, Reconciler
from shared.replicate_api import ReplicateApi
from shared.reports import Reports
from shared.schedule import POLL_S
from shared.secret_inputs import SecretInputs
from shared.starting import Starter
from shared.submission import Submission
from shared.uploads import Uploads
from shared.upstream_limit import UpstreamLimit
from tests.support.loopback import Answer, Call
from tests.support.replicate import TOKEN, FakeReplicate, answer, prediction
from tests.support.world import LIMITS, ORIGIN, SECRETS, World, environment, job

RATE = 600


class PlayedAccount(FakeReplicate):
    """Replicate with a memory: what it has can be read, listed and canceled; lined-up answers come first."""

    def __init__(self) -> None:
        super().__init__()
        self.predictions: dict[str, dict[str, Any]] = {}
        self.hides_webhooks = False

    def has(self, prediction_id: str, status: str = "starting", **fields: Any) -> dict[str, Any]:
        """Let there be a prediction."""
        self.predictions[prediction_id] = document = prediction(prediction_id, status, **fields)
        return document

    def asked(self, method: str, path: str) -> list[Call]:
        """Give the requests of this kind; `path` is a pattern for all of it but the query."""
        return [one for one in self.calls if one.method == method and re.fullmatch(path, one.path.partition("?")[0])]

    @property
    def polls(self) -> list[str]:
        return [call.path.rpartition("/")[2] for call in self.asked("GET", r"/v1/predictions/\w+")]

    @property
    def lists(self) -> list[Call]:
        return self.asked("GET", "/v1/predictions")

    @property
    def cancels(self) -> list[str]:
        return [call.path.split("/")[3] for call in self.asked("POST", r".*/cancel")]

    @property
    @override
    def created(self) -> list[dict[str, Any]]:
        return [json.loads(call.body) for call in self.asked("POST", ".*/predictions")]

    @override
    def respond(self, call: Call) -> Answer:
        if self._lined_up:
            return super().respond(call)
        url = urlsplit(call.path)
        match call.method, url.path.split("/")[2:]:
            case "GET", ["predictions"]:
                self.calls.append(call)
                since = parse_qs(url.query)["created_after"][0]
                found = [dict(one) for one in self.predictions.values() if one["created_at"] >= since]
                if self.hides_webhooks:
                    found = [{name: value for name, value in one.items() if name != "webhook"} for one in found]
                return answer(200, {"previous": None, "next": None, "results": found})
            case "GET", ["predictions", prediction_id]:
                self.calls.append(call)
                known = self.predictions.get(prediction_id)
                return answer(200, known) if known else answer(404, {"detail": "not found", "status": 404})
            case "POST", ["predictions", prediction_id, "cancel"]:
                self.calls.append(call)
                known = self.predictions.get(prediction_id, prediction(prediction_id))
                if known["completed_at"] is None:
                    known = {**known, "status": "canceled", "completed_at": known["created_at"]}
                return answer(200, known)
        return super().respond(call)


class SentMessages:
    """SQS, as far as orders are sent: keeps what was."""

    def __init__(self) -> None:
        self.sent: list[Mapping[str, Any]] = []
        self.batches: list[Mapping[str, Any]] = []

    def send_message(self, **parameters: Any) -> None:
        self.sent.append(parameters)

    def send_message_batch(self, **parameters: Any) -> Mapping[str, Any]:
        self.batches.append(parameters)
        self.sent += [{"DelaySeconds": 0, **entry} for entry in parameters["Entries"]]
        return {}


class Parts:
    """Everything around the jobs of a world; `process` gives what a process of its own would have."""

    def __init__(self, world: World, *, has_webhooks: bool = True, poll_s: int = POLL_S, rate: int = RATE) -> None:
        self.world = world
        self.replicate = PlayedAccount()
        self.messages = SentMessages()
        self.has_webhooks = has_webhooks
        self.poll_s = poll_s
        self.rate = rate
        self.most_queued_s = 24 * 3600

    def admitted(self, **changes: Any) -> Job:
        """Give a job whose place and money are taken."""
        one = job(**changes)
        self.world.ledger().admit(one, LIMITS)
        return one

    def orders(self) -> list[tuple[DispatchOrder, int]]:
        """Take the orders to start jobs out of the queue, each with its delay in seconds."""
        found = [(parse_order(one["MessageBody"]), one["DelaySeconds"]) for one in self.messages.sent]
        self.messages.sent.clear()
        return found

    def limit(self, rate: int | None = None) -> UpstreamLimit:
        table = self.world.accounts_table
        return UpstreamLimit(self.world.dynamo, table, rate=rate or self.rate, now=self.world.clock)

    def starter(self, limit: UpstreamLimit | None = None) -> Starter:
        world = self.world
        return Starter(
            jobs=world.jobs,
            ledger=world.ledger(),
            archive=world.archive_queue,
            queue=self._queue(),
            limit=limit or self.limit(),
            replicate=self._api(),
            callback_key=SECRETS["callback-key"],
            public_url=ORIGIN,
            has_webhooks=self.has_webhooks,
            poll_s=self.poll_s,
            most_queued_s=self.most_queued_s,
            outgoing=lambda one: one.input,
            username=None,
            now=world.clock,
        )

    def submission(self, *, retention_days: int = 0) -> Submission:
        limit, world = self.limit(), self.world
        uploads = Uploads(world.dynamo, world.jobs_table, files=lambda: world.files, now=world.clock)
        return Submission(
            jobs=world.jobs,
            ledger=world.ledger(),
            limit=limit,
            starter=self.starter(limit),
            file_inputs=FileInputs(
                jobs=world.jobs,
                files=lambda: world.files,
                uploads=uploads,
                links=None,
                origins=[ORIGIN],
                now=world.clock,
            ),
            secret_inputs=SecretInputs(lambda: boto3.client("kms"), world.physical["InputKey"]),
            retention_days=retention_days,
            now=world.clock,
            sleep=world.sleeps.append,
        )

    def dispatcher(self) -> Dispatcher:
        limit, world = self.limit(), self.world
        return Dispatcher(
            jobs=world.jobs, queue=self._queue(), limit=limit, starter=self.starter(limit), now=world.clock
        )

    def reports(self) -> Reports:
        world = self.world
        return Reports(jobs=world.jobs, archive=world.archive_queue, poll_s=self.poll_s, now=world.clock)

    def reconciler(self, jobs: JobStore | None = None) -> Reconciler:
        return Reconciler(
            jobs=jobs or self.world.jobs,
            archive=self.world.archive_queue,
            starter=self.starter(),
            replicate=self._api(),
            reports=self.reports(),
            poll_s=self.poll_s,
            now=self.world.clock,
        )

    def canceler(self, jobs: JobStore | None = None) -> Canceler:
        return Canceler(jobs=jobs or self.world.jobs, starter=self.starter(), now=self.world.clock)

    def reconcile(self, seconds: float = MARGIN_S + 20) -> int:
        """Let `reconcile` run once, now."""
        return self.reconciler().run(seconds=seconds)

    def reconcile_when_due(self, job_id: str) -> Job:
        """Let time pass until a job is due, reconcile, and give the job as it is then."""
        due_at = self.world.read(job_id).due_at
        assert due_at is not None
        self.world.clock.at = max(self.world.clock.at, due_at)
        self.reconcile()
        return self.world.read(job_id)

    def in_due_index(self, *, at: Millis | None = None) -> list[str]:
        """Give the ids of all jobs that are due by then."""
        now = self.world.clock() if at is None else at
        return [str(one) for n in range(8) for one in self.world.jobs.due(f"due#{n}", now=now, limit=100)]

    def _queue(self) -> DispatchQueue:
        client: Any = self.messages
        return DispatchQueue(client, "made-up")

    def _api(self) -> ReplicateApi:
        return ReplicateApi(token=TOKEN, base_url="https://api.replicate.com", transport=self.replicate)


@contextmanager
def composed(world: World, **settings: Any) -> Iterator[Parts]:
    """Compose the parts, in the environment of a function that has them all."""
    with environment(world.template.function("ReconcileFunction").environment):
        yield Parts(world, **settings)
