"""`cancel`: whatever can be canceled is, whatever is paid for is kept, and both interfaces say which."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, override

import pytest

from shared.job import (
    ENDED,
    CancelRequested,
    Claimed,
    Event,
    Ignored,
    Job,
    Kind,
    Millis,
    PredictionId,
    Returned,
    Status,
    StoredFile,
)
from shared.job_store import JobStore
from tests.support.loopback import Answer
from tests.support.parts import Parts, composed
from tests.support.problems import check_problem
from tests.support.replicate import FakeReplicate, answer, prediction, training
from tests.support.world import ALICE, BOB, LIMITS, ORIGIN, START, Answered, World, job

V1 = "/v1/predictions"
SHORT = "/predictions"
BOTH = pytest.mark.parametrize("base", [V1, SHORT])
DAY = "committed_20261101"
FILE = StoredFile(0, "jobs/alice/x/0.webp", "image/webp", 12, "a" * 64, 48, 32)
sockets = pytest.mark.sockets


def cancel(world: World, one: Job, base: str = V1, *, tenant: str = ALICE) -> Answered:
    return world.request("POST", f"{base}/{one.id}/cancel", key=world.keys[tenant])


def admitted(world: World, **changes: Any) -> Job:
    one = job(**changes)
    world.ledger().admit(one, LIMITS)
    return one


def queued(world: World) -> Job:
    return admitted(world, status=Status.QUEUED, attempt=0, claimed_at=None)


def running(world: World, status: Status = Status.PROCESSING) -> Job:
    return admitted(world, status=status, prediction_id=PredictionId("p1"))


def ended(world: World, status: Status) -> Job:
    fields = {"completed_at": START, "cost": 0, "hold": None, "archived_at": START, "due_at": None}
    files = (FILE,) if status is Status.SUCCEEDED else ()
    return world.put(job(status=status, prediction_id=PredictionId("p1"), files=files, **fields))


# By state and interface


@sockets
@pytest.mark.parametrize(("base", "shown"), [(V1, 200), (SHORT, 200)])
def test_a_queued_job_is_canceled_at_once_and_gives_everything_back(
    world: World, replicate: FakeReplicate, base: str, shown: int
) -> None:
    one = queued(world)
    answered = cancel(world, one, base)
    assert (answered.status, answered.json["status"]) == (shown, "canceled")
    canceled = world.read(one.id)
    assert (canceled.status, canceled.cost, canceled.hold, canceled.problem) == (Status.CANCELED, 0, None, None)
    assert (world.account()["inflight"], world.account()[DAY]) == (0, 0)
    assert world.orders() == [{"job_id": one.id}], "it gets its manifest"
    assert replicate.calls == []


@sockets
@pytest.mark.parametrize(("base", "shown"), [(V1, 200), (SHORT, 202)])
@pytest.mark.parametrize("status", [Status.STARTING, Status.PROCESSING])
def test_a_running_prediction_is_canceled_with_replicate(
    world: World, replicate: FakeReplicate, base: str, shown: int, status: Status
) -> None:
    one = running(world, status)
    replicate.will(answer(200, prediction("p1", status)))
    answered = cancel(world, one, base)
    assert (answered.status, answered.json["status"]) == (shown, status)
    assert [(call.method, call.path) for call in replicate.calls] == [("POST", "/v1/predictions/p1/cancel")]
    found = world.read(one.id)
    assert found.cancel_requested_at is not None
    assert (found.due_at, found.deadline_hit_at) == (found.cancel_requested_at, None), "reconcile looks, too"
    assert (world.orders(), world.account()["inflight"]) == ([], 1)
    assert answered.headers["location"] == f"{ORIGIN}{base}/{one.id}"


@sockets
def test_a_prediction_that_has_ended_by_that_is_stored(world: World, replicate: FakeReplicate) -> None:
    one = running(world)
    replicate.will(answer(200, prediction("p1", "succeeded", output=[])))
    cancel(world, one)
    (order,) = world.orders()
    assert (order["job_id"], order["prediction"]["status"]) == (one.id, "succeeded")


@sockets
@pytest.mark.parametrize("unreachable", [Answer(500), answer(429, {}), answer(401, {}), Answer(cut=0)])
def test_while_replicate_cannot_be_reached_a_cancel_is_accepted_and_left_to_archive(
    world: World, replicate: FakeReplicate, unreachable: Answer
) -> None:
    one = running(world)
    replicate.will(unreachable)
    assert cancel(world, one, SHORT).status == 202
    assert world.orders() == [{"job_id": one.id, "cancel": "p1"}]


@sockets
def test_a_cancel_that_replicate_refuses_is_an_answer_all_the_same(world: World, replicate: FakeReplicate) -> None:
    one = running(world)
    replicate.will(answer(404, {"detail": "not found", "status": 404}))
    assert cancel(world, one).status == 200
    assert world.orders() == []


@sockets
@pytest.mark.parametrize(("base", "shown"), [(V1, 200), (SHORT, 202)])
def test_a_job_that_does_not_know_its_prediction_is_canceled_once_it_does(
    world: World, replicate: FakeReplicate, base: str, shown: int
) -> None:
    one = admitted(world)
    assert cancel(world, one, base).status == shown
    assert (world.read(one.id).status, replicate.calls, world.orders()) == (Status.STARTING, [], [])
    for _ in range(2):
        assert world.webhook(one.id, prediction("p1", "starting")).status == 200
        assert world.orders() == [{"job_id": one.id, "cancel": "p1"}]
    assert world.read(one.id).prediction_id == "p1"


@BOTH
def test_a_result_that_is_being_stored_is_kept(world: World, base: str) -> None:
    one = running(world, Status.STORING)
    answered = cancel(world, one, base)
    if base == SHORT:
        check_problem(answered, 409, "not_cancelable", instance=f"{base}/{one.id}/cancel")
    else:
        assert (answered.status, answered.json["status"]) == (200, "processing")
    assert world.read(one.id) == one
    assert world.orders() == []


@BOTH
@pytest.mark.parametrize("status", sorted(ENDED))
def test_after_the_end_nothing_changes(world: World, base: str, status: Status) -> None:
    one = ended(world, status)
    before = world.everything()
    answered = cancel(world, one, base)
    if base == SHORT:
        problem = check_problem(answered, 409, "not_cancelable", instance=f"{base}/{one.id}/cancel")
        assert status in problem["detail"]
    else:
        assert answered.status == 200
        assert answered.json == world.request("GET", f"{V1}/{one.id}", key=world.keys[ALICE]).json
    assert (world.everything(), world.orders()) == (before, [])


@sockets
@BOTH
def test_a_cancel_that_is_repeated_changes_nothing_and_asks_again(
    world: World, replicate: FakeReplicate, base: str
) -> None:
    one = running(world)
    replicate.will(*[answer(200, prediction("p1", "processing"))] * 2)
    first = cancel(world, one, base)
    before = world.everything()
    again = cancel(world, one, base)
    assert (again.status, again.json["status"]) == (first.status, first.json["status"])
    assert world.everything() == before
    assert len(replicate.calls) == 2, "the first may not have arrived"


@sockets
@pytest.mark.parametrize(("base", "shown"), [("/v1/trainings", 200), (SHORT, 202)])
def test_a_training_is_canceled_by_its_own_route(world: World, replicate: FakeReplicate, base: str, shown: int) -> None:
    one = admitted(world, kind=Kind.TRAINING, status=Status.PROCESSING, prediction_id=PredictionId("t1"))
    replicate.will(answer(200, training("t1", "processing")))
    assert cancel(world, one, base).status == shown
    assert [(call.method, call.path) for call in replicate.calls] == [("POST", "/v1/trainings/t1/cancel")]


@pytest.mark.parametrize(("base", "kind"), [(V1, Kind.TRAINING), ("/v1/trainings", Kind.PREDICTION)])
def test_the_other_route_does_not_know_it(world: World, base: str, kind: Kind) -> None:
    one = world.put(job(kind=kind))
    check_problem(cancel(world, one, base), 404, "not_found", instance=f"{base}/{one.id}/cancel")
    assert world.read(one.id) == one


@pytest.mark.parametrize("base", [V1, SHORT])
@pytest.mark.parametrize(
    ("joined", "told"), [(0, []), (2, ["This job is shared by 3 requests; it is canceled for all of them."])]
)
def test_who_cancels_for_others_too_is_told(world: World, base: str, joined: int, told: list[str]) -> None:
    one = world.put(replace(queued(world), joined=joined))
    document = cancel(world, one, base).json
    assert document.get("warnings", document.get("afterimage", {}).get("warnings", [])) == told


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED])
def test_a_cancel_that_comes_too_late_says_nothing_of_others(world: World, status: Status) -> None:
    one = world.put(replace(ended(world, status), joined=2))
    assert cancel(world, one).json["afterimage"]["warnings"] == []


# Whose it is


@BOTH
def test_another_tenants_job_looks_as_if_it_did_not_exist(world: World, base: str) -> None:
    one = running(world)
    theirs, nobodys = cancel(world, one, base, tenant=BOB), cancel(world, job(), base, tenant=BOB)
    check_problem(theirs, 404, "not_found", instance=f"{base}/{one.id}/cancel")
    assert nobodys.status == 404
    assert theirs.json["detail"].replace(one.id, "") == f"There is no prediction {''!r}."
    assert world.read(one.id) == one


@BOTH
def test_without_a_key_nothing_is_canceled(world: World, base: str) -> None:
    one = running(world)
    answered = world.request("POST", f"{base}/{one.id}/cancel")
    check_problem(answered, 401, "unauthorized", instance=f"{base}/{one.id}/cancel")
    assert world.read(one.id) == one


def test_a_deleted_job_and_what_is_no_id_are_not_found(world: World) -> None:
    one = world.put(replace(ended(world, Status.SUCCEEDED), deleted_at=START))
    assert cancel(world, one).status == 404
    assert world.request("POST", f"{V1}/nothing/cancel", key=world.keys[ALICE]).status == 404


# Races: what happens to the job right before a write of the cancel


@pytest.fixture
def parts(world: World) -> Iterator[Parts]:
    with composed(world) as parts:
        yield parts


class Meanwhile(JobStore):
    """A store where something else happens to the job before a cancel is requested."""

    def __init__(self, world: World, *events: Event) -> None:
        super().__init__(world.dynamo, world.jobs_table)
        self._events = events

    @override
    def record(self, job_id: str, event: Event) -> Job | Ignored:
        if isinstance(event, CancelRequested):
            for one in self._events:
                super().record(job_id, one)
        return super().record(job_id, event)


def test_a_cancel_that_meets_a_return_to_the_queue_ends_the_job(world: World, parts: Parts) -> None:
    one = admitted(world)
    canceler = parts.canceler(Meanwhile(world, Returned(1, Millis(START + 9))))
    canceled = canceler.cancel(one)
    assert (canceled.status, canceled.cost) == (Status.CANCELED, 0)
    assert canceled == world.read(one.id)
    assert (world.account()["inflight"], world.account()[DAY]) == (0, 0)


def test_a_cancel_that_meets_a_claim_reaches_the_prediction(world: World, parts: Parts) -> None:
    one = queued(world)
    claimed = world.jobs.record(one.id, Claimed(1, START, START))
    assert isinstance(claimed, Job)
    canceled = parts.canceler().cancel(one)
    assert (canceled.status, canceled.cancel_requested_at) == (Status.STARTING, START)
    parts.starter().start(claimed)
    assert parts.replicate.cancels == ["prediction1"]


def test_a_return_to_the_queue_that_meets_a_cancel_ends_the_job(world: World, parts: Parts) -> None:
    one = admitted(world)
    parts.canceler().cancel(one)
    assert parts.starter().send_back(one, wait_s=0).status is Status.CANCELED
    assert parts.orders() == []
    assert world.account()["inflight"] == 0


def test_a_cancel_that_meets_the_beginning_of_storing_keeps_the_result(world: World, parts: Parts) -> None:
    one = running(world)
    storing = world.put(replace(one, status=Status.STORING, lease="me", lease_until=START))
    assert parts.canceler().cancel(one) == storing
    assert parts.replicate.calls == []


def test_a_job_that_ends_while_it_is_canceled_is_a_conflict_only_where_it_was_not_canceled(
    world: World, parts: Parts
) -> None:
    one = running(world)
    over = world.put(replace(one, status=Status.SUCCEEDED, hold=None, cost=3_000, completed_at=START))
    assert parts.canceler().cancel(one) == over
    assert parts.replicate.calls == []
