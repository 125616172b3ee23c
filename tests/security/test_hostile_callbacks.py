"""Webhooks that hostile callers could ask for: what cannot be called is refused, and the rest leads to nobody inside.

What is called learns nothing but what its owner may read: no key, no token, no cookie is sent along.
"""

from collections.abc import Mapping
from typing import Any

import pytest

from shared.job import Job
from tests.functions.test_notify import ended, manifest_of
from tests.security.hostile import BY_ADDRESS, BY_FORM
from tests.security.outside import Network
from tests.support.problems import check_problem
from tests.support.replicate import FakeReplicate
from tests.support.world import ALICE, World

pytestmark = pytest.mark.sockets

HOST = "hooks.example.com"
MODEL = "black-forest-labs/flux-schnell"
TRAINER = "ostris/flux-dev-lora-trainer"
NO_TEXT = {"half a surrogate pair"}  # and so no JSON
OTHERS = {"a data URI": "data:,x", "an empty one": "", "a lone space": " "}


@pytest.mark.parametrize("name", [*BY_FORM, *OTHERS])
def test_a_webhook_that_cannot_be_called_is_refused_with_the_request(world: World, name: str) -> None:
    given = {**BY_FORM, **OTHERS}[name].replace("{host}", HOST)
    before = world.everything()
    body = {"prompt": "a fox", "model": MODEL, "webhook": given}
    answered = world.request("POST", "/generate", body, key=world.keys[ALICE])
    if name in NO_TEXT:
        check_problem(answered, 400, "malformed_json", instance="/generate")
    else:
        problem = check_problem(answered, 422, "invalid_input", instance="/generate", fields={"webhook"})
        assert not given.strip() or given not in problem["detail"]
    assert world.everything() == before


BODIES: Mapping[str, Mapping[str, Any]] = {
    "/v1/predictions": {"version": MODEL, "input": {"prompt": "a fox"}},
    f"/v1/models/{MODEL}/predictions": {"input": {"prompt": "a fox"}},
    f"/v1/models/{TRAINER}/versions/latest/trainings": {
        "destination": "acme/fox", "input": {"input_images": "https://example.com/x.zip", "trigger_word": "FOX"}
    },
    "/train": {"destination": "acme/fox", "images_zip_url": "https://example.com/x.zip", "trigger_word": "FOX"},
}  # fmt: skip


def remembered(world: World) -> dict[str, Any]:
    """Give everything that is stored but what Replicate says of its models, which is kept for a while."""
    return {key: value for key, value in world.everything().items() if "/catalog#" not in key}


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("name", ["webhook", "webhook_completed"])
def test_no_route_takes_a_webhook_that_leads_inside(
    world: World, replicate: FakeReplicate, path: str, name: str
) -> None:
    version = "d" * 64
    replicate.catalog |= {
        f"models/{TRAINER}": {"latest_version": {"id": version}},
        f"models/{TRAINER}/versions/{version}": {"id": version},
        "models/acme/fox": {"latest_version": None},
    }
    if name == "webhook_completed" and not path.startswith("/v1/"):
        name = "webhook"  # the short interface has no other
    before = remembered(world)
    body = {**BODIES[path], name: "https://169.254.169.254/latest/meta-data/"}
    answered = world.request("POST", path, body, key=world.keys[ALICE])
    check_problem(answered, 422, "invalid_input", instance=path, fields={name})
    assert remembered(world) == before
    assert replicate.calls == []


def test_a_webhook_that_is_no_text_is_refused(world: World) -> None:
    before = world.everything()
    for given in (5, True, [], {}, ["https://example.com/x"], {"url": "https://example.com/x"}):
        body = {"prompt": "a fox", "model": MODEL, "webhook": given}
        answered = world.request("POST", "/generate", body, key=world.keys[ALICE])
        check_problem(answered, 422, "invalid_input", instance="/generate", fields={"webhook"})
    assert world.everything() == before


def told(world: World) -> Job:
    """Give a job that has ended, and whose caller is to be told."""
    return world.put(ended(webhook=f"https://{HOST}/x"))


def tell(world: World, one: Job) -> bool:
    """Let `notify` hear of the job's manifest; says whether it is done with the message, which nobody gets again."""
    url = world.physical["NotifyQueue"]
    world.sqs.send_message(QueueUrl=url, MessageBody=manifest_of(one))
    (message,) = world.sqs.receive_message(QueueUrl=url)["Messages"]
    known = {"messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"], "body": message["Body"]}
    answer = world.call("NotifyFunction", {"Records": [{**known, "attributes": {"ApproximateReceiveCount": "1"}}]})
    world.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return answer == {"batchItemFailures": []}


@pytest.mark.parametrize("name", BY_ADDRESS)
def test_a_webhook_whose_host_leads_inside_is_never_called(
    world: World, logged: list[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(monkeypatch)
    network.resolves_to(BY_ADDRESS[name])
    one = told(world)
    before = world.everything()
    assert tell(world, one), "it is not tried again: an alarm for every such address would be the caller's to ring"
    assert (network.asked, network.connected) == ([HOST], [])
    assert world.everything() == before
    assert any("notify_forbidden" in line for line in logged)


def test_a_webhook_whose_host_changes_its_address_after_the_check_is_called_where_it_was_checked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(monkeypatch)
    network.resolves_to(("8.8.8.8",), ("127.0.0.1",))
    assert not tell(world, told(world)), "nobody answers there: it comes again"
    assert (network.asked, network.connected) == ([HOST], ["8.8.8.8"])
