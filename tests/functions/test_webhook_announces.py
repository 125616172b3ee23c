"""`webhook` has callers told of every step that they want to hear of, and never lets Replicate wait for that."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse

from shared.job import Job, Status
from shared.notify_queue import Notice, parse_notice
from shared.services import now
from shared.starting import EVENTS
from tests.support.parts import composed
from tests.support.replicate import prediction, training
from tests.support.world import World, adopted, job

ALL = ("start", "output", "logs", "completed")
URL = "https://example.com/hook"


def wanting(*events: str, **changes: Any) -> Job:
    return adopted("p1", webhook=URL, webhook_events=events, **changes)


def starting() -> dict[str, Any]:
    return prediction("p1", "starting")


def processing(**fields: Any) -> dict[str, Any]:
    return prediction("p1", "processing", started_at="2026-11-01T12:00:02.000Z", **fields)


LOGS = {"logs": " 50%|#####     | 2/4"}
PLAIN_LOGS = {"logs": "loading the model"}
OUTPUT = {"output": ["https://replicate.delivery/x/0.webp"]}


def told(world: World) -> list[Notice]:
    """Take what callers are to be told out of the queue."""
    found = [parse_notice(message["body"]) for message in world._receive("NotifyQueue")]
    assert None not in found
    return [one for one in found if one is not None]


def post(world: World, one: Job, document: Any) -> list[str]:
    """Post a webhook, and give the events that the caller is to be told of."""
    answer = world.webhook(one.id, document)
    assert answer.status == 200, answer.body
    notices = told(world)
    assert all(notice.job_id == one.id for notice in notices)
    assert all(notice.at is not None and abs(now() - notice.at) < 60_000 for notice in notices)
    return [notice.event for notice in notices]


@pytest.mark.parametrize(
    ("document", "wanted", "events"),
    [
        (starting(), ALL, ["start"]),
        (starting(), ("start",), ["start"]),
        (starting(), ("output", "logs", "completed"), []),
        (processing(), ALL, ["start"]),
        (processing(), ("logs", "completed"), []),
        (processing(**LOGS), ALL, ["logs"]),
        (processing(**LOGS), ("logs",), ["logs"]),
        (processing(**PLAIN_LOGS), ("logs",), ["logs"]),
        (processing(**LOGS), ("start", "output", "completed"), []),
        (processing(**OUTPUT), ALL, ["output"]),
        (processing(**OUTPUT, **LOGS), ALL, ["output"]),
        (processing(**OUTPUT, **LOGS), ("logs",), ["logs"]),
        (processing(**OUTPUT, **LOGS), ("output",), ["output"]),
        (processing(**OUTPUT, **LOGS), ("start", "completed"), []),
        (prediction("p1", "suspended"), ALL, []),
        (training("p1", "processing", **LOGS), ALL, ["logs"]),
    ],
)
def test_a_caller_hears_of_what_it_asked_for(
    world: World, document: Any, wanted: tuple[str, ...], events: list[str]
) -> None:
    assert post(world, world.put(wanting(*wanted)), document) == events


def test_nothing_is_sent_for_callers_who_gave_no_webhook(world: World) -> None:
    for document in (starting(), processing(), processing(**LOGS), processing(**OUTPUT)):
        assert post(world, world.put(adopted("p1")), document) == []


def test_each_step_is_told_in_its_turn(world: World) -> None:
    one = world.put(wanting(*ALL))
    documents = [
        starting(),
        processing(),
        processing(**LOGS),
        processing(logs="60%|######    | 3/5"),
        processing(**OUTPUT),
    ]
    assert [post(world, one, document) for document in documents] == [
        ["start"],
        ["start"],
        ["logs"],
        ["logs"],
        ["output"],
    ]


def test_a_webhook_that_is_faster_than_the_creates_answer_is_told_too(world: World) -> None:
    """The prediction is adopted by it, which takes another write, and gives no job."""
    for document, event in ((starting(), "start"), (processing(), "start"), (processing(**LOGS), "logs")):
        one = world.put(job(webhook=URL, webhook_events=ALL))
        own = {**document, "id": f"p-{one.id}"}
        assert post(world, one, own) == [event]
        assert world.read(one.id).prediction_id == own["id"]


def test_no_job_is_read_for_that(world: World) -> None:
    for document in (starting(), processing(), processing(**LOGS)):
        known, unknown = world.put(wanting(*ALL)), world.put(job(webhook=URL, webhook_events=ALL))
        with failing("dynamodb.GetItem") as failed, failing("dynamodb.BatchGetItem") as failed_too:
            assert post(world, known, document)
            assert post(world, unknown, {**document, "id": f"p-{unknown.id}"})
        assert (failed, failed_too) == ([], [])


def test_the_end_is_told_by_the_manifest_alone(world: World) -> None:
    one = world.put(wanting(*ALL))
    for status in ("succeeded", "failed", "canceled", "aborted"):
        assert post(world, one, prediction("p1", status)) == []


def test_a_stray_and_a_job_that_is_not_there_are_told_to_nobody(world: World) -> None:
    one = world.put(wanting(*ALL))
    assert post(world, one, {**processing(**LOGS), "id": "p2"}) == []
    assert post(world, wanting(*ALL), processing(**LOGS)) == []


@contextmanager
def failing(operation: str) -> Iterator[list[str]]:
    """Let every call of this operation fail, of all clients that are made meanwhile; gives those that did."""
    failed: list[str] = []

    def fail(**_: Any) -> Any:
        failed.append(operation)
        return AWSResponse("", 403, {}, None), {"Error": {"Code": "AccessDenied", "Message": "no"}}  # type: ignore[arg-type]

    session = boto3.DEFAULT_SESSION
    assert session is not None
    name = f"before-call.{operation}"
    session.events.register_first(name, fail)
    try:
        yield failed
    finally:
        session.events.unregister(name, fail)


@pytest.mark.parametrize("is_adopted", [True, False])
def test_what_fails_there_is_only_logged(world: World, logged: list[str], *, is_adopted: bool) -> None:
    one = world.put(wanting(*ALL) if is_adopted else job(webhook=URL, webhook_events=ALL))
    with failing("sqs.SendMessage") as failed:
        assert post(world, one, starting()) == []
    assert failed
    assert any("announce_failed" in line for line in logged)
    assert world.read(one.id).prediction_id == "p1"


def test_reconcile_tells_nobody(world: World) -> None:
    """It asks Replicate itself; what it finds is no event of Replicate's."""
    one = world.put(wanting(*ALL))
    with composed(world) as parts:
        parts.reports().take(one.id, processing(**LOGS))
    assert told(world) == []
    assert world.read(one.id).status is Status.PROCESSING


@pytest.mark.parametrize("wanted", [(), ("completed",), ("start", "logs"), ("output",), ALL])
def test_replicate_is_asked_for_outputs_only_where_the_caller_wants_to_hear_of_them(
    world: World, wanted: tuple[str, ...]
) -> None:
    with composed(world) as parts:
        one = parts.admitted(webhook=URL if wanted else None, webhook_events=wanted, claimed_at=world.clock())
        parts.starter().start(one)
        (created,) = parts.replicate.created
    expected = {*EVENTS, "output"} if "output" in wanted else set(EVENTS)
    assert set(created["webhook_events_filter"]) == expected
    assert json.dumps(created).count(URL) == 0
