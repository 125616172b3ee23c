"""Callers' own webhooks: signed as the scheme says, with what `GET` answers, until they are heard, and nowhere else."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from replicate.client import Client
from replicate.webhook import Webhooks
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.journey.local import SCHNELL, SMALL, Local, Tenant, until
from tests.journey.replicate import Replicate
from tests.support.loopback import Answer, Call, serving

pytestmark = pytest.mark.sockets

ALL = ["start", "output", "logs", "completed"]
TRAINER = "/v1/models/ostris/flux-dev-lora-trainer/versions/latest/trainings"
SECRET = "/v1/webhooks/default/secret"


class Receiver:
    """A caller's endpoint on this machine: answers what it is told to, and remembers what it was told."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.calls: list[Call] = []
        self.origin = ""

    def respond(self, call: Call) -> Answer:
        self.calls.append(call)
        return self.answers.pop(0) if self.answers else Answer()

    @property
    def url(self) -> str:
        return f"{self.origin}/hook?of=me"

    def of(self, job_id: str, event: str = "") -> list[Call]:
        """Give the calls about a job, or about one kind of event."""
        start = f"msg_{job_id}_{event}"
        return [call for call in self.calls if call.headers["webhook-id"].startswith(start)]

    def waited(self, job_id: str, event: str = "completed", *, times: int = 1) -> list[Call]:
        """Wait for calls about a job."""
        return until(
            lambda: found if len(found := self.of(job_id, event)) >= times else None, what=f"{event} of {job_id}"
        )


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    with serving(one.respond) as one.origin:
        yield one


def predict(tenant: Tenant, url: str, events: list[str] | None = None, *, model: str = SCHNELL, **more: Any) -> str:
    body = {"input": {"prompt": "a quiet harbour", **SMALL}, "webhook": url, **more}
    if events is not None:
        body["webhook_events_filter"] = events
    answer = tenant.http.post(f"/v1/models/{model}/predictions", json=body)
    assert answer.status_code in {201, 202}, answer.text
    return str(answer.json()["id"])


def secret_of(tenant: Tenant) -> str:
    return str(tenant.http.get(SECRET).raise_for_status().json()["key"])


def verified(call: Call, secret: str) -> Any:
    """Check a signature by the library, and give the document."""
    return Webhook(secret).verify(call.body, dict(call.headers))


def test_the_end_is_told_signed_and_as_get_says(tenant: Tenant, receiver: Receiver, local: Local) -> None:
    job_id = predict(tenant, receiver.url, ["completed"])
    (call,) = receiver.waited(job_id)
    document = verified(call, secret_of(tenant))
    answer = tenant.http.get(f"/v1/predictions/{job_id}")
    assert document == answer.json()
    assert call.body == answer.content
    assert document["status"] == "succeeded"
    assert local.download(document["output"][0])
    assert (call.method, call.path, call.headers["content-type"]) == ("POST", "/hook?of=me", "application/json")
    local.end([job_id])
    assert [one.headers["webhook-id"] for one in receiver.calls] == [f"msg_{job_id}_completed"]


def test_replicates_own_client_verifies_it(tenant: Tenant, client: Client, receiver: Receiver, local: Local) -> None:
    job_id = predict(tenant, receiver.url, ["completed"])
    (call,) = receiver.waited(job_id)
    secret = client.webhooks.default.secret()
    Webhooks.validate(headers=dict(call.headers), body=call.body.decode(), secret=secret, tolerance=60)
    with local.tenant() as other, pytest.raises(WebhookVerificationError):
        verified(call, secret_of(other))


@pytest.mark.parametrize("fault", ["fail", "canceled"])
def test_every_end_is_told(tenant: Tenant, receiver: Receiver, replicate: Replicate, fault: str) -> None:
    replicate.misbehave({"on": "prediction", "kind": fault, "times": 1})
    job_id = predict(tenant, receiver.url)
    document = verified(receiver.waited(job_id)[0], secret_of(tenant))
    assert document["status"] == {"fail": "failed"}.get(fault, fault)
    assert document == tenant.read(job_id)


def test_the_short_interface_has_the_end_told_too(tenant: Tenant, receiver: Receiver, local: Local) -> None:
    job_id = tenant.generate(webhook=receiver.url)
    document = verified(receiver.waited(job_id)[0], secret_of(tenant))
    assert document == tenant.read(job_id)
    local.end([job_id])
    assert len(receiver.of(job_id)) == 1


def test_an_endpoint_that_was_down_is_told_once_it_is_up(tenant: Tenant, receiver: Receiver, local: Local) -> None:
    receiver.answers = [Answer(500)]
    job_id = predict(tenant, receiver.url, ["completed"])
    first, second = receiver.waited(job_id, times=2)
    for call in (first, second):
        assert verified(call, secret_of(tenant)) == tenant.read(job_id)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    local.heard(job_id, "completed")
    assert len(receiver.of(job_id)) == 2
    assert local.dead_letters()["afterimage-local-notify-dead-letters"] == 0


def test_a_redirect_to_a_private_address_is_not_followed(tenant: Tenant, receiver: Receiver, local: Local) -> None:
    private: list[Call] = []

    def respond(call: Call) -> Answer:
        private.append(call)
        return Answer()

    with serving(respond) as inside:
        receiver.answers = [Answer(307, headers={"Location": f"{inside}/admin"})] * 20
        job_id = predict(tenant, receiver.url, ["completed"])
        receiver.waited(job_id, times=2)
        assert local.waiting(local.stack.notify_queue_url) >= 1, "it is tried again"
    assert private == []


@pytest.mark.parametrize("url", ["http://10.0.0.1/hook", "https://127.0.0.1/hook", "https://user@example.com/hook"])
def test_a_webhook_that_could_not_be_called_is_refused_before_anything_is_paid(
    tenant: Tenant, replicate: Replicate, url: str
) -> None:
    creates = replicate.creates()
    answer = tenant.http.post(f"/v1/models/{SCHNELL}/predictions", json={"input": {"prompt": "a fox"}, "webhook": url})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert [one["field"] for one in answer.json()["invalid_fields"]] == ["webhook"]
    assert replicate.creates() == creates


def test_an_endpoint_that_is_gone_is_not_called_again(tenant: Tenant, receiver: Receiver, local: Local) -> None:
    receiver.answers = [Answer(410)]
    job_id = predict(tenant, receiver.url, ["completed"])
    receiver.waited(job_id)
    local.heard(job_id, "completed")
    assert len(receiver.of(job_id)) == 1


def told(replicate: Replicate, receiver: Receiver, ask: Callable[[], str], *steps: str) -> str:
    """Give a job of which all these steps have been told while it was held; it goes on then.

    Steps are told by best effort: where a machine is so busy that one of them is lost, it is another job's.
    """

    def is_told(job_id: str) -> bool:
        return all(len(receiver.of(job_id, step)) >= times for step, times in Counter(steps).items())

    for _ in range(6):
        replicate.hold(part=0.7)
        job_id = ask()
        with suppress(AssertionError):
            until(lambda job_id=job_id: is_told(job_id), seconds=20, what="the steps")  # type: ignore[misc]
            replicate.misbehave()
            return job_id
    raise AssertionError(f"nobody was told of {steps}")


def test_steps_are_told_to_those_who_ask(tenant: Tenant, receiver: Receiver, replicate: Replicate) -> None:
    job_id = told(replicate, receiver, lambda: predict(tenant, receiver.url, ALL), "start", "logs")
    secret = secret_of(tenant)
    for event in ("start", "logs", "completed"):
        document = verified(receiver.waited(job_id, event)[0], secret)
        assert document["id"] == job_id
        assert document["status"] == "succeeded" if event == "completed" else document["status"] != "failed"
    (prediction,) = replicate.predictions_of(job_id)
    assert {one["event"] for one in replicate.webhooks_of(job_id)} >= {"start", "logs", "output"}, prediction
    ids = [call.headers["webhook-id"] for call in receiver.of(job_id)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("wanted", [ALL, ["output"], ["start", "completed"]])
def test_an_output_that_grows_is_told_to_those_who_ask(
    tenant: Tenant, receiver: Receiver, replicate: Replicate, local: Local, wanted: list[str]
) -> None:
    def ask() -> str:
        return predict(tenant, receiver.url, wanted, model="simulated-user/text", input={"prompt": "a tale"})

    job_id = told(replicate, receiver, ask, *["output"] * 2 * wanted.count("output"))
    secret = secret_of(tenant)
    if "output" in wanted:
        document = verified(receiver.of(job_id, "output")[0], secret)
        assert (document["status"], document["output"]) == ("processing", None)  # half an output is never shown
    local.end([job_id])
    seen = {call.headers["webhook-id"].split("_")[2] for call in receiver.of(job_id)}
    assert ("output" in seen) == ("output" in wanted)
    sent = {one["event"] for one in replicate.webhooks_of(job_id)}
    assert ("output" in sent) == ("output" in wanted)


@pytest.mark.parametrize("wanted", [["start"], ["logs", "completed"], ["completed"]])
def test_steps_are_told_to_nobody_else(
    tenant: Tenant, receiver: Receiver, replicate: Replicate, local: Local, wanted: list[str]
) -> None:
    steps = [event for event in wanted if event != "completed"]
    job_id = told(replicate, receiver, lambda: predict(tenant, receiver.url, wanted), *steps)
    if "completed" in wanted:
        receiver.waited(job_id)
    local.end([job_id])
    until(lambda: local.waiting(local.stack.notify_queue_url) == 0, what="all messages to be gone")
    assert {call.headers["webhook-id"].split("_")[2] for call in receiver.of(job_id)} == set(wanted)
    assert "output" not in {one["event"] for one in replicate.webhooks_of(job_id)}


def test_a_training_is_told_like_a_prediction(
    tenant: Tenant, receiver: Receiver, replicate: Replicate, local: Local
) -> None:
    def ask() -> str:
        body = {
            "input": {"input_images": "https://example.com/fox.zip", "trigger_word": "FOXY"},
            "destination": f"simulated-user/hooked-{time.time_ns()}",
            "webhook": receiver.url,
            "webhook_events_filter": ["start", "completed"],
        }
        answer = tenant.http.post(TRAINER, json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    job_id = told(replicate, receiver, ask, "start")
    secret = secret_of(tenant)
    assert verified(receiver.of(job_id, "start")[0], secret)["id"] == job_id
    (call,) = receiver.waited(job_id)
    document = verified(call, secret)
    assert document["status"] == "succeeded", document["error"]
    assert document == tenant.http.get(f"/v1/trainings/{job_id}").json()
    local.end([job_id])


def test_the_operator_replaces_a_secret_and_both_sign_for_a_while(
    tenant: Tenant, receiver: Receiver, local: Local
) -> None:
    former = secret_of(tenant)
    command = ("-m", "infra.ops", "tenants", "rotate-webhook-secret", tenant.name, "--stack", "afterimage-local")
    run = subprocess.run(
        [sys.executable, *command],
        env={
            "PATH": os.environ["PATH"],
            "AWS_ENDPOINT_URL": local.stack.aws_endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        },
        check=True,
        capture_output=True,
        text=True,
    )
    new = run.stdout.strip()
    assert (secret_of(tenant), new != former) == (new, True)
    (call,) = receiver.waited(predict(tenant, receiver.url, ["completed"]))
    assert verified(call, former) == verified(call, new) == json.loads(call.body)
