"""`notify`: callers' webhooks are signed, say what `GET` says, and come until they are heard, but never elsewhere."""

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from standardwebhooks.webhooks import Webhook

from shared import services
from shared.addresses import Places, parse_places
from shared.errors import AddressUnavailable, Code, Problem, Unheard
from shared.job import Job, Kind, Makes, Millis, Status, StoredFile
from shared.links import FileLinks
from shared.notify_queue import DELAYS_S, Notice
from shared.notifying import FRESH_S, WARY_S, Heard, Notifier
from shared.outgoing import Patience
from shared.services import now
from shared.views import Views
from tests.support.loopback import Answer, Call, serving
from tests.support.world import ALICE, ORIGIN, World, adopted

pytestmark = pytest.mark.sockets

FILES = (StoredFile(0, "jobs/alice/x/0.webp", "image/webp", 12, "a" * 64, 48, 32),)
LAST = len(DELAYS_S) + 1


class Receiver:
    """A caller's endpoint: answers what it is told to, and remembers what it was told."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.answers: list[Answer] = []
        self.calls: list[Call] = []
        self.origin = ""

    def respond(self, call: Call) -> Answer:
        self.calls.append(call)
        return self.answers.pop(0) if self.answers else Answer()

    def verified(self, *secrets: str) -> list[Any]:
        """Give what arrived, each checked by the library with each of these secrets."""
        for call in self.calls:
            for secret in secrets or self.world.accounts.webhook_secrets(ALICE):
                Webhook(secret).verify(call.body, dict(call.headers))
        return [json.loads(call.body) for call in self.calls]

    @property
    def ids(self) -> list[str]:
        return [call.headers["webhook-id"] for call in self.calls]

    def job(self, **changes: Any) -> Job:
        """Write a job that has ended, and whose caller is to be told so here."""
        return self.world.put(ended(**{"webhook": f"{self.origin}/hook?of=me", **changes}))


@pytest.fixture
def receiver(world: World) -> Iterator[Receiver]:
    one = Receiver(world)
    with serving(one.respond) as one.origin:
        world.parameters["WebhookHosts"] = f"*,{one.origin}"
        yield one


def ended(**changes: Any) -> Job:
    fields: dict[str, Any] = {
        "status": Status.SUCCEEDED,
        "created_at": now(),
        "completed_at": now(),
        "files": FILES,
        "cost": 3_000,
        "hold": None,
        "webhook_events": ("completed",),
    }
    return adopted(**{**fields, **changes})


def running(**changes: Any) -> dict[str, Any]:
    return {"status": Status.PROCESSING, "files": (), "cost": None, "completed_at": None, "percent": 50, **changes}


def manifest_of(job: Job) -> str:
    return json.dumps({"detail": {"object": {"key": f"jobs/{job.tenant}/{job.id}/manifest.json"}}})


def notice(job: Job, event: str, *, age_s: float = 0) -> str:
    return json.dumps({"job_id": job.id, "event": event, "at": now() - round(age_s * 1000)})


def deliver(world: World, body: str, *, received: int = 6) -> bool:
    """Give `notify` a message that it receives for the so manieth time; says whether that was the end of it.

    After six times, what was not heard stays away for longer than any test takes.
    """
    url = world.physical["NotifyQueue"]
    world.sqs.send_message(QueueUrl=url, MessageBody=body)
    (message,) = world.sqs.receive_message(QueueUrl=url)["Messages"]
    record = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": {"ApproximateReceiveCount": str(received)},
    }
    answer = world.call("NotifyFunction", {"Records": [record]})
    failed = [one["itemIdentifier"] for one in answer["batchItemFailures"]]
    assert failed in ([], [message["MessageId"]])
    if not failed:
        world.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return not failed


def waiting(world: World) -> int:
    """Count the messages that can be received now."""
    return len(world.sqs.receive_message(QueueUrl=world.physical["NotifyQueue"]).get("Messages", []))


# What is told


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"status": Status.FAILED, "files": (), "problem": Problem(Code.NSFW_CONTENT, "NSFW content")},
        {"status": Status.CANCELED, "files": ()},
        {"kind": Kind.TRAINING, "makes": Makes.MODEL, "files": (), "text": {"version": "a/b:c"}},
        {"input": {"prompt": "ein Fuchs im Gebüsch 🦊"}, "webhook_events": ("start", "output", "logs", "completed")},
    ],
    ids=["succeeded", "failed", "canceled", "training", "unicode"],
)
def test_the_end_is_told_with_what_get_says(world: World, receiver: Receiver, changes: dict[str, Any]) -> None:
    job = receiver.job(**changes)
    assert deliver(world, manifest_of(job))
    (document,) = receiver.verified()
    path = f"/v1/{'trainings' if job.kind is Kind.TRAINING else 'predictions'}/{job.id}"
    answer = world.request("GET", path, key=world.keys[ALICE])
    assert receiver.calls[0].body == answer.body
    assert document["status"] == job.status
    (call,) = receiver.calls
    assert (call.method, call.path) == ("POST", "/hook?of=me")
    assert call.headers["content-type"] == "application/json"
    assert call.headers["user-agent"] == "afterimage"
    assert call.headers["webhook-id"] == f"msg_{job.id}_completed"
    assert abs(int(call.headers["webhook-timestamp"]) - time.time()) < 60
    assert not {"authorization", "cookie"} & set(call.headers)


def test_the_links_in_it_work(world: World, receiver: Receiver) -> None:
    job = receiver.job()
    key = f"jobs/{job.tenant}/{job.id}/0.webp"
    world.put(ended(id=job.id, webhook=job.webhook, files=(StoredFile(0, key, "image/webp", 4, "a" * 64),)))
    world.s3.put_object(Bucket=world.bucket, Key=key, Body=b"RIFF")
    assert deliver(world, manifest_of(job))
    url = urlsplit(receiver.verified()[0]["output"][0])
    assert world.request("GET", f"{url.path}?{url.query}").status in {200, 302, 307}


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook": None},
        {"webhook_events": ("start", "logs")},
        {"webhook_events": ()},
        {"deleted_at": Millis(1)},
        running(),
    ],
    ids=["no webhook", "other events", "no events", "deleted", "not over"],
)
def test_nobody_is_told_who_does_not_want_it(world: World, receiver: Receiver, changes: dict[str, Any]) -> None:
    assert deliver(world, manifest_of(receiver.job(**changes)))
    assert receiver.calls == []


def test_a_job_that_is_not_there_and_an_object_that_is_no_manifest_are_ignored(
    world: World, receiver: Receiver
) -> None:
    assert deliver(world, manifest_of(ended(webhook=f"{receiver.origin}/hook")))
    assert deliver(world, json.dumps({"detail": {"object": {"key": "uploads/alice/x/manifest.json"}}}))
    assert receiver.calls == []


def test_a_message_that_comes_twice_is_told_once(world: World, receiver: Receiver) -> None:
    job = receiver.job()
    for _ in range(3):
        assert deliver(world, manifest_of(job))
    assert len(receiver.verified()) == 1


# What is not heard


@pytest.mark.parametrize("status", [500, 503, 404, 400, 401, 429, 300, 301, 302, 307, 308, 304])
def test_what_is_not_accepted_comes_again_with_the_same_id_until_it_is(
    world: World, receiver: Receiver, status: int
) -> None:
    job = receiver.job()
    receiver.answers = [Answer(status, headers={"Location": f"{receiver.origin}/elsewhere"})] * 2
    assert [deliver(world, manifest_of(job), received=n) for n in (1, 2, 3, 4)] == [False, False, True, True]
    assert len(receiver.verified()) == 3
    assert set(receiver.ids) == {f"msg_{job.id}_completed"}
    assert {call.path for call in receiver.calls} == {"/hook?of=me"}


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
def test_any_2xx_is_heard(world: World, receiver: Receiver, status: int) -> None:
    job = receiver.job()
    receiver.answers = [Answer(status)]
    assert deliver(world, manifest_of(job))
    assert len(receiver.verified()) == 1


def test_what_is_told_again_is_made_anew(world: World, receiver: Receiver) -> None:
    job = receiver.job()
    receiver.answers = [Answer(500)]
    assert not deliver(world, manifest_of(job))
    world.put(ended(id=job.id, webhook=job.webhook, cost=9_000))
    assert deliver(world, manifest_of(job))
    costs = [document["afterimage"]["cost_usd"] for document in receiver.verified()]
    assert costs == [0.003, 0.009]


def test_what_was_not_heard_is_hidden_until_its_time_comes(world: World, receiver: Receiver) -> None:
    receiver.answers = [Answer(500)]
    assert not deliver(world, manifest_of(receiver.job()))
    assert waiting(world) == 0


def test_after_the_last_call_the_message_is_at_the_queues_disposal(world: World, receiver: Receiver) -> None:
    """Which moves it to the dead letters, having delivered it as often as it may."""
    receiver.answers = [Answer(500)]
    assert not deliver(world, manifest_of(receiver.job()), received=LAST)
    assert waiting(world) == 1


def test_a_connection_that_breaks_or_is_refused_comes_again(world: World, receiver: Receiver) -> None:
    job = receiver.job()
    receiver.answers = [Answer(cut=0)]
    assert not deliver(world, manifest_of(job))
    with serving(lambda _: Answer()) as gone:
        world.parameters["WebhookHosts"] = f"*,{gone}"
    services.notify.cache_clear()
    assert not deliver(world, manifest_of(receiver.job(webhook=f"{gone}/hook")))


def test_a_receiver_that_says_gone_is_not_called_again(world: World, receiver: Receiver) -> None:
    job = receiver.job()
    receiver.answers = [Answer(410)]
    assert deliver(world, manifest_of(job))
    assert deliver(world, manifest_of(job))
    assert len(receiver.calls) == 1


def test_a_huge_answer_is_not_read(world: World, receiver: Receiver) -> None:
    receiver.answers = [Answer(200, b"x" * 50_000_000)]
    started = time.monotonic()
    assert deliver(world, manifest_of(receiver.job()))
    assert time.monotonic() - started < 60


def test_a_message_that_nobody_understands_comes_again(world: World) -> None:
    assert not deliver(world, '{"what": "is this"}')


# Where nobody is called


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "https://127.0.0.1/hook",
        "https://localhost/hook",
        "https://localhost.localdomain/hook",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/hook",
        "https://user@example.com/hook",
        "https://example.com:22/hook",
        "http://127.0.0.1:1/hook",
    ],
)
def test_an_address_that_may_not_be_called_is_not_and_not_again(
    world: World, receiver: Receiver, logged: list[str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", 443))])
    assert deliver(world, manifest_of(receiver.job(webhook=url)))
    assert receiver.calls == []
    assert any("notify_forbidden" in line for line in logged)


def test_a_redirect_to_another_place_is_not_followed(world: World, receiver: Receiver) -> None:
    inner: list[Call] = []

    def respond(call: Call) -> Answer:
        inner.append(call)
        return Answer()

    with serving(respond) as private:
        receiver.answers = [Answer(307, headers={"Location": f"{private}/admin"})] * LAST
        outcomes = [deliver(world, manifest_of(receiver.job()), received=n) for n in range(1, LAST + 1)]
    assert outcomes == [False] * LAST
    assert inner == []


# Secrets


def test_while_a_secret_is_replaced_both_sign(world: World, receiver: Receiver) -> None:
    (former,) = world.accounts.webhook_secrets(ALICE)
    world.clock.at = now()
    new = world.accounts.rotate_webhook_secret(ALICE, 3600)
    assert deliver(world, manifest_of(receiver.job()))
    assert receiver.verified(former, new)
    assert len(receiver.calls[0].headers["webhook-signature"].split()) == 2


def test_once_that_is_over_only_the_new_one_signs(world: World, receiver: Receiver) -> None:
    world.clock.at = now() - 3_600_000
    new = world.accounts.rotate_webhook_secret(ALICE, 3500)
    assert deliver(world, manifest_of(receiver.job()))
    assert receiver.verified(new)
    assert len(receiver.calls[0].headers["webhook-signature"].split()) == 1


def test_a_tenant_without_a_secret_is_told_once_it_has_one(world: World, receiver: Receiver) -> None:
    key = {"pk": {"S": f"account#{ALICE}"}}
    world.dynamodb.update_item(TableName=world.accounts_table, Key=key, UpdateExpression="REMOVE webhook_secret")
    job = receiver.job()
    assert not deliver(world, manifest_of(job))
    assert receiver.calls == []
    world.accounts.rotate_webhook_secret(ALICE, 0)
    assert deliver(world, manifest_of(job))
    assert len(receiver.verified()) == 1


def test_no_secret_and_no_content_is_logged(world: World, receiver: Receiver, logged: list[str]) -> None:
    receiver.answers = [Answer(500, b"their secret")]
    job = receiver.job(input={"prompt": "our secret"})
    assert [deliver(world, manifest_of(job)) for _ in range(2)] == [False, True]
    everything = "\n".join(logged)
    assert "notify_failed" in everything
    assert "notified" in everything
    assert job.id in everything
    for hidden in ("secret", "/hook", "whsec_", *world.accounts.webhook_secrets(ALICE)):
        assert hidden not in everything


# What happens before the end


@pytest.mark.parametrize("event", ["start", "output", "logs"])
def test_a_step_is_told_once(world: World, receiver: Receiver, event: str) -> None:
    job = receiver.job(**running(webhook_events=(event,)))
    body = notice(job, event)
    assert deliver(world, body)
    assert deliver(world, body)
    (document,) = receiver.verified()
    assert (document["status"], document["afterimage"]["progress"]) == ("processing", 0.5)
    assert receiver.ids[0].startswith(f"msg_{job.id}_{event}")


@pytest.mark.parametrize("event", ["start", "output", "logs"])
def test_a_step_that_was_not_heard_is_forgotten(world: World, receiver: Receiver, event: str) -> None:
    receiver.answers = [Answer(500)]
    assert deliver(world, notice(receiver.job(**running(webhook_events=(event,))), event))
    assert len(receiver.calls) == 1


@pytest.mark.parametrize("event", ["start", "output", "logs"])
def test_an_old_step_is_no_news(world: World, receiver: Receiver, event: str) -> None:
    job = receiver.job(**running(webhook_events=(event,)))
    assert deliver(world, notice(job, event, age_s=FRESH_S + 5))
    assert receiver.calls == []


@pytest.mark.parametrize(("event", "told"), [("start", 1), ("output", 0), ("logs", 0)])
def test_after_the_end_only_the_start_is_still_told(world: World, receiver: Receiver, event: str, told: int) -> None:
    job = receiver.job(webhook_events=("start", "output", "logs", "completed"))
    assert deliver(world, notice(job, event))
    assert len(receiver.verified()) == told


def test_a_step_that_nobody_asked_for_is_not_told(world: World, receiver: Receiver) -> None:
    job = receiver.job(**running(webhook_events=("completed",)))
    for event in ("start", "output", "logs"):
        assert deliver(world, notice(job, event))
    assert receiver.calls == []


# Endpoints that keep us waiting


def test_an_endpoint_that_was_waited_for_in_vain_gets_little_time_for_a_while(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, passed_ms = now(), 0

    @contextlib.contextmanager
    def opened(_method: str, url: str, _places: Places, patience: Patience, **_: Any) -> Iterator[Any]:
        """Answer at once, or keep the caller waiting for as long as it has patience."""
        nonlocal passed_ms
        if "silent" in url:
            passed_ms += round(patience.total_s * 1000) + 1
            raise AddressUnavailable("gave no answer")
        yield Answer()

    monkeypatch.setattr("shared.notifying.opened", opened)
    notifier = Notifier(
        jobs=world.jobs,
        heard=Heard(world.dynamo, world.jobs_table, now=now),
        accounts=world.accounts,
        views=Views(FileLinks(key="made-up", link_days=1, retention_days=0), now=now),
        origin=ORIGIN,
        places=parse_places("*"),
        now=lambda: Millis(began + passed_ms),
        patience=Patience(connect_s=5, read_s=20, total_s=20),
        little_patience=Patience(connect_s=5, read_s=2, total_s=2),
    )

    def waited(url: str) -> int:
        before = passed_ms
        with contextlib.suppress(Unheard):
            notifier.notify(Notice(world.put(ended(webhook=url)).id, "completed"))
        return (passed_ms - before) // 1000

    assert waited("https://silent.example/hook") == 20
    assert waited("https://silent.example/other") == 2
    assert waited("https://silent.example:8443/hook") == 20, "another endpoint"
    assert waited("https://silent.example/hook") == 2
    passed_ms += WARY_S * 1000
    assert waited("https://silent.example/hook") == 20
    assert waited("https://receiver.example/hook") == 0
