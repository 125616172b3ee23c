"""`dispatch`: a queued job is started once, at the pace that Replicate allows, and never after its time."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, override

import httpx
import pytest

from shared.dispatch_queue import DispatchOrder, order_for
from shared.errors import Code
from shared.job import CancelRequested, Hold, Job, Millis, PredictionId, Status
from shared.schedule import CLAIM_FRESH_S, CLAIM_S, POLL_S, QUEUED_S
from shared.services import now
from shared.signatures import sign_callback
from tests.support.cloudwatch import by_name
from tests.support.loopback import Answer
from tests.support.parts import Parts, SentMessages, composed
from tests.support.replicate import FakeReplicate, answer
from tests.support.world import ORIGIN, SECRETS, START, World

DAY = "committed_20261101"
THROTTLED = answer(429, {"detail": "Request was throttled. Your rate limit resets in ~30s."})
NO_CREDIT = answer(402, {"title": "Insufficient credit", "detail": "You have insufficient credit.", "status": 402})
UNAUTHENTICATED = answer(401, {"title": "Unauthenticated", "detail": "You did not pass a token", "status": 401})


@pytest.fixture
def parts(world: World) -> Iterator[Parts]:
    with composed(world) as parts:
        yield parts


def queued(parts: Parts, **changes: Any) -> Job:
    """Give an admitted job that waits to be started."""
    fields: dict[str, Any] = {"status": Status.QUEUED, "attempt": 0, "claimed_at": None, **changes}
    return parts.admitted(**{"due_at": START + 300_000, **fields})


# Starting


def test_a_queued_job_is_claimed_sent_and_adopted(world: World, parts: Parts) -> None:
    one = queued(parts)
    world.clock.go_on(3)
    parts.dispatcher().dispatch(order_for(one))
    started = world.read(one.id)
    assert (started.status, started.attempt, started.prediction_id) == (Status.STARTING, 1, "prediction1")
    assert (started.claimed_at, started.due_at) == (START + 3_000, START + 3_000 + POLL_S * 1000)
    (body,) = parts.replicate.created
    k = sign_callback(SECRETS["callback-key"], one.id, 1)
    assert body["webhook"] == f"{ORIGIN}/webhooks/replicate/{one.id}?attempt=1&k={k}"
    assert body["input"] == one.input
    assert parts.orders() == []


def test_a_deployment_that_replicate_cannot_reach_sends_no_webhook(world: World) -> None:
    with composed(world, has_webhooks=False, poll_s=2) as parts:
        one = queued(parts)
        parts.dispatcher().dispatch(order_for(one))
        assert "webhook" not in parts.replicate.created[0]
        assert world.read(one.id).due_at == START + 2_000


def test_a_message_that_is_delivered_twice_starts_its_job_once(world: World, parts: Parts) -> None:
    one = queued(parts)
    for _ in range(2):
        parts.dispatcher().dispatch(order_for(one))
    assert len(parts.replicate.created) == 1
    assert world.read(one.id).attempt == 1


def test_a_stale_message_is_dropped_and_its_permit_given_back(world: World) -> None:
    with composed(world, rate=100) as parts:
        one = queued(parts, attempt=2)
        dispatcher = parts.dispatcher()
        for _ in range(3):
            dispatcher.dispatch(replace(order_for(one), attempt=1))
        assert world.read(one.id) == one
        assert (parts.replicate.calls, parts.orders()) == ([], [])
        dispatcher.dispatch(order_for(one))
        assert world.read(one.id).attempt == 3
        item = world.dynamo.get(world.accounts_table, "upstream#replicate")
        assert item is not None
        assert item["used"] == {"N": "1"}, "what was not used was not spent"


@pytest.mark.parametrize("status", [Status.STARTING, Status.PROCESSING, Status.STORING, Status.SUCCEEDED])
def test_a_job_that_has_moved_on_is_left_alone(world: World, parts: Parts, status: Status) -> None:
    one = world.put(replace(queued(parts), status=status, attempt=1, prediction_id=PredictionId("p1")))
    parts.dispatcher().dispatch(DispatchOrder(one.id, one.tenant, 0))
    assert world.read(one.id) == one
    assert (parts.replicate.calls, parts.orders()) == ([], [])


def test_a_message_of_no_job_is_dropped(parts: Parts) -> None:
    parts.dispatcher().dispatch(DispatchOrder("0" * 26, "alice", 0))
    assert (parts.replicate.calls, parts.orders()) == ([], [])


def test_a_claim_that_has_become_stale_is_not_sent(world: World, parts: Parts) -> None:
    one = parts.admitted()
    world.clock.go_on(CLAIM_FRESH_S)
    assert parts.starter().start(one).prediction_id == "prediction1", "just in time"
    other = parts.admitted()
    world.clock.go_on(0.001)
    assert parts.starter().start(other) == other
    assert len(parts.replicate.created) == 1
    assert world.read(other.id) == other, "it is reconcile's now"


# Pace


def test_what_goes_beyond_the_pace_is_sent_again_with_a_delay(world: World) -> None:
    with composed(world, rate=2) as parts:
        jobs = [queued(parts) for _ in range(3)]
        world.clock.go_on(1)
        for one in jobs:
            parts.dispatcher().dispatch(order_for(one))
        assert len(parts.replicate.created) == 2
        assert world.read(jobs[2].id) == jobs[2], "not claimed"
        ((order, delay),) = parts.orders()
        assert order == order_for(jobs[2])
        assert 60 <= delay <= 62, "when the next minute begins, and a little spread"
        world.clock.go_on(delay)
        parts.dispatcher().dispatch(order)
        assert len(parts.replicate.created) == 3


def test_an_order_keeps_its_tenants_group_and_no_delay_is_too_long_for_sqs(parts: Parts) -> None:
    one = queued(parts)
    for delay in (0, 0.2, -3, 5_000):
        parts.starter().enqueue(one, delay_s=delay)
    assert [sent["DelaySeconds"] for sent in parts.messages.sent] == [0, 1, 0, 900]
    assert {sent["MessageGroupId"] for sent in parts.messages.sent} == {"alice"}
    assert {order for order, _ in parts.orders()} == {order_for(one)}


class PartlyDeaf(SentMessages):
    """SQS that takes some of the messages of a batch only."""

    @override
    def send_message_batch(self, **parameters: Any) -> Mapping[str, Any]:
        taken = [entry for entry in parameters["Entries"] if entry["Id"] != "3"]
        super().send_message_batch(**{**parameters, "Entries": taken})
        return {"Failed": [{"Id": "3", "SenderFault": False, "Code": "InternalError"}]}


def test_many_jobs_are_ordered_ten_at_a_time_without_delay(parts: Parts) -> None:
    jobs = [queued(parts) for _ in range(23)]
    parts.starter().enqueue_all(jobs)
    assert [len(one["Entries"]) for one in parts.messages.batches] == [10, 10, 3]
    for one in parts.messages.batches:
        assert [entry["Id"] for entry in one["Entries"]] == [str(n) for n in range(len(one["Entries"]))]
    assert {sent["MessageGroupId"] for sent in parts.messages.sent} == {"alice"}
    assert parts.orders() == [(order_for(one), 0) for one in jobs]


def test_what_the_queue_does_not_take_is_left_to_the_due_index(world: World, parts: Parts, logged: list[str]) -> None:
    parts.messages = PartlyDeaf()
    jobs = [queued(parts) for _ in range(14)]
    parts.starter().enqueue_all(jobs)
    ordered = [order.job_id for order, _ in parts.orders()]
    assert ordered == [one.id for n, one in enumerate(jobs) if n not in {3, 13}]
    assert sum("dispatch_not_sent" in line for line in logged) == 2
    assert {jobs[3].id, jobs[13].id} <= set(parts.in_due_index(at=Millis(START + 300_000)))
    assert world.read(jobs[3].id) == jobs[3]


# What Replicate does not take


@pytest.mark.parametrize(
    ("not_taken", "wait"),
    [
        (THROTTLED, 30),
        (answer(429, {"detail": "slow down"}, {"retry-after": "7"}), 7),
        (answer(429, {"detail": "slow down"}), 10),
        (NO_CREDIT, 60),
        (UNAUTHENTICATED, 60),
        (httpx.ConnectError("no route"), 5),
        (httpx.ConnectTimeout("too long"), 5),
    ],
)
def test_what_replicate_did_not_take_goes_back_to_the_queue(
    world: World, parts: Parts, not_taken: Answer | Exception, wait: int
) -> None:
    one = queued(parts)
    parts.replicate.will(not_taken)
    parts.dispatcher().dispatch(order_for(one))
    returned = world.read(one.id)
    assert (returned.status, returned.attempt, returned.prediction_id) == (Status.QUEUED, 1, None)
    assert (returned.claimed_at, returned.unclear_at) == (None, None)
    assert returned.due_at == START + (wait + QUEUED_S) * 1000, "due a while after its message"
    assert parts.orders() == [(order_for(returned), wait)]
    assert world.account()["inflight"] == 1
    # Nobody else knocks in the meantime, in this process or in another.
    other = queued(parts)
    parts.dispatcher().dispatch(order_for(other))
    ((_, delay),) = parts.orders()
    assert wait <= delay <= wait + 3
    world.clock.go_on(wait)
    parts.dispatcher().dispatch(order_for(returned))
    assert world.read(one.id).prediction_id == "prediction1"
    assert parts.replicate.created[-1]["webhook"].partition("?")[2].startswith("attempt=2&k=")


@pytest.mark.parametrize(
    ("not_taken", "expected"),
    [
        (NO_CREDIT, ["UpstreamCreditExhausted"]),
        (UNAUTHENTICATED, ["UpstreamCredentialsRefused"]),
        (answer(403, {"detail": "no"}), ["UpstreamCredentialsRefused"]),
        (THROTTLED, []),
    ],
)
def test_what_only_the_operator_can_repair_is_counted(
    parts: Parts, logged: list[str], not_taken: Answer, expected: list[str]
) -> None:
    parts.replicate.will(not_taken)
    parts.dispatcher().dispatch(order_for(queued(parts)))
    assert by_name(logged) == {name: [1] for name in expected}


@pytest.mark.parametrize(
    ("unclear", "reason"),
    [(answer(500, {}), "5xx"), (httpx.ReadTimeout("late"), "timeout"), (httpx.RemoteProtocolError("cut"), "reset")],
)
def test_what_may_have_been_taken_is_not_sent_again_by_dispatch(
    world: World, parts: Parts, unclear: Answer | Exception, reason: str
) -> None:
    one = queued(parts)
    parts.replicate.will(unclear)
    parts.dispatcher().dispatch(order_for(one))
    stays = world.read(one.id)
    assert (stays.status, stays.unclear_at, stays.due_at) == (Status.STARTING, START, START + CLAIM_S * 1000), reason
    parts.dispatcher().dispatch(order_for(one))
    assert len(parts.replicate.created) == 1
    assert parts.orders() == []


def test_a_definite_no_ends_the_job_at_no_cost(world: World, parts: Parts) -> None:
    one = queued(parts)
    parts.replicate.will(answer(422, {"detail": "- input.prompt: is not nice", "status": 422}))
    parts.dispatcher().dispatch(order_for(one))
    ended = world.read(one.id)
    assert (ended.status, ended.cost) == (Status.FAILED, 0)
    assert ended.problem is not None
    assert ended.problem.code is Code.UPSTREAM_REJECTED
    assert (world.account()["inflight"], world.account()[DAY]) == (0, 0)
    assert world.orders() == [{"job_id": one.id}]


# What is not wanted any more


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"cancel_requested_at": START}, Status.CANCELED, None),
        ({"cancel_requested_at": START, "deadline_hit_at": START}, Status.CANCELED, Code.DEADLINE_EXCEEDED),
        ({"cancel_after_at": START}, Status.CANCELED, Code.DEADLINE_EXCEEDED),
        ({"created_at": START - 24 * 3_600_000}, Status.FAILED, Code.UPSTREAM_UNAVAILABLE),
    ],
)
def test_a_job_whose_time_is_over_ends_without_being_sent(
    world: World, parts: Parts, changes: dict[str, Any], status: Status, code: Code | None
) -> None:
    one = queued(parts, **{"hold": Hold("20261101", 3_000), **changes})
    parts.dispatcher().dispatch(order_for(one))
    assert parts.replicate.calls == []
    ended = world.read(one.id)
    assert (ended.status, ended.cost, ended.hold) == (status, 0, None)
    assert (ended.problem.code if ended.problem else None) is code
    assert (world.account()["inflight"], world.account()[DAY]) == (0, 0)
    assert world.orders() == [{"job_id": one.id}], "it gets its manifest"


@pytest.mark.parametrize(
    "changes", [{"cancel_after_at": START + 1}, {"created_at": Millis(START - 24 * 3_600_000 + 1)}]
)
def test_a_job_is_sent_until_its_time_is_over(world: World, parts: Parts, changes: dict[str, Any]) -> None:
    one = queued(parts, **changes)
    parts.dispatcher().dispatch(order_for(one))
    assert world.read(one.id).prediction_id == "prediction1"


@pytest.mark.parametrize(("left_ms", "told"), [(90_000, "90s"), (89_001, "90s"), (1_000, "5s"), (None, None)])
def test_replicate_is_told_of_the_callers_own_deadline(parts: Parts, left_ms: int | None, told: str | None) -> None:
    one = queued(parts, cancel_after_at=left_ms and Millis(START + left_ms))
    parts.dispatcher().dispatch(order_for(one))
    assert [call.headers.get("cancel-after") for call in parts.replicate.calls] == [told]


def test_a_job_that_waits_past_its_deadline_is_due_at_it(world: World, parts: Parts) -> None:
    one = queued(parts, cancel_after_at=START + 20_000)
    parts.replicate.will(THROTTLED)
    parts.dispatcher().dispatch(order_for(one))
    assert world.read(one.id).due_at == START + 20_000
    world.clock.go_on(30)
    parts.dispatcher().dispatch(parts.orders()[0][0])
    assert world.read(one.id).status is Status.CANCELED
    assert len(parts.replicate.created) == 1


def test_a_cancel_that_comes_during_the_create_reaches_replicate(world: World, parts: Parts) -> None:
    claimed = parts.admitted()
    world.jobs.record(claimed.id, CancelRequested(START, START))
    parts.starter().start(claimed)
    assert parts.replicate.cancels == ["prediction1"]
    assert world.read(claimed.id).prediction_id == "prediction1"
    (order,) = world.orders()
    assert (order["job_id"], order["prediction"]["status"]) == (claimed.id, "canceled")


def test_a_cancel_that_comes_during_a_create_that_is_not_taken_ends_the_job(world: World, parts: Parts) -> None:
    claimed = parts.admitted()
    world.jobs.record(claimed.id, CancelRequested(START, START))
    parts.replicate.will(THROTTLED)
    assert parts.starter().start(claimed).status is Status.CANCELED
    assert (world.account()["inflight"], world.account()[DAY]) == (0, 0)
    assert parts.orders() == []


def test_a_prediction_that_meets_a_job_with_another_or_without_is_canceled(world: World, parts: Parts) -> None:
    for status, prediction_id in ((Status.PROCESSING, "p9"), (Status.FAILED, None)):
        claimed = parts.admitted()
        world.put(replace(claimed, status=status, prediction_id=PredictionId(prediction_id) if prediction_id else None))
        parts.starter().start(claimed)
    assert parts.replicate.cancels == ["prediction1", "prediction2"]


def test_a_prediction_that_was_adopted_by_its_own_webhook_is_not_canceled(world: World, parts: Parts) -> None:
    claimed = parts.admitted()
    found = world.put(replace(claimed, status=Status.PROCESSING, prediction_id=PredictionId("prediction1")))
    assert parts.starter().start(claimed) == found
    assert parts.replicate.cancels == []


# The function


def deliver(world: World, *orders: dict[str, Any]) -> list[str]:
    records = [{"messageId": f"message-{n}", "body": json.dumps(order)} for n, order in enumerate(orders)]
    answer = world.call("DispatchFunction", {"Records": records})
    return [one["itemIdentifier"] for one in answer["batchItemFailures"]]


@pytest.mark.sockets
def test_the_function_starts_what_it_is_ordered_to_and_fails_only_what_is_none_of_ours(
    world: World, replicate: FakeReplicate
) -> None:
    parts = Parts(world)
    at = world.clock.at = now()
    one = queued(parts, created_at=Millis(at), hold=Hold("20261101", 3_000))
    order = {"job_id": one.id, "tenant": one.tenant, "attempt": 0}
    assert deliver(world, {"job": 1}, order, order) == ["message-0"]
    assert len(replicate.created) == 1
    assert world.read(one.id).prediction_id == "prediction1"
