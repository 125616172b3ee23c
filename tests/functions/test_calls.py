"""What a job costs in calls to AWS: each is here with its reason, so that one more is noticed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from shared.job import Status
from shared.upstream_limit import PK
from tests.functions.test_archive import Originals, serving_originals
from tests.support.loopback import serving
from tests.support.replicate import FakeReplicate, answer, prediction
from tests.support.wire import LIMIT, counted
from tests.support.world import ALICE, Answered, World, deployed

pytestmark = pytest.mark.sockets

PATH = "/v1/models/black-forest-labs/flux-schnell/predictions"
ADMIT = "dynamodb Update accounts + Put jobs"  # admission: the tenant's numbers, and the job
ADOPT = "dynamodb Update jobs + Put jobs"  # the prediction's id: in the job, and taken for it alone
REPORT = "dynamodb Update jobs"  # started, or got further
HAND_OVER = "sqs SendMessage"  # the end: for `archive`, so that Replicate's webhook is answered at once
LEASE = "dynamodb Update jobs"  # to `storing`: nobody else works on it meanwhile
STORE = "s3 PutObject"
SETTLE = "dynamodb Update jobs + Update accounts + Update accounts"  # the end, the tenant's numbers, the day's costs
SETTLE_FREE = "dynamodb Update jobs + Update accounts"  # nothing to add to the day's costs
LEAVE = "dynamodb Update jobs"  # out of the index of what is due: the manifest exists
RETURN = "dynamodb Update jobs"  # back to `queued`
PARK = "sqs SendMessage"  # for `dispatch`
READ = "dynamodb Get jobs"
API_KEY = "dynamodb BatchGet accounts"


@dataclass
class Warm:
    """Functions that have worked before: they know the secrets.

    What is asked for from time to time, whatever is done, is not counted: the API key each minute, and a share of
    Replicate's limit for several starts.
    """

    world: World
    replicate: FakeReplicate
    originals: Originals
    calls: list[str]

    def taken(self) -> list[str]:
        """Give the calls since the last time."""
        calls, self.calls[:] = list(self.calls), []
        return [call for call in calls if call != API_KEY and not call.endswith(LIMIT)]

    def post(self, images: int = 1, **headers: str) -> Answered:
        body = {"input": {"prompt": "a fox", "num_outputs": images, "seed": 7}}
        return self.world.request("POST", PATH, body, key=self.world.keys[ALICE], headers=headers)

    def get(self, path: str, **headers: str) -> Answered:
        return self.world.request("GET", path, key=self.world.keys[ALICE], headers=headers)

    def tell(self, job_id: str, prediction_id: str | None, status: str, **fields: Any) -> None:
        document = prediction(prediction_id or "", status, started_at="2026-11-01T12:00:02.000Z", **fields)
        assert self.world.webhook(job_id, document).status == 200

    def archive(self) -> None:
        (order,) = self.world.orders_as_sent()
        self.taken()
        assert self.world.deliver(order)

    def end(self, images: int = 1) -> str:
        """Let a job run from its request to its manifest; the test's own calls are not counted."""
        made = self.post(images).json["id"]
        calls = self.taken()
        prediction_id = self.world.read(made).prediction_id
        self.taken()
        self.tell(made, prediction_id, "processing")
        self.tell(made, prediction_id, "succeeded", output=self.originals.urls(images))
        calls += self.taken()
        self.archive()
        self.calls[:0] = calls
        return str(made)


@pytest.fixture(scope="module")
def standing() -> Iterator[Warm]:
    with counted() as calls, deployed() as world:
        replicate = FakeReplicate()
        with serving(replicate.respond) as origin, serving_originals(world) as originals:
            world.parameters["ReplicateApiUrl"] = origin
            one = Warm(world, replicate, originals, calls)
            job_id = one.end()
            one.get(f"/v1/predictions/{job_id}")
            yield one


@pytest.fixture
def warm(standing: Warm) -> Warm:
    standing.replicate.forget()
    standing.world.orders()
    standing.world.dispatch_orders()
    key = {"pk": {"S": PK}}
    standing.world.dynamodb.delete_item(TableName=standing.world.accounts_table, Key=key)
    standing.taken()
    return standing


def test_an_image_takes_nine_calls_from_the_request_to_the_job_that_is_no_longer_due(warm: Warm) -> None:
    job_id = warm.end()
    assert warm.taken() == [ADMIT, ADOPT, REPORT, HAND_OVER, LEASE, STORE, SETTLE, STORE, LEAVE]
    assert warm.world.read(job_id).due_at is None


def test_each_further_image_takes_one_more(warm: Warm) -> None:
    warm.end(images=4)
    assert warm.taken() == [ADMIT, ADOPT, REPORT, HAND_OVER, LEASE, *[STORE] * 4, SETTLE, STORE, LEAVE]


def test_a_job_that_fails_takes_one_less(warm: Warm) -> None:
    made = warm.post().json["id"]
    prediction_id = warm.world.read(made).prediction_id
    warm.taken()
    warm.tell(made, prediction_id, "failed", error="CUDA out of memory")
    assert warm.taken() == [HAND_OVER]
    warm.archive()
    assert warm.taken() == [LEASE, SETTLE_FREE, STORE, LEAVE]
    assert warm.world.read(made).status is Status.FAILED


def test_a_read_takes_one_call_whatever_comes_of_it(warm: Warm) -> None:
    made = warm.post().json["id"]
    warm.taken()
    for path in (f"/v1/predictions/{made}", f"/predictions/{made}"):
        tag = warm.get(path).headers["etag"]
        assert warm.taken() == [READ]
        assert warm.get(path, **{"if-none-match": tag}).status == 304
        assert warm.taken() == [READ]
    assert warm.get("/v1/predictions/00000000000000000000000000").status == 404
    assert warm.taken() == [READ]


def test_what_replicate_does_not_take_takes_two_calls_more(warm: Warm) -> None:
    warm.replicate.will(answer(402, {"title": "Insufficient credit", "status": 402}))
    assert warm.post().status == 201
    assert warm.taken() == [ADMIT, RETURN, PARK]


def test_a_request_that_is_refused_writes_nothing(warm: Warm) -> None:
    body = {"input": {"prompt": "a fox", "num_outputs": 5}}
    assert warm.world.request("POST", PATH, body, key=warm.world.keys[ALICE]).status == 422
    assert warm.taken() == []


def test_a_webhook_that_is_not_replicates_makes_no_call(warm: Warm) -> None:
    job_id = warm.post().json["id"]
    warm.taken()
    for headers in ({"webhook-signature": "v1,AAAA"}, {"webhook-timestamp": "0"}):
        assert warm.world.webhook(job_id, prediction("p1", "succeeded"), headers=headers).status == 401
    assert warm.taken() == []
