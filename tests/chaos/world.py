"""One history: a deployment in moto, a virtual clock, and everything that calls the functions, in its order."""

from __future__ import annotations

import heapq
import itertools
import random
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from shared.ledger import day_of, spending_pk
from tests.chaos.faults import Calls, Died, Fault, Tapped
from tests.chaos.invariants import Witness
from tests.chaos.processes import Surroundings, start
from tests.chaos.replicate import Replicate
from tests.support.world import ALICE, SECRETS, START, World, deployed, http_event, signed_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.chaos.faults import Point
    from tests.chaos.processes import Handler
    from tests.chaos.scenarios import Scenario

GIVEN_UP_S = 6 * 3600  # after which a history that still has something to do is stuck
RETRY_S = 2.0  # of a caller with an idempotency key
RETRIES = 3
MINUTE_MS = 60_000
MODEL = "black-forest-labs/flux-schnell"
ROUTE = f"/v1/models/{MODEL}/predictions"
DELETE_AGAIN_S = 600.0  # by when it has been repaired, and can be deleted


@contextmanager
def deployment() -> Iterator[World]:
    """Deploy the template in moto, once for many histories."""
    with pytest.MonkeyPatch.context() as patch, deployed() as world:
        patch.setenv("POWERTOOLS_LOG_LEVEL", "CRITICAL")
        yield world


@dataclass
class Message:
    """One message of a queue."""

    id: str
    body: str
    receives: int = 0


class Queue:
    """A queue with its event source: what fails comes again when it is visible again, and is dead in the end."""

    def __init__(self, history: History, function: str, properties: Mapping[str, Any]) -> None:
        """`properties` are the template's."""
        self.waiting: dict[str, Message] = {}
        self.dead: list[Message] = []
        self._history = history
        self._function = function
        self._hidden_s = properties["VisibilityTimeout"]
        self._most = properties["RedrivePolicy"]["maxReceiveCount"]

    def send(self, body: str, delay_s: float) -> None:
        message = Message(f"message-{self._history.next_number()}", body)
        self.waiting[message.id] = message
        self._history.at(delay_s + 0.02, lambda: self._receive(message))

    def _receive(self, message: Message) -> None:
        message.receives += 1
        if message.receives > self._most:
            self.dead.append(self.waiting.pop(message.id))
            return
        received_at = self._history.clock()
        event = {"Records": [{"messageId": message.id, "body": message.body}]}
        answer = self._history.invoke(self._function, event)
        if answer == {"batchItemFailures": []}:
            del self.waiting[message.id]
            return
        passed_s = (self._history.clock() - received_at) / 1000
        self._history.at(max(0.0, self._hidden_s - passed_s), lambda: self._receive(message))


class _Sqs:
    """What the functions see of the queues; moto's do not know a virtual clock."""

    def __init__(self, queues: Mapping[str, Queue]) -> None:
        self._queues = queues

    def send_message(self, *, QueueUrl: str, MessageBody: str, DelaySeconds: int = 0, MessageGroupId: str = "") -> Any:  # noqa: N803, ARG002
        assert len(MessageBody.encode()) <= 1024 * 1024
        assert 0 <= DelaySeconds <= 900
        self._queues[QueueUrl].send(MessageBody, DelaySeconds)
        return {"MessageId": "sent"}

    def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[Mapping[str, Any]]) -> Any:  # noqa: N803
        assert 0 < len(Entries) <= 10
        for entry in Entries:
            self._queues[QueueUrl].send(entry["MessageBody"], 0)
        return {"Successful": []}


@dataclass
class Invocation:
    """One run of a function, and when it would be stopped."""

    function: str
    event: Mapping[str, Any]
    until: int


class History:
    """What happens in a scenario, with points at which something goes wrong."""

    def __init__(self, world: World, scenario: Scenario, *points: Point) -> None:
        """Begin with a deployment as if it were new."""
        random.seed(0)
        self.scenario = scenario
        self.world = world
        self.clock = world.clock
        self.clock.at = START
        _clean(world)
        self._numbers = itertools.count()
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._idle: dict[str, list[Handler]] = {}
        self._running: list[Invocation] = []
        self._last_tick: int = START
        self.witness = Witness(world)
        self.calls = Calls(self.clock, points, self._interrupt)
        self.replicate = Replicate(scenario.replicate, clock=self.clock, at=self.at, post=self._post_webhook)
        templates = dict(world.template.resources("AWS::SQS::Queue"))
        self.queues = {
            name: Queue(self, function, templates[name])
            for name, function in (("ArchiveQueue", "archive"), ("DispatchQueue", "dispatch"))
        }
        self._sqs = _Sqs({world.physical[name]: queue for name, queue in self.queues.items()})
        self._clients = {"dynamodb": world.dynamodb, "s3": world.s3, "sqs": self._sqs, "ssm": _Ssm()}
        if scenario.blocked_s:
            blocked = {
                "pk": {"S": "upstream#replicate"},
                "blocked_until": {"N": str(START + round(scenario.blocked_s * 1000))},
            }
            world.dynamodb.put_item(TableName=world.accounts_table, Item=blocked)
        for number, seconds in enumerate(scenario.submits):
            self.at(seconds, lambda tries=RETRIES, number=number: self._submit(number, tries))  # type: ignore[misc]
        for seconds in scenario.cancels:
            self.at(seconds, self.cancel_all)
        for seconds in scenario.deletes:
            self.at(seconds, self.delete_all)

    def run(self) -> History:
        """Let everything happen that follows."""
        self.go_on(START + GIVEN_UP_S * 1000)
        return self

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return not self._agenda and self._next_tick() is None

    def next_number(self) -> int:
        return next(self._numbers)

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        """Have something happen so many seconds from now."""
        heapq.heappush(self._agenda, (self.clock() + round(seconds * 1000), self.next_number(), action))

    def invoke(self, function: str, event: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Run a function in an idle process, or a new one; None says that the process died."""
        template = self.world.template.function(f"{function.capitalize()}Function")
        idle = self._idle.setdefault(function, [])
        handler = idle.pop() if idle else start(function, self._surroundings(function, template.environment))
        self.calls.run += 1
        self._running.append(Invocation(function, event, self.clock() + template.timeout * 1000))
        context = SimpleNamespace(get_remaining_time_in_millis=lambda: template.timeout * 1000)
        try:
            answer: Mapping[str, Any] = handler(event, context)
        except Died:
            return None
        except Exception:
            if function != "reconcile":
                raise  # all others are to catch what goes wrong, and to answer
            return None
        finally:
            self._running.pop()
        idle.append(handler)
        return answer

    # What happens by itself

    def go_on(self, until: int) -> None:
        """Let happen what happens until then."""
        while True:
            tick = self._next_tick()
            event = self._agenda[0][0] if self._agenda else None
            times = [one for one in (tick, event) if one is not None]
            if not times or min(times) > until:
                return
            if event is not None and event == min(times):
                at, _, action = heapq.heappop(self._agenda)
                self.clock.at = max(self.clock.at, at)
                action()
            elif tick is not None:
                self._last_tick = tick
                self.clock.at = max(self.clock.at, tick)
                self.invoke("reconcile", {})

    def _next_tick(self) -> int | None:
        """Give the first full minute at which `reconcile` will find something; the others change nothing."""
        due = [one.due_at for one in self.witness.jobs.values() if one.due_at is not None]
        if not due:
            return None
        first = max(min(due), self._last_tick + 1)
        return -((START - first) // MINUTE_MS) * MINUTE_MS + START

    def _interrupt(self, fault: Fault) -> None:
        running = self._running[-1]
        match fault:
            case Fault.PAUSED:
                until = max(self.clock(), running.until - 2_000)
                self.go_on(until)
                self.clock.at = max(self.clock.at, until)
            case Fault.DUPLICATED if running.function != "submit" or self.scenario.idempotent:
                self.invoke(running.function, running.event)
            case Fault.CANCELED:
                self.cancel_all()

    def _surroundings(self, function: str, environment: Mapping[str, str]) -> Surroundings:
        def client(service: str) -> Tapped:
            made = self._clients[service]
            return Tapped(made, service=service, function=function, calls=self.calls, seen=self.witness.saw)

        return Surroundings(
            environment=environment,
            client=client,
            network=self.replicate.transport_for(function, self.calls),
            outputs=self.replicate,
            now=self.clock,
            sleep=self.clock.go_on,
        )

    # What callers and Replicate do

    def _submit(self, number: int, tries: int) -> None:
        route, given = ROUTE, dict[str, Any](input={"prompt": "a fox", "num_outputs": self.scenario.images})
        if self.scenario.prompts:
            prompts = [f"fox number {n}" for n in range(self.scenario.prompts)]
            route, given = "/generate", {"prompts": prompts, "num_images": self.scenario.images, "model": MODEL}
        known = set(self.witness.jobs)
        answer = self._request("submit", route, given, self.scenario.headers)
        if answer is not None and answer["statusCode"] >= 500 and set(self.witness.jobs) != known:
            self.witness.wrongs.append(f"submit answered {answer['statusCode']} though it had written the job")
        failed = answer is None or answer["statusCode"] in {429, 500, 503}
        if failed and self.scenario.idempotent and tries:
            self.at(RETRY_S, lambda: self._submit(number, tries - 1))

    def cancel_all(self) -> None:
        """Cancel as the owner."""
        for job_id in list(self.witness.jobs):
            self._cancel(job_id, RETRIES)

    def delete_all(self) -> None:
        """Delete as the owner."""
        for job_id in list(self.witness.jobs):
            self._delete(job_id, RETRIES)

    def _delete(self, job_id: str, tries: int) -> None:
        answer = self._request("cancel", f"/v1/predictions/{job_id}", method="DELETE")
        if (answer is None or answer["statusCode"] in {409, 500, 503}) and tries:
            self.at(DELETE_AGAIN_S, lambda: self._delete(job_id, tries - 1))

    def _cancel(self, job_id: str, tries: int) -> None:
        answer = self._request("cancel", f"/v1/predictions/{job_id}/cancel")
        if (answer is None or answer["statusCode"] >= 500) and tries:
            self.at(RETRY_S, lambda: self._cancel(job_id, tries - 1))

    def _request(
        self,
        function: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "POST",
    ) -> Mapping[str, Any] | None:
        key = None if function == "webhook" else self.world.keys[ALICE]
        event = http_event(method, url, body, key=key, headers=headers)
        event["requestContext"]["timeEpoch"] = self.clock()
        return self.invoke(function, event)

    def _post_webhook(self, url: str, body: bytes, webhook_id: str) -> bool:
        headers = signed_headers(body, at=self.clock() / 1000, webhook_id=webhook_id)
        answer = self._request("webhook", url, body, headers)
        return answer is not None and answer["statusCode"] == 200


class _Ssm:
    """The secrets, which no scenario changes."""

    def get_parameters(self, *, Names: list[str], WithDecryption: bool) -> Any:  # noqa: N803
        assert WithDecryption
        return {"Parameters": [{"Name": name, "Value": SECRETS[name.rpartition("/")[2]]} for name in Names]}


def _clean(world: World) -> None:
    """Make the deployment as if nothing had happened."""
    client = world.dynamodb
    pks = [item["pk"] for item in client.scan(TableName=world.jobs_table)["Items"]]
    fresh: dict[str, Any] = {"pk": {"S": f"account#{ALICE}"}}
    fresh |= {name: {"N": "0"} for name in ("win", "n", "inflight", "created_at")}
    writes: dict[str, Any] = {
        world.accounts_table: [
            {"PutRequest": {"Item": fresh}},
            {"DeleteRequest": {"Key": {"pk": {"S": "upstream#replicate"}}}},
            {"DeleteRequest": {"Key": {"pk": {"S": spending_pk(ALICE, day_of(START))}}}},
        ]
    }
    if pks:
        writes[world.jobs_table] = [{"DeleteRequest": {"Key": {"pk": pk}}} for pk in pks]
    client.batch_write_item(RequestItems=writes)
    if keys := world.stored():
        world.s3.delete_objects(Bucket=world.bucket, Delete={"Objects": [{"Key": key} for key in keys]})
