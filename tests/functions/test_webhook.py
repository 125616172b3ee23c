"""`webhook`: only Replicate is heard, in whatever order, however often, and always with a 2xx for what it signed."""

import time
from dataclasses import replace
from typing import Any

import pytest

from shared.archive_queue import parse_order
from shared.job import Job, Kind, Millis, Reason, Status
from shared.prediction import parse_prediction
from shared.signatures import sign_callback
from tests.support.problems import check_problem
from tests.support.replicate import prediction, training
from tests.support.world import SECRETS, World, adopted, job, signed_headers

STARTED_AT = Millis(1_793_534_402_000)


def processing(logs: str = "", **fields: Any) -> dict[str, Any]:
    return prediction("p1", "processing", logs=logs, started_at="2026-11-01T12:00:02.000Z", **fields)


def done(status: str = "succeeded", **fields: Any) -> dict[str, Any]:
    return prediction("p1", status, **{"output": ["data:image/png;base64,AAAA"], **fields})


# Who is not heard


UNSIGNED = (
    {"webhook-signature": ""},
    {"webhook-signature": "v1,AAAA"},
    {"webhook-signature": "é"},
    {"webhook-id": ""},
    {"webhook-id": "msg_2"},
    {"webhook-timestamp": ""},
    {"webhook-timestamp": "soon"},
    {"webhook-timestamp": "0"},
)


@pytest.mark.parametrize("document", [done(), processing()], ids=["completed", "processing"])
def test_a_webhook_that_is_not_rightly_signed_changes_nothing(world: World, document: Any) -> None:
    one = world.put(adopted("p1"))
    for headers in UNSIGNED:
        refusal = world.webhook(one.id, document, headers=headers)
        check_problem(refusal, 401, "unauthorized", instance=f"/webhooks/replicate/{one.id}")
    assert world.read(one.id) == one
    assert world.orders() == []


def test_an_unsigned_webhook_changes_nothing(world: World) -> None:
    one = world.put(adopted("p1"))
    k = sign_callback(SECRETS["callback-key"], one.id, 1)
    path = f"/webhooks/replicate/{one.id}"
    check_problem(world.request("POST", f"{path}?attempt=1&k={k}", done()), 401, "unauthorized", instance=path)
    assert world.read(one.id) == one
    assert world.orders() == []


@pytest.mark.parametrize("ago", [301, 3_600, -600, -3_600])
def test_an_old_and_a_future_webhook_change_nothing(world: World, ago: int) -> None:
    one = world.put(adopted("p1"))
    assert world.webhook(one.id, done(), at=time.time() - ago).status == 401
    assert world.read(one.id) == one
    assert world.orders() == []


def test_a_webhook_signed_with_another_secret_changes_nothing(world: World) -> None:
    one = world.put(adopted("p1"))
    assert world.webhook(one.id, done(), secret="whsec_AAAAAAAAAAAAAAAAAAAAAAAA").status == 401
    assert world.orders() == []


def test_a_webhook_posted_to_another_jobs_url_changes_nothing(world: World) -> None:
    one, other = world.put(adopted("p1")), world.put(job())
    assert world.webhook(other.id, done(), signed_for=one.id).status == 401
    assert world.read(other.id) == other
    assert world.orders() == []


FOREIGN_QUERIES = (
    "",
    "attempt=1",
    "k={k}",
    "attempt=2&k={k}",
    "attempt=&k={k}",
    "attempt=1&k=",
    "attempt=1&k={k}x",
    "attempt=+1&k={k}",
    "attempt=1.0&k={k}",
    "attempt=\u0661&k={k}",
    "attempt=1&attempt=1&k={k}",
    "attempt=9999999999999999999999&k={k}",
    "attempt=1&k=%C3%A9",
    "attempt=-1&k={k}",
)


def test_a_webhook_to_a_url_that_we_did_not_make_changes_nothing(world: World) -> None:
    one = world.put(adopted("p1"))
    body = b'{"id": "p1", "status": "succeeded"}'
    for query in FOREIGN_QUERIES:
        url = f"/webhooks/replicate/{one.id}?" + query.format(k=sign_callback(SECRETS["callback-key"], one.id, 1))
        assert world.request("POST", url, body, headers=signed_headers(body)).status == 401, query
    assert world.orders() == []


def test_an_api_key_opens_no_door_here(world: World) -> None:
    one = world.put(adopted("p1"))
    assert world.request("POST", f"/webhooks/replicate/{one.id}", done(), key=world.keys["alice"]).status == 401


# What is heard


def answered(world: World, one: Job, document: Any, **options: Any) -> str:
    response = world.webhook(one.id, document, **options)
    assert response.status == 200, response.body
    received: str = response.json["received"]
    return received


def test_the_natural_order_moves_the_job_to_its_end(world: World) -> None:
    one = world.put(adopted("p1"))
    answered(world, one, prediction("p1", "starting"))
    assert world.read(one.id).status is Status.STARTING
    answered(world, one, processing())
    moved = world.read(one.id)
    assert (moved.status, moved.started_at) == (Status.PROCESSING, STARTED_AT)
    answered(world, one, processing(" 43%|████▎     | 12/28 [00:01<00:01, 10.4it/s]"))
    assert (world.read(one.id).percent, "43%" in (world.read(one.id).logs or "")) == (43, True)
    assert world.orders() == []
    answered(world, one, done())
    (order,) = world.orders()
    assert (order["job_id"], order["prediction_id"]) == (one.id, "p1")
    assert order["prediction"]["output"] == ["data:image/png;base64,AAAA"]
    assert world.read(one.id).status is Status.PROCESSING, "only archive ends a job"


def test_no_webhook_postpones_the_moment_at_which_a_job_is_looked_after(world: World) -> None:
    one = world.put(adopted("p1", due_at=1))
    answered(world, one, processing())
    answered(world, one, processing("50%|"))
    assert world.read(one.id).due_at == 1


def test_an_identical_webhook_changes_nothing_the_second_time(world: World) -> None:
    one = world.put(adopted("p1"))
    for document in (processing(), processing("50%|")):
        answered(world, one, document)
        before = world.everything()
        assert answered(world, one, document) in set(Reason)
        assert world.everything() == before


def test_progress_does_not_go_back(world: World) -> None:
    one = world.put(adopted("p1"))
    answered(world, one, processing("80%|"))
    assert answered(world, one, processing("30%|")) == Reason.LATE
    assert world.read(one.id).percent == 80


def test_completed_is_passed_on_even_before_anything_else_was_heard(world: World) -> None:
    one = world.put(job())
    assert answered(world, one, done()) == "completed"
    assert [order["job_id"] for order in world.orders()] == [one.id]


@pytest.mark.parametrize("status", [Status.STORING, Status.SUCCEEDED, Status.FAILED, Status.CANCELED])
@pytest.mark.parametrize("document", [prediction("p1", "starting"), processing(), processing("99%|")])
def test_a_late_webhook_does_not_reopen_a_job(world: World, status: Status, document: Any) -> None:
    one = world.put(adopted("p1", status=status, hold=None))
    assert answered(world, one, document) in set(Reason)
    assert world.read(one.id) == one
    assert world.orders() == []


@pytest.mark.parametrize("status", ["succeeded", "failed", "canceled", "aborted"])
def test_every_end_goes_to_archive(world: World, status: str) -> None:
    one = world.put(adopted("p1"))
    assert answered(world, one, done(status)) == "completed"
    assert world.orders()[0]["prediction"]["status"] == status


def test_a_completed_webhook_that_is_too_large_for_the_queue_sends_only_its_id(world: World) -> None:
    one = world.put(adopted("p1"))
    assert answered(world, one, done(logs="é" * 700_000)) == "completed"
    assert world.orders() == [{"job_id": one.id, "prediction_id": "p1"}]


@pytest.mark.parametrize("document", [prediction("p1", "starting"), processing(), processing("10%|")])
def test_a_webhook_gives_a_job_its_prediction_where_the_answer_to_the_create_was_lost(
    world: World, document: Any
) -> None:
    one = world.put(job(unclear_at=1))
    answered(world, one, document)
    found = world.read(one.id)
    assert found.prediction_id == "p1"
    expected = Status.STARTING if document["status"] == "starting" else Status.PROCESSING
    assert (found.status, found.unclear_at) == (expected, None)


def test_an_unknown_status_is_written_down_and_changes_nothing_else(world: World) -> None:
    one = world.put(adopted("p1", status=Status.PROCESSING))
    answered(world, one, prediction("p1", "paused"))
    found = world.read(one.id)
    assert (found.status, found.upstream_status) == (Status.PROCESSING, "paused")
    answered(world, one, processing("50%|"))
    assert world.read(one.id).percent == 50


def test_a_webhook_of_a_stray_prediction_changes_nothing_about_the_job(world: World) -> None:
    one = world.put(adopted("p2"))
    for document in (prediction("p1", "starting"), processing(), processing("50%|"), prediction("p1", "paused")):
        assert answered(world, one, document) == Reason.STRAY
        assert world.read(one.id) == one


def test_a_prediction_of_one_job_is_not_adopted_by_another(world: World) -> None:
    one, other = world.put(job()), world.put(job())
    answered(world, one, processing())
    assert answered(world, other, processing()) == Reason.STRAY
    assert world.read(other.id) == other


@pytest.mark.parametrize("document", [prediction("p1", "starting"), processing(), processing("1%|")])
def test_a_webhook_for_a_job_that_does_not_exist_is_acknowledged(world: World, document: Any) -> None:
    before = world.everything()
    assert answered(world, job(), document) == Reason.MISSING
    assert world.everything() == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"5",
        b"{}",
        b'{"id": "p1"}',
        b'{"status": "succeeded"}',
        b'{"id": 5, "status": "succeeded"}',
        b'{"id": "p1", "status": null}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"id": "p1", "status": "processing", "started_at": "0001-01-01T00:00:00+23:59"}',
        b'{"id": "p1", "status": "processing", "started_at": 1e999, "logs": 5}',
        b'{"id": "p1", "status": "processing", "metrics": NaN, "logs": "\\ud800 50%|"}',
        b'{"id": "p1", "status": "pau\\ud800sed"}',
        b'{"id": "p\\ud8001", "status": "processing"}',
        b'{"id": "' + b"p" * 5_000 + b'", "status": "processing"}',
    ],
)
def test_a_signed_body_of_any_shape_is_acknowledged(world: World, body: bytes) -> None:
    one = world.put(adopted("p1"))
    answered(world, one, body)
    assert world.read(one.id).prediction_id == "p1"
    assert world.read(one.id).status in {Status.STARTING, Status.PROCESSING}


def test_a_completed_body_with_half_a_character_is_passed_on(world: World) -> None:
    one = world.put(adopted("p1"))
    body = b'{"id": "p1", "status": "succeeded", "output": [], "logs": "\\ud83d"}'
    assert answered(world, one, body) == "completed"
    assert [order["prediction_id"] for order in world.orders()] == ["p1"]


@pytest.mark.parametrize("levels", [200, 5_000])
def test_a_completed_body_of_any_depth_is_passed_on(world: World, levels: int) -> None:
    one = world.put(adopted("p1"))
    body = b'{"id": "p1", "status": "succeeded", "output": %s}' % (b"[" * levels + b"]" * levels)
    assert answered(world, one, body) == "completed"
    assert [order["prediction_id"] for order in world.orders()] == ["p1"]


def test_an_output_that_is_too_deep_for_a_message_is_left_to_be_asked_for(world: World) -> None:
    deep: Any = None
    for _ in range(20_000):
        deep = [deep]
    world.archive_queue.send_completed("job", {"id": "p1", "status": "succeeded", "output": deep})
    assert world.orders() == [{"job_id": "job", "prediction_id": "p1"}]


def test_a_training_is_heard_like_a_prediction(world: World) -> None:
    one = world.put(job(kind=Kind.TRAINING))
    logs = "caching latents: 100%|##########| 12/12 [00:04<00:00]\n"
    answered(world, one, training("p1", "processing", logs=logs))
    assert (world.read(one.id).status, world.read(one.id).percent) == (Status.PROCESSING, None)
    answered(world, one, training("p1", "processing", logs=f"{logs}  43%|####      | 430/1000 [02:13<02:57]"))
    assert (world.read(one.id).prediction_id, world.read(one.id).percent) == ("p1", 43)
    answered(world, one, training("p1", "succeeded", output={"version": "acme/fox:1", "weights": None}))
    assert [order["prediction"]["output"]["version"] for order in world.orders()] == ["acme/fox:1"]


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/octet-stream", ""])
def test_the_body_is_verified_as_it_came(world: World, content_type: str) -> None:
    one = world.put(adopted("p1"))
    body = b' {"id":"p1",\r\n"status": "processing", "logs": "\xc3\xa9 \xf0\x9f\xa6\x8a"} '
    answered(world, one, body, headers={"content-type": content_type})
    assert world.read(one.id).status is Status.PROCESSING


def test_any_attempt_of_ours_may_be_heard(world: World) -> None:
    one = world.put(job(attempt=3))
    answered(world, one, processing(), attempt=2)
    assert world.read(one.id).prediction_id == "p1"


def test_nothing_of_a_webhook_is_logged(world: World, logged: list[str]) -> None:
    one = world.put(adopted("p1"))
    answered(world, one, processing("a secret fox 50%|"))
    answered(world, one, prediction("p1", "paused", logs="a secret fox"))
    world.webhook(one.id, {"secret": "fox"}, at=0)
    everything = "".join(logged)
    assert "fox" not in everything
    assert "whsec" not in everything


# Found by review


@pytest.mark.parametrize("character", ["\uffff", "\ufffe", "\x01", "\U0001f98a"])
def test_a_result_may_hold_characters_that_sqs_refuses(world: World, character: str) -> None:
    one = world.put(adopted())
    document = prediction("p1", "succeeded", logs=f"a {character} fox", output=[])
    assert world.webhook(one.id, document).status == 200
    ((message,),) = [world._receive()]
    assert message["body"].isascii()
    assert message["body"].isprintable()
    order = parse_order(message["body"]).prediction
    assert order == replace(parse_prediction(document), input=None)


def test_no_message_holds_an_input(world: World) -> None:
    one = world.put(adopted())
    secret = {"prompt": "a fox", "api_key": "made-up-secret", "image": "https://b.s3.amazonaws.com/0?X-Amz-Signature=s"}
    document = prediction("p1", "succeeded", input=secret, webhook="https://x.example/?k=made-up-secret", output=[])
    assert world.webhook(one.id, document).status == 200
    ((message,),) = [world._receive()]
    assert "made-up-secret" not in message["body"]
    assert "X-Amz" not in message["body"]


def test_a_status_of_tomorrows_with_an_end_goes_to_archive(world: World) -> None:
    one = world.put(adopted())
    world.webhook(one.id, prediction("p1", "exploded", completed_at="2026-11-01T12:00:09.000Z"))
    assert [order["prediction_id"] for order in world.orders()] == ["p1"]


@pytest.mark.parametrize("status", [Status.PROCESSING, Status.STORING, Status.SUCCEEDED])
@pytest.mark.parametrize("webhook", ["starting", "processing"])
def test_a_stray_prediction_is_canceled_whatever_the_job_has_come_to(
    world: World, status: Status, webhook: str
) -> None:
    one = world.put(adopted(status=status))
    world.webhook(one.id, prediction("p2", webhook))
    assert world.orders() == [{"job_id": one.id, "cancel": "p2"}]
    assert world.read(one.id) == one


def test_a_prediction_of_a_job_that_ended_without_one_is_canceled(world: World) -> None:
    one = world.put(job(status=Status.FAILED, cost=3_000, hold=None))
    world.webhook(one.id, prediction("p1", "processing"))
    assert world.orders() == [{"job_id": one.id, "cancel": "p1"}]
