"""Dead letters: seen without their contents, sent back to where they came from, and never lost on the way."""

import json
from typing import Any

import pytest

from shared.dead_letters import DeadLetters, depth, describe
from tests.support.submits import Died
from tests.support.world import ALICE, World

JOB = "01m0000000000000000000000z"
SECRET = "a fox in the snow"


def send(world: World, queue: str, body: Any, **options: Any) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    world.sqs.send_message(QueueUrl=world.physical[queue], MessageBody=text, **options)


def letters(world: World) -> DeadLetters:
    return DeadLetters(world.sqs, world.physical["DispatchDeadLetterQueue"], world.physical["DispatchQueue"])


@pytest.mark.parametrize(
    ("body", "what", "job_id"),
    [
        ({"job_id": JOB, "tenant": ALICE, "attempt": 2}, "dispatch: attempt 3", JOB),
        ({"job_id": JOB, "event": "completed", "at": None}, "notify: completed", JOB),
        ({"job_id": JOB, "event": SECRET, "at": 5}, "unknown", JOB),
        ({"job_id": JOB, "event": [SECRET]}, "unknown", JOB),
        ({"job_id": JOB, "prediction_id": "p1", "prediction": {"id": "p1", "logs": SECRET}}, "archive: store", JOB),
        ({"job_id": JOB, "prediction_id": "p1", "forgotten": True}, "archive: give it up", JOB),
        ({"job_id": JOB, "cancel": "p1"}, "archive: cancel with Replicate", JOB),
        ({"job_id": JOB}, "archive: write the manifest", JOB),
        ({"detail": {"object": {"key": f"jobs/{ALICE}/{JOB}/manifest.json"}}}, "notify: completed", JOB),
        ({"detail": {"object": {"key": f"uploads/{ALICE}/{SECRET}"}}}, "an object of no manifest", None),
        ({"requestContext": {"functionArn": "arn"}, "requestPayload": {"x": SECRET}}, "a run that failed", None),
        ({"job_id": SECRET}, "unknown", None),
        ({"job_id": {"a": SECRET}}, "unknown", None),
        ([SECRET], "unknown", None),
        (SECRET, "unreadable", None),
        ("[" * 200_000, "unreadable", None),
    ],
)
def test_a_message_is_described_in_our_own_words(body: Any, what: str, job_id: str | None) -> None:
    said = describe(body if isinstance(body, str) else json.dumps(body))
    assert said[0].startswith(what)
    assert said[1] == job_id
    assert SECRET not in repr(said)


def test_heads_are_seen_and_the_messages_stay(world: World) -> None:
    for n in range(13):
        send(world, "DispatchDeadLetterQueue", {"job_id": JOB, "tenant": ALICE, "attempt": n})
    found = letters(world).look(100)
    assert {one.what for one in found} == {f"dispatch: attempt {n + 1}" for n in range(13)}
    assert {(one.job_id, one.received) for one in found} == {(JOB, 1)}
    assert len({one.id for one in found}) == len(found) == 13
    assert len(letters(world).look(5)) == 5
    assert depth(world.sqs, world.physical["DispatchDeadLetterQueue"]).waiting == 13


def test_they_are_sent_again_so_many_at_most_as_they_were(world: World) -> None:
    bodies = [{"job_id": JOB, "tenant": ALICE, "attempt": n} for n in range(12)]
    for body in bodies:
        send(world, "DispatchDeadLetterQueue", body, MessageGroupId=ALICE)
    steps: list[None] = []
    assert letters(world).redrive(7, lambda: steps.append(None)) == len(steps) == 7
    assert depth(world.sqs, world.physical["DispatchDeadLetterQueue"]).waiting == 5
    assert letters(world).redrive(100) == 5
    sent = []
    while found := world.sqs.receive_message(
        QueueUrl=world.physical["DispatchQueue"], MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
    ).get("Messages"):
        sent += found
    assert sorted(json.loads(one["Body"])["attempt"] for one in sent) == list(range(12))
    # The tenant whose backlog it is: without it, the others would wait behind this one.
    assert {one["Attributes"]["MessageGroupId"] for one in sent} == {ALICE}
    assert letters(world).redrive(100) == 0


def test_one_that_is_interrupted_is_not_lost(world: World) -> None:
    def die(**_: Any) -> None:
        raise Died

    send(world, "DispatchDeadLetterQueue", {"job_id": JOB, "tenant": ALICE, "attempt": 0})
    events = world.sqs.meta.events
    events.register("before-call.sqs.DeleteMessage", die)
    try:
        with pytest.raises(Died):
            letters(world).redrive(100)
    finally:
        events.unregister("before-call.sqs.DeleteMessage", die)
    assert [order.job_id for order in world.dispatch_orders()] == [JOB]
    assert depth(world.sqs, world.physical["DispatchDeadLetterQueue"]).in_work == 1


def test_without_a_source_they_are_only_removed(world: World) -> None:
    send(world, "ReconcileDeadLetterQueue", {"requestContext": {"functionArn": "arn"}})
    assert DeadLetters(world.sqs, world.physical["ReconcileDeadLetterQueue"], None).redrive(100) == 1
    assert depth(world.sqs, world.physical["ReconcileDeadLetterQueue"]).waiting == 0
