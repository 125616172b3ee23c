"""`reconcile`: whatever has been silent too long is found again, once, and nothing is paid twice for it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, override

import httpx
import pytest

from shared import reconciling
from shared.dispatch_queue import order_for
from shared.errors import Code, Contended
from shared.job import Event, Hold, Ignored, Job, Kind, Makes, Millis, PredictionId, Reason, Status
from shared.job_store import JobStore, encode
from shared.manifest import iso
from shared.reconciling import MARGIN_S, SKEW_S, UNCLEAR_S
from shared.schedule import CLAIM_S, LEASE_S, MANIFEST_S, POLL_S, QUEUED_S, next_look
from shared.services import now
from tests.support.cloudwatch import by_name
from tests.support.loopback import Answer, Call
from tests.support.parts import Parts, PlayedAccount, composed
from tests.support.replicate import FakeReplicate, answer, prediction, training
from tests.support.world import ALICE, BOB, LIMITS, ORIGIN, START, Clock, World, job

DAY = "committed_20261101"
LATER_S = 7200
INPUT = {"prompt": "a fox", "seed": 7}
ENDS: dict[str, Any] = {"status": "succeeded", "completed_at": iso(START), "output": ["https://replicate.delivery/0"]}


@pytest.fixture
def parts(world: World) -> Iterator[Parts]:
    with composed(world) as parts:
        yield parts


def running(parts: Parts, prediction_id: str = "p1", **changes: Any) -> Job:
    """Give a job whose prediction is running, and is due now."""
    fields: dict[str, Any] = {"status": Status.PROCESSING, "prediction_id": PredictionId(prediction_id)}
    return parts.admitted(**{**fields, "due_at": START, **changes})


def unclear(parts: Parts, **changes: Any) -> Job:
    """Give a job whose create was not answered."""
    fields: dict[str, Any] = {"input": INPUT, "drawn_seed": 7, "unclear_at": START, "due_at": START + CLAIM_S * 1000}
    return parts.admitted(**{**fields, **changes})


def own_url(one: Job, origin: str = ORIGIN, k: str = "made-up") -> str:
    return f"{origin}/webhooks/replicate/{one.id}?attempt=1&k={k}"


# Silence


def test_a_silent_prediction_is_polled_and_its_end_passed_on(world: World, parts: Parts, logged: list[str]) -> None:
    one = running(parts)
    world.clock.go_on(600)
    parts.replicate.has("p1", **ENDS)
    assert parts.reconcile() == 1
    (order,) = world.orders()
    assert (order["job_id"], order["prediction_id"], order["prediction"]["status"]) == (one.id, "p1", "succeeded")
    assert by_name(logged) == {"RepairedByReconcile": [1], "MinutesToExpiry": [50]}
    due_at = world.read(one.id).due_at
    assert due_at is not None
    assert due_at > world.clock()


def test_a_silent_training_is_polled_as_a_training(world: World, parts: Parts) -> None:
    one = running(parts, **TRAINING)
    parts.replicate.will(answer(200, training("p1", "processing", logs=" 43%|####| 430/1000 [")))
    parts.reconcile()
    assert [call.path for call in parts.replicate.calls] == ["/v1/trainings/p1"]
    assert world.read(one.id).percent == 43


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"status": "processing", "started_at": iso(START)}, {"status": Status.PROCESSING, "started_at": START}),
        ({"status": "processing", "logs": " 40%|####"}, {"status": Status.PROCESSING, "percent": 40}),
        ({"status": "paused"}, {"upstream_status": "paused"}),
        ({"status": "starting"}, {}),
    ],
)
def test_what_replicate_says_goes_the_way_of_its_webhooks(
    world: World, parts: Parts, document: dict[str, Any], expected: dict[str, Any]
) -> None:
    one, other = running(parts, status=Status.STARTING), running(parts, "p2", status=Status.STARTING, due_at=START + 1)
    parts.replicate.has("p1", **document)
    parts.reconcile()
    parts.reports().take(other.id, prediction("p2", **document))
    polled, told = world.read(one.id), world.read(other.id)
    for name, value in expected.items():
        assert getattr(polled, name) == getattr(told, name) == value
    assert world.orders() == []


def test_a_status_of_tomorrows_that_has_ended_is_an_end(world: World, parts: Parts) -> None:
    running(parts)
    parts.replicate.has("p1", "exploded", completed_at=iso(START))
    parts.reconcile()
    assert [order["prediction"]["status"] for order in world.orders()] == ["exploded"]


def test_the_longer_nothing_is_heard_the_less_is_asked(world: World, parts: Parts) -> None:
    one = running(parts, deadline_s=None, due_at=START + POLL_S * 1000)
    parts.replicate.has("p1", "processing")
    waits = []
    for _ in range(9):
        before = parts.reconcile_when_due(one.id).due_at or 0
        waits.append((before - world.clock()) / 1000)
    assert waits[0] == POLL_S
    assert waits == sorted(waits)
    assert waits[-1] == 300, "and never so seldom that a result could expire"
    assert len(parts.replicate.polls) == 9


def test_without_webhooks_a_prediction_is_polled_every_two_seconds_at_first(world: World) -> None:
    with composed(world, has_webhooks=False, poll_s=2) as parts:
        one = running(parts)
        parts.replicate.has("p1", "processing")
        parts.reconcile()
        assert world.read(one.id).due_at == START + 2_000


def test_what_is_not_due_is_left_alone(world: World, parts: Parts) -> None:
    running(parts, due_at=START + 1)
    archived = running(parts, "p2", status=Status.SUCCEEDED, hold=Hold("20261101", 0))
    world.put(replace(archived, hold=None, archived_at=START, due_at=None, due_shard=None))
    before = world.everything()
    assert parts.reconcile() == 0
    assert (world.everything(), parts.replicate.calls) == (before, [])


def test_a_job_whose_holder_died_while_it_stored_is_asked_about_again(world: World, parts: Parts) -> None:
    one = running(parts, status=Status.STORING, lease="dead", lease_until=START)
    parts.replicate.has("p1", **ENDS)
    parts.reconcile()
    assert [order["prediction_id"] for order in world.orders()] == ["p1"]
    assert world.read(one.id).due_at == START + LEASE_S * 1000


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELED])
def test_an_end_without_a_manifest_gets_its_order(world: World, parts: Parts, status: Status) -> None:
    one = world.put(replace(running(parts), status=status, hold=None, completed_at=START, cost=0))
    assert parts.reconcile() == 1
    assert world.orders() == [{"job_id": one.id}]
    assert world.read(one.id).due_at == START + MANIFEST_S * 1000, "until the manifest exists"
    assert parts.replicate.calls == []


# Once


class Racing(JobStore):
    """A store where another run looks after each job right before this one does."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts.world.dynamo, parts.world.jobs_table)
        self._parts = parts
        self.met: list[Job | Ignored] = []

    @override
    def record(self, job_id: str, event: Event) -> Job | Ignored:
        if not self.met:
            self._parts.reconcile()
        self.met.append(super().record(job_id, event))
        return self.met[-1]


def test_of_two_runs_at_once_only_one_looks_after_a_job(world: World, parts: Parts) -> None:
    running(parts)
    parts.replicate.has("p1", **ENDS)
    racing = Racing(parts)
    assert parts.reconciler(racing).run(seconds=MARGIN_S + 20) == 0
    assert [one.reason for one in racing.met if isinstance(one, Ignored)] == [Reason.BUSY]
    assert parts.replicate.polls == ["p1"]
    assert len(world.orders()) == 1


def test_two_listings_of_two_runs_at_once_count_as_one(world: World, parts: Parts) -> None:
    one = unclear(parts)
    world.clock.go_on(CLAIM_S)
    parts.reconciler(Racing(parts)).run(seconds=MARGIN_S + 20)
    assert world.read(one.id).absences == 1


# Queued jobs


def queued(parts: Parts, **changes: Any) -> Job:
    fields: dict[str, Any] = {"status": Status.QUEUED, "attempt": 0, "claimed_at": None, "due_at": START}
    return parts.admitted(**{**fields, **changes})


def test_a_queued_job_whose_message_was_lost_gets_another(world: World, parts: Parts) -> None:
    one = queued(parts)
    assert parts.reconcile() == 1
    ((order, delay),) = parts.orders()
    assert (order, delay) == (order_for(one), 0)
    assert world.read(one.id).due_at == START + QUEUED_S * 1000
    assert parts.replicate.calls == [], "dispatch starts it, at its pace"
    parts.dispatcher().dispatch(order)
    assert world.read(one.id).prediction_id == "prediction1"


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"cancel_requested_at": START}, Status.CANCELED, None),
        ({"cancel_after_at": START}, Status.CANCELED, Code.DEADLINE_EXCEEDED),
        ({"created_at": START - 24 * 3_600_000}, Status.FAILED, Code.UPSTREAM_UNAVAILABLE),
    ],
)
def test_a_queued_job_whose_time_is_over_ends_unpaid(
    world: World, parts: Parts, changes: dict[str, Any], status: Status, code: Code | None
) -> None:
    one = queued(parts, hold=Hold("20261101", 3_000), **changes)
    parts.reconcile()
    ended = world.read(one.id)
    assert (ended.status, ended.cost) == (status, 0)
    assert (ended.problem.code if ended.problem else None) is code
    assert (world.account()["inflight"], world.account()[DAY]) == (0, 0)
    assert (parts.orders(), parts.replicate.calls) == ([], [])
    assert world.orders() == [{"job_id": one.id}]


# Deadlines


@pytest.mark.parametrize(
    ("changes", "at_s"),
    [({"deadline_s": 300}, 300), ({"cancel_after_at": START + 45_000}, 45), ({"cancel_after_at": START + 5_000}, 5)],
)
def test_a_prediction_that_runs_past_its_deadline_is_canceled_on_time(
    world: World, parts: Parts, changes: dict[str, Any], at_s: int
) -> None:
    one = running(parts, **changes)
    parts.replicate.has("p1", "processing")
    while (due_at := parts.reconcile_when_due(one.id).due_at or 0) < START + at_s * 1000:
        assert world.orders() == []
        assert due_at > world.clock()
    hit = parts.reconcile_when_due(one.id)
    assert world.clock() == START + at_s * 1000, "neither sooner nor later"
    assert (hit.deadline_hit_at, hit.cancel_requested_at) == (world.clock(), world.clock())
    assert world.orders() == [{"job_id": one.id, "cancel": "p1"}]


def test_a_prediction_that_ended_in_time_is_kept_though_it_is_found_late(world: World, parts: Parts) -> None:
    running(parts, deadline_s=300)
    world.clock.go_on(400)
    parts.replicate.has("p1", **ENDS)
    parts.reconcile()
    assert [order.get("prediction", {}).get("status") for order in world.orders()] == ["succeeded"]


def test_what_is_being_stored_has_no_deadline(world: World, parts: Parts) -> None:
    one = running(parts, status=Status.STORING, lease="me", lease_until=START, deadline_s=300)
    parts.replicate.has("p1", **ENDS)
    world.clock.go_on(LATER_S)
    parts.reconcile()
    assert world.read(one.id).deadline_hit_at is None


# Attempts without an answer


@pytest.mark.parametrize(
    "url", [own_url, lambda one: own_url(one, "https://old.example"), lambda one: own_url(one, k="of-an-older-key")]
)
def test_an_attempt_is_found_by_its_webhook(world: World, parts: Parts, url: Any) -> None:
    one = unclear(parts)
    world.clock.go_on(CLAIM_S)
    parts.replicate.has("p1", "processing", webhook=url(one), input={"prompt": "changed by Replicate"})
    parts.reconcile()
    assert world.read(one.id).prediction_id == "p1"
    assert world.read(one.id).status is Status.PROCESSING


def test_an_attempt_that_has_ended_is_found_and_stored(world: World, parts: Parts) -> None:
    one = unclear(parts)
    world.clock.go_on(CLAIM_S)
    parts.replicate.has("p1", webhook=own_url(one), **ENDS)
    parts.reconcile()
    assert [(order["job_id"], order["prediction_id"]) for order in world.orders()] == [(one.id, "p1")]


def test_where_webhooks_are_hidden_an_attempt_is_found_by_the_seed_we_drew(world: World, parts: Parts) -> None:
    one = unclear(parts)
    world.clock.go_on(CLAIM_S)
    # What Replicate calls the model may differ from what we were told, as with a deployment that has changed.
    parts.replicate.has("p1", input=INPUT, webhook=own_url(one), model="black-forest-labs/flux-dev")
    parts.replicate.has("p2", input={**INPUT, "seed": 8})
    parts.replicate.hides_webhooks = True
    parts.reconcile()
    assert world.read(one.id).prediction_id == "p1"


@dataclass(frozen=True)
class Doubt:
    """What is in the list, and the job's drawn seed: neither an identification, nor a proof of absence."""

    listed: int
    drawn_seed: int | None


@pytest.mark.parametrize("doubt", [Doubt(2, 7), Doubt(1, None)], ids=["two candidates", "the caller's own seed"])
def test_a_likeness_that_proves_nothing_is_neither_adopted_nor_sent_again(parts: Parts, doubt: Doubt) -> None:
    one = unclear(parts, drawn_seed=doubt.drawn_seed)
    for n in range(doubt.listed):
        parts.replicate.has(f"p{n}", input=INPUT)
    for _ in range(4):
        current = parts.reconcile_when_due(one.id)
    assert (current.status, current.prediction_id, current.absences) == (Status.STARTING, None, 0)
    assert (parts.replicate.created, parts.orders()) == ([], [])


def test_a_prediction_with_somebody_elses_webhook_is_not_the_jobs(world: World, parts: Parts) -> None:
    one = unclear(parts)
    other = job()
    world.clock.go_on(CLAIM_S)
    parts.replicate.has("p1", input=INPUT, webhook="https://other.example/hook")
    parts.replicate.has("p2", input=INPUT, webhook=own_url(other))
    parts.reconcile()
    assert (world.read(one.id).prediction_id, world.read(one.id).absences) == (None, 1)


def test_a_prediction_that_another_job_owns_is_not_adopted(world: World, parts: Parts) -> None:
    one = unclear(parts)
    item: Any = {"pk": {"S": "prediction#p1"}, "job_id": {"S": "another"}}
    world.dynamodb.put_item(TableName=world.jobs_table, Item=item)
    world.clock.go_on(CLAIM_S)
    parts.replicate.has("p1", webhook=own_url(one))
    parts.reconcile()
    assert world.read(one.id).prediction_id is None


def test_an_attempt_is_sent_again_after_two_listings_without_it(world: World, parts: Parts) -> None:
    one = unclear(parts)
    parts.replicate.has("p9", input={"prompt": "another"})
    first = parts.reconcile_when_due(one.id)
    assert (first.status, first.absences) == (Status.STARTING, 1)
    assert first.due_at == START + 2 * CLAIM_S * 1000
    assert parts.orders() == []
    second = parts.reconcile_when_due(one.id)
    assert (second.status, second.attempt, second.claimed_at) == (Status.QUEUED, 1, None)
    assert len(parts.replicate.lists) == 2
    ((order, delay),) = parts.orders()
    assert (order, delay) == (order_for(second), 0)
    assert parts.replicate.created == []
    parts.dispatcher().dispatch(order)
    again = world.read(one.id)
    assert (again.attempt, again.prediction_id, again.absences) == (2, "prediction1", 0)


def test_a_listing_is_asked_from_well_before_the_claim_and_only_after_the_create_has_timed_out(
    world: World, parts: Parts
) -> None:
    one = unclear(parts, due_at=START + 1_000)
    world.clock.go_on(CLAIM_S - 0.001)
    parts.reconcile()
    assert (parts.replicate.lists, world.read(one.id).absences) == ([], 0)
    parts.reconcile_when_due(one.id)
    (call,) = parts.replicate.lists
    since = httpx.URL(call.path).params["created_after"]
    assert since == iso(Millis(START - SKEW_S * 1000))


def test_one_listing_serves_all_jobs_of_a_run_that_it_can_prove_absent(world: World, parts: Parts) -> None:
    jobs = [unclear(parts, claimed_at=Millis(START + n), due_at=START + n) for n in range(3)]
    world.clock.go_on(CLAIM_S + 1)
    parts.reconcile()
    assert [world.read(one.id).absences for one in jobs] == [1, 1, 1]
    assert len(parts.replicate.lists) == 1


class SlowList(PlayedAccount):
    """Replicate, where ten seconds pass until the list is there."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    @override
    def respond(self, call: Call) -> Answer:
        self._clock.go_on(10)
        return super().respond(call)


def test_a_listing_from_before_a_create_timed_out_proves_nothing_about_it(world: World, parts: Parts) -> None:
    parts.replicate = SlowList(world.clock)
    early, late = unclear(parts), unclear(parts, claimed_at=Millis(START + 10_000), due_at=START + 70_000)
    world.clock.go_on(CLAIM_S)
    assert parts.reconcile() == 2, "the second became due while the first was looked up"
    assert [world.read(one.id).absences for one in (early, late)] == [1, 1]
    assert len(parts.replicate.lists) == 2, "the first listing is good enough for the first only"


TRAINING: dict[str, Any] = {
    "kind": Kind.TRAINING,
    "makes": Makes.MODEL,
    "model": "ostris/flux-dev-lora-trainer",
    "version": training()["version"],
    "destination": "acme/fox",
    "input": training()["input"],
    "drawn_seed": None,
}
SIGNED = {**training()["input"], "input_images": "https://bucket.s3.amazonaws.com/fox.zip?X-Amz-Signature=made-up"}


def listed(*documents: Any) -> Answer:
    return answer(200, {"previous": None, "next": None, "results": documents})


def test_trainings_and_predictions_are_looked_up_where_they_are_listed(world: World, parts: Parts) -> None:
    kinds: list[dict[str, Any]] = [TRAINING, {}, TRAINING]
    own = [
        unclear(parts, **kind, claimed_at=Millis(START + n), due_at=Millis(START + n)) for n, kind in enumerate(kinds)
    ]
    world.clock.go_on(CLAIM_S + 5)
    found = training("t1", "processing", webhook=own_url(own[0]))
    parts.replicate.will(listed(found), listed())
    parts.reconcile()
    assert [call.path.partition("?")[0] for call in parts.replicate.calls] == ["/v1/trainings", "/v1/predictions"]
    assert [world.read(one.id).prediction_id for one in own] == ["t1", None, None]
    assert [world.read(one.id).absences for one in own] == [0, 1, 1]


@pytest.mark.parametrize(
    ("altered", "changes", "is_absent"),
    [
        ((), {}, False),
        ((), {"input": SIGNED}, True),
        (("input_images",), {"input": SIGNED}, False),
        (("input_images",), {"input": {"trigger_word": "FOXY", "steps": 1000}}, False),
        (("input_images",), {"input": {**SIGNED, "steps": 999}}, True),
        (("input_images", "steps"), {"input": {**SIGNED, "steps": 999}}, False),
        ((), {"input": None}, True),
        ((), {"input": "text"}, True),
        ((), {"model": "somebody/trainer"}, False),
        ((), {"model": None}, False),
        ((), {"model": None, "version": None}, False),
        ((), {"model": None, "version": "f" * 64}, False),
        ((), {"webhook": "https://other.example/hook"}, True),
        ((), {"created_at": iso(Millis(START - SKEW_S * 1000 - 1))}, True),
        ((), {"created_at": iso(Millis(START - SKEW_S * 1000))}, False),
        ((), {"created_at": None}, False),
    ],
)
def test_only_what_cannot_be_the_training_proves_it_absent(
    world: World, parts: Parts, altered: tuple[str, ...], changes: dict[str, Any], *, is_absent: bool
) -> None:
    one = unclear(parts, **TRAINING, altered=altered)
    world.clock.go_on(CLAIM_S)
    parts.replicate.will(listed(training("t1", **changes)))
    parts.reconcile()
    found = world.read(one.id)
    assert (found.prediction_id, found.absences) == (None, 1 if is_absent else 0)


def test_a_seed_we_drew_identifies_what_is_sent_in_another_form_too(world: World, parts: Parts) -> None:
    image = {"image": "data:image/png;bytes=9;sha256=made-up"}
    one = unclear(parts, input={**INPUT, **image}, altered=("image", "hf_api_token"))
    world.clock.go_on(CLAIM_S)
    sent = {**INPUT, "image": "https://bucket.s3.amazonaws.com/0.png?X-Amz-Signature=made-up", "hf_api_token": "***"}
    parts.replicate.has("p1", input=sent)
    parts.replicate.has("p2", input={**sent, "seed": 8})
    parts.reconcile()
    assert world.read(one.id).prediction_id == "p1"


@pytest.mark.parametrize(
    "broken",
    [
        [answer(500, {})],
        [answer(429, {})],
        [answer(401, {})],
        [httpx.ReadTimeout("late")],
        [answer(200, {"results": "none"})],
        [answer(200, [])],
        [answer(200, {"results": [], "next": "https://api.replicate.com/v1/predictions?cursor=2"}), answer(503, {})],
        [answer(200, {"results": [], "next": "https://evil.example/v1/predictions?cursor=2"})],
    ],
)
def test_a_list_that_fails_proves_nothing(world: World, parts: Parts, broken: list[Answer | Exception]) -> None:
    one = unclear(parts)
    parts.replicate.will(*broken)
    current = parts.reconcile_when_due(one.id)
    assert (current.status, current.absences, current.prediction_id) == (Status.STARTING, 0, None)
    assert current.due_at is not None
    assert current.due_at > world.clock(), "it is tried again"


def test_a_list_that_does_not_end_proves_nothing(parts: Parts) -> None:
    one = unclear(parts)
    page = answer(200, {"results": [], "next": "https://api.replicate.com/v1/predictions?cursor=2"})
    parts.replicate.will(*[page] * 60)
    assert parts.reconcile_when_due(one.id).absences == 0
    assert len(parts.replicate.lists) == 60


def test_an_attempt_on_a_later_page_is_found(parts: Parts) -> None:
    one = unclear(parts)
    more = "https://api.replicate.com/v1/predictions?cursor=2"
    own = prediction("p1", "processing", webhook=own_url(one))
    parts.replicate.will(answer(200, {"results": [None, 5, {}], "next": more}), answer(200, {"results": [own]}))
    assert parts.reconcile_when_due(one.id).prediction_id == "p1"


def test_what_stays_unclear_for_an_hour_ends_and_counts_as_paid(world: World, parts: Parts) -> None:
    one = unclear(parts, drawn_seed=None)
    parts.replicate.has("p1", input=INPUT)
    world.clock.go_on(UNCLEAR_S - 400)
    while not (current := parts.reconcile_when_due(one.id)).ended:
        assert world.clock() < START + UNCLEAR_S * 1000
    assert (current.status, current.cost, current.hold) == (Status.FAILED, 3_000, None)
    assert current.problem is not None
    assert current.problem.code is Code.OUTCOME_UNKNOWN
    assert (world.account()["inflight"], world.account()[DAY]) == (0, 3_000)
    assert world.orders() == [{"job_id": one.id}]
    assert (parts.replicate.created, parts.orders()) == ([], [])


@pytest.mark.parametrize(
    ("hit", "code"), [({}, None), ({"deadline_hit_at": START}, Code.DEADLINE_EXCEEDED)], ids=["its owner", "a deadline"]
)
def test_an_absent_attempt_that_is_to_be_canceled_ends_unpaid(
    world: World, parts: Parts, hit: dict[str, Any], code: Code | None
) -> None:
    one = unclear(parts, cancel_requested_at=START, **hit)
    for _ in range(2):
        current = parts.reconcile_when_due(one.id)
    assert (current.status, current.cost) == (Status.CANCELED, 0)
    assert (current.problem.code if current.problem else None) is code
    assert (parts.orders(), world.account()[DAY]) == ([], 0)


def test_an_attempt_that_is_found_although_it_was_canceled_is_canceled_with_replicate(
    world: World, parts: Parts
) -> None:
    one = unclear(parts, cancel_requested_at=START)
    parts.replicate.has("p1", webhook=own_url(one))
    assert parts.reconcile_when_due(one.id).prediction_id == "p1"
    assert world.orders() == [{"job_id": one.id, "cancel": "p1"}]


# Predictions that Replicate does not know


@pytest.mark.parametrize("status", [400, 404, 409, 422])
def test_one_refused_poll_does_not_end_a_job(world: World, parts: Parts, status: int) -> None:
    one = running(parts, deadline_s=300)
    world.clock.go_on(900)
    parts.replicate.will(answer(status, {"detail": "no", "status": status}))
    parts.reconcile()
    assert world.read(one.id).status is Status.PROCESSING
    assert not [order for order in world.orders() if "cancel" not in order]


@pytest.mark.parametrize(("status", "forgotten"), [(404, True), (410, True), (400, False), (422, False)])
def test_a_prediction_unknown_an_hour_after_its_deadline_is_forgotten(
    world: World, parts: Parts, status: int, *, forgotten: bool
) -> None:
    one = running(parts, deadline_s=300, cancel_requested_at=START)
    no = answer(status, {"detail": "no", "status": status})
    world.clock.go_on(3600 + 299)
    parts.replicate.will(no)
    parts.reconcile()
    assert world.orders() == []
    parts.replicate.will(no)
    parts.reconcile_when_due(one.id)
    expected = {"job_id": one.id, "prediction_id": "p1", "forgotten": True}
    assert world.orders() == ([expected] if forgotten else [])


def test_a_forgotten_prediction_ends_failed_and_counts_as_paid(world: World, parts: Parts) -> None:
    one = running(parts)
    parts.world.archive_queue.send_forgotten(one.id, "p1")
    assert world.archive() == []
    ended = world.read(one.id)
    assert (ended.status, ended.cost) == (Status.FAILED, 3_000)
    assert ended.problem is not None
    assert ended.problem.code is Code.OUTCOME_UNKNOWN
    assert world.manifest(one)["problem"]["code"] == "outcome_unknown"
    assert (world.account()["inflight"], world.account()[DAY]) == (0, 3_000)


def set_watch(monkeypatch: pytest.MonkeyPatch, monotonic: Callable[[], float]) -> None:
    """Let the time that a run takes be counted in another way."""
    monkeypatch.setattr("shared.reconciling.time", SimpleNamespace(monotonic=monotonic))


# One job must not keep the others waiting


def test_a_job_that_cannot_be_read_does_not_keep_the_others_waiting(world: World, parts: Parts) -> None:
    for field, value in (("status", "of-a-newer-release"), ("problem", '{"code": "new", "detail": ""}')):
        strange = {**encode(job(due_at=START, due_shard="due#3")), field: {"S": value}}
        world.dynamodb.put_item(TableName=world.jobs_table, Item=strange)
    one = running(parts, due_shard="due#3")
    parts.replicate.has("p1", **ENDS)
    assert parts.reconcile() == 1
    assert [order["job_id"] for order in world.orders()] == [one.id]


class Stubborn(JobStore):
    """A store where nothing of one job can be saved."""

    def __init__(self, world: World, job_id: str, error: Exception) -> None:
        super().__init__(world.dynamo, world.jobs_table)
        self._job_id = job_id
        self._error = error

    @override
    def record(self, job_id: str, event: Event) -> Job | Ignored:
        if job_id == self._job_id:
            raise self._error
        return super().record(job_id, event)


@pytest.mark.parametrize("error", [Contended("x"), KeyError("bug")])
def test_a_job_that_cannot_be_saved_does_not_keep_the_others_waiting(
    world: World, parts: Parts, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = running(parts), running(parts, "p2", claimed_at=Millis(START + 1))
    parts.replicate.has("p2", **ENDS)
    ticks = iter(range(1_000))
    set_watch(monkeypatch, lambda: float(next(ticks)))
    parts.reconciler(Stubborn(world, bad.id, error)).run(seconds=MARGIN_S + 20)
    assert [order["job_id"] for order in world.orders()] == [good.id]


def test_the_jobs_of_all_tenants_and_shards_are_found(parts: Parts) -> None:
    for n in range(8):
        running(parts, f"p{n}", due_shard=f"due#{n}", tenant=BOB if n % 2 else ALICE)
        parts.replicate.has(f"p{n}", "processing")
    assert parts.reconcile() == 8
    assert sorted(parts.replicate.polls) == [f"p{n}" for n in range(8)]


def test_more_jobs_than_a_page_holds_are_looked_after_in_one_run(world: World, parts: Parts) -> None:
    count = reconciling.PAGE + 3
    for n in range(count):
        world.put(job(status=Status.FAILED, hold=None, cost=0, completed_at=START, due_at=START + n, due_shard="due#1"))
    world.clock.go_on(1)
    assert parts.reconcile() == count
    assert len(world.orders()) == count


def test_running_predictions_come_before_attempts_without_one(world: World, parts: Parts) -> None:
    unclear(parts, due_at=START)
    running(parts, "young", claimed_at=Millis(START + 5_000))
    running(parts, "old", claimed_at=START)
    world.clock.go_on(CLAIM_S)
    parts.reconcile()
    assert [call.path.partition("?")[0].rpartition("/")[2] for call in parts.replicate.calls] == [
        "old",
        "young",
        "predictions",
    ]


# In time


@pytest.mark.parametrize(
    "silence", [answer(500, {}), answer(429, {}), answer(402, {}), answer(401, {}), httpx.ReadTimeout("late")]
)
def test_a_run_gives_up_when_replicate_has_not_answered_three_times(
    world: World, parts: Parts, silence: Answer | Exception
) -> None:
    jobs = [running(parts, f"p{n}", claimed_at=Millis(START + n)) for n in range(5)]
    parts.replicate.will(*[silence] * 5)
    assert parts.reconcile() == 3
    assert parts.replicate.polls == ["p0", "p1", "p2"]
    assert [world.read(one.id).due_at for one in jobs[3:]] == [START, START], "the next run begins with these"
    deferred = world.read(jobs[0].id).due_at
    assert deferred == next_look(jobs[0], START, poll_s=POLL_S)


def test_a_run_ends_well_before_its_function_is_stopped(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(5):
        running(parts, f"p{n}", claimed_at=Millis(START + n))
        parts.replicate.has(f"p{n}", "processing")
    # Each poll takes 20 s, as the longest do.
    set_watch(monkeypatch, lambda: 20.0 * len(parts.replicate.calls))
    assert parts.reconcile(seconds=MARGIN_S + 30) == 2
    assert len(parts.replicate.calls) == 2
    assert parts.reconcile(seconds=MARGIN_S) == 0, "nothing is begun that could not be finished"


def test_a_listing_that_takes_all_the_time_is_given_up(
    world: World, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = unclear(parts)
    world.clock.go_on(CLAIM_S)
    page = answer(200, {"results": [], "next": "https://api.replicate.com/v1/predictions?cursor=2"})
    parts.replicate.will(*[page] * 60)
    set_watch(monkeypatch, lambda: 10.0 * len(parts.replicate.calls))
    parts.reconcile(seconds=MARGIN_S + 30)
    assert len(parts.replicate.calls) == 4
    assert world.read(one.id).absences == 0


# The function


@dataclass(frozen=True)
class Context:
    """What Lambda tells a function about its time."""

    milliseconds: int

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


@pytest.mark.sockets
def test_the_function_runs_for_as_long_as_it_may(world: World, replicate: FakeReplicate) -> None:
    at = now()
    world.clock.at = at
    one = job(status=Status.PROCESSING, prediction_id=PredictionId("p1"), created_at=Millis(at - 60_000), due_at=at - 1)
    world.ledger().admit(one, LIMITS)
    replicate.will(answer(200, prediction("p1", **ENDS)))
    timeout = world.template.function("ReconcileFunction").timeout
    assert timeout > MARGIN_S
    assert world.call("ReconcileFunction", {}, Context(int(MARGIN_S * 1000))) == {"looked_after": 0}
    assert world.call("ReconcileFunction", {}, Context(timeout * 1000)) == {"looked_after": 1}
    assert [order["job_id"] for order in world.orders()] == [one.id]
