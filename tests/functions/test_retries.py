"""What clients repeat by themselves, without a key: it is told from a second request, and pays nothing."""

from dataclasses import replace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from shared.identifiers import new_job_id
from shared.job import Job, Millis, Status
from shared.services import now
from tests.support.problems import check_problem
from tests.support.replicate import answer
from tests.support.submits import DEV, SCHNELL, After, Caller, Died, die, listening
from tests.support.world import Answered

pytestmark = pytest.mark.sockets

FOX: dict[str, Any] = {"input": {"prompt": "a fox"}}


def create(caller: Caller, retry: object = None, body: Any = None, path: str = SCHNELL, **headers: str) -> Answered:
    counted = {} if retry is None else {"x_stainless_retry_count": str(retry)}
    return caller.post(path, FOX if body is None else body, **counted, **headers)


def older(caller: Caller, job: Job, seconds: float) -> Job:
    """Write the same job as if it had been made so many seconds earlier."""
    at = Millis(now() - round(seconds * 1000))
    return caller.world.put(replace(job, id=new_job_id(at), created_at=at))


def test_a_retry_is_given_the_job_of_its_request_and_charged_nothing(caller: Caller) -> None:
    first = create(caller, 0)
    before = caller.account
    again = create(caller, 1)
    assert (again.status, again.json["id"]) == (201, first.json["id"])
    assert again.json["afterimage"]["reused"] is True
    assert caller.account == before
    assert len(caller.replicate.created) == 1


def test_a_retry_that_is_faster_than_the_index_looks_again(caller: Caller) -> None:
    """DynamoDB's indexes follow their table; neither moto nor MiniStack lags."""
    first = create(caller, 0)
    looks: list[str] = []

    def lag(**_: Any) -> Any:
        looks.append("look")
        empty: Any = {"Items": [], "Count": 0, "ScannedCount": 0}
        return (AWSResponse("", 200, {}, None), empty) if len(looks) == 1 else None  # type: ignore[arg-type]

    with listening(caller.world, "before-call.dynamodb.Query", lag):
        assert create(caller, 1).json["id"] == first.json["id"]
    assert len(looks) == 2
    assert len(caller.replicate.created) == 1


def test_each_further_retry_is_given_it_too(caller: Caller) -> None:
    ids = {create(caller, count).json["id"] for count in (0, 1, 2, 3)}
    assert len(ids) == len(caller.jobs()) == 1


def test_a_retry_of_what_was_never_accepted_is_a_request(caller: Caller) -> None:
    assert create(caller, 1).status == 201
    assert len(caller.jobs()) == len(caller.replicate.created) == 1


def test_a_retry_of_a_process_that_died_finds_its_job(caller: Caller) -> None:
    with listening(caller.world, "after-call.dynamodb.TransactWriteItems", After(1, die)), pytest.raises(Died):
        create(caller, 0)
    (job,) = caller.jobs()
    assert create(caller, 1).json["id"] == job.id
    assert caller.replicate.created == [], "reconcile finds out whether it was sent"


def test_twins_stay_apart(caller: Caller) -> None:
    twins = {create(caller, 0).json["id"] for _ in range(2)}
    assert len(twins) == 2
    for count in (1, 2):
        assert {create(caller, count).json["id"] for _ in range(2)} == twins
    third = create(caller, 1).json["id"]
    assert third not in twins, "a third request with this count is none of the two"


def test_a_retry_is_given_the_latest_of_equal_requests(caller: Caller) -> None:
    earlier, latest = (create(caller, 0).json["id"] for _ in range(2))
    older(caller, caller.world.read(earlier), 60)
    assert create(caller, 1).json["id"] == max(earlier, latest)


@pytest.mark.parametrize(("age", "is_met"), [(110, True), (130, False)])
def test_after_two_minutes_it_is_another_request(caller: Caller, age: float, *, is_met: bool) -> None:
    job = caller.job(create(caller))
    table = caller.world.jobs_table
    caller.world.dynamodb.delete_item(TableName=table, Key={"pk": {"S": f"job#{job.id}"}})
    before = older(caller, job, age)
    assert (create(caller, 1).json["id"] == before.id) is is_met


@pytest.mark.parametrize("count", ["0", "", "x", "-1", "1.5", "\u0661", " 1", "9" * 50, None])
def test_what_counts_no_retry_is_a_request_of_its_own(caller: Caller, count: str | None) -> None:
    assert create(caller).json["id"] != create(caller, count).json["id"]


@pytest.mark.parametrize(
    ("body", "path"),
    [({"input": {"prompt": "a hen"}}, SCHNELL), ({**FOX, "webhook": "https://example.com"}, SCHNELL), (FOX, DEV)],
)
def test_another_request_is_not_met(caller: Caller, body: Any, path: str) -> None:
    assert create(caller).json["id"] != create(caller, 1, body, path).json["id"]


def test_another_tenants_request_is_not_met(caller: Caller, other: Caller) -> None:
    assert create(caller).json["id"] != create(other, 1).json["id"]


def test_a_deleted_job_is_not_met(caller: Caller) -> None:
    first = caller.job(create(caller))
    caller.world.put(replace(first, status=Status.SUCCEEDED, hold=None, deleted_at=Millis(1)))
    assert create(caller, 1).json["id"] != first.id


def test_a_key_says_more_than_a_count(caller: Caller) -> None:
    first = create(caller)
    keyed = create(caller, 1, idempotency_key="k")
    assert keyed.json["id"] != first.json["id"]
    assert create(caller, 2, idempotency_key="k").json["id"] == keyed.json["id"]
    refusal = create(caller, 3, {"input": {"prompt": "a hen"}}, idempotency_key="k")
    check_problem(refusal, 422, "idempotency_key_reused", instance=SCHNELL)


def test_a_refusal_of_replicates_is_repeated_and_not_asked_for_again(caller: Caller) -> None:
    caller.replicate.will(answer(422, {"detail": "no", "status": 422}))
    first, again = create(caller), create(caller, 1)
    assert (first.status, again.status) == (422, 422)
    assert first.headers["location"] == again.headers["location"]
    assert len(caller.replicate.created) == 1


def test_the_short_interface_and_trainings_are_met_too(caller: Caller) -> None:
    caller.replicate.catalog |= {
        "models/ostris/flux-dev-lora-trainer": {"latest_version": {"id": "d" * 64}},
        "models/acme/retried": {"name": "retried"},
    }
    body = {"images_zip_url": "https://example.com/fox.zip", "destination": "acme/retried"}
    for path, given in (("/generate", {"prompt": "a fox"}), ("/train", body)):
        ids = {create(caller, count, given, path).json["prediction_id"] for count in (0, 1, 2)}
        assert len(ids) == 1
    caller.world.dispatch()
    assert len(caller.replicate.created) == 2
