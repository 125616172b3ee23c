"""The audit: what Replicate lists against what jobs own."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from shared.auditing import Auditor, Fault, Owner, Report
from shared.errors import UpstreamUnclear
from shared.job import Adopted, Job, Kind, Millis, PredictionId, Status
from shared.job_store import encode
from shared.replicate_api import ReplicateApi
from tests.support.replicate import TOKEN, answer, prediction, training
from tests.support.world import ALICE, BOB, ORIGIN, START, World, job

RAN = {"started_at": "2026-11-01T12:00:01.000Z", "metrics": {"predict_time": 1.0}}


class Listing(httpx.BaseTransport):
    """Replicate as far as it lists and reads: these are all that it has."""

    def __init__(self, predictions: list[dict[str, Any]], trainings: list[dict[str, Any]]) -> None:
        self.made = {"predictions": predictions, "trainings": trainings}
        self.unlisted: dict[str, dict[str, Any]] = {}
        self.methods: set[str] = set()
        self.breaks = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.methods.add(request.method)
        _, _, kind, *rest = request.url.path.split("/")
        found = answer(200, {"next": None, "previous": None, "results": self.made[kind]})
        if rest:
            known = {one["id"]: one for one in self.made[kind]} | self.unlisted
            found = answer(200, known[rest[0]]) if rest[0] in known else answer(404, {"detail": "?", "status": 404})
        if self.breaks:
            found = answer(500, {})
        return httpx.Response(found.status, headers=dict(found.headers), stream=httpx.ByteStream(found.body))


def webhook(job_id: str, origin: str = ORIGIN) -> str:
    return f"{origin}/webhooks/replicate/{job_id}?attempt=1&k=x"


def audit(world: World, *predictions: dict[str, Any], trainings: list[dict[str, Any]] | None = None) -> Report:
    listing = Listing(list(predictions), trainings or [])
    report = report_of(world, listing)
    assert listing.methods == {"GET"}
    return report


def report_of(world: World, listing: Listing) -> Report:
    api = ReplicateApi(token=TOKEN, base_url="https://api.replicate.com", transport=listing)
    auditor = Auditor(jobs=world.jobs, replicate=api, origin=ORIGIN, now=lambda: Millis(START + 60_000))
    return auditor.audit([ALICE, BOB], since=Millis(START - 60_000))


def owning(world: World, prediction_id: str, **changes: Any) -> Job:
    """Give a job that has adopted a prediction."""
    one = world.put(job(**changes))
    world.jobs.adopt(one.id, Adopted(PredictionId(prediction_id), due_at=START))
    return world.read(one.id)


def test_what_belongs_together_is_no_finding(world: World) -> None:
    one = owning(world, "p1")
    other = owning(world, "t1", tenant=BOB, kind=Kind.TRAINING)
    before = world.everything()
    seen = prediction("p1", "succeeded", webhook=webhook(one.id), **RAN)
    report = audit(world, seen, trainings=[training("t1", "processing", webhook=webhook(other.id))])
    assert (report.findings, report.jobs, report.predictions) == ([], 2, {Owner.OURS: 2})
    assert world.everything() == before


@pytest.mark.parametrize(
    ("changes", "status", "fields", "owner"),
    [
        ({"prediction_id": "p1"}, "succeeded", RAN, Owner.UNOWNED),
        ({"prediction_id": "p1"}, "processing", {}, Owner.UNOWNED),
        ({"prediction_id": "p1"}, "canceled", RAN, Owner.UNOWNED),
        ({"prediction_id": "p1"}, "canceled", {}, Owner.FREE),
        ({"prediction_id": "p1"}, "aborted", {}, Owner.FREE),
        ({"status": Status.FAILED, "cost": 3_000}, "succeeded", RAN, Owner.UNOWNED),
        ({}, "succeeded", RAN, Owner.PENDING),
    ],
)
def test_a_prediction_that_no_job_owns_is_judged_by_its_job_and_by_whether_it_ran(
    world: World, changes: Mapping[str, Any], status: str, fields: Mapping[str, Any], owner: Owner
) -> None:
    one = world.put(job(**changes))
    own = [prediction("p1", "succeeded", webhook=webhook(one.id), **RAN)] if one.prediction_id else []
    report = audit(world, *own, prediction("stray", status, webhook=webhook(one.id), **fields))
    assert report.predictions[owner] >= 1
    found = [(one.fault, one.prediction_id, one.job_id) for one in report.findings if one.prediction_id == "stray"]
    assert found == ([(Fault.UNOWNED, "stray", one.id)] if owner is Owner.UNOWNED else [])


def test_a_prediction_for_a_job_that_never_was_is_a_finding(world: World) -> None:
    job_id = job().id
    (finding,) = audit(world, prediction("p9", "succeeded", webhook=webhook(job_id), **RAN)).findings
    assert (finding.fault, finding.job_id, finding.created_at) == (Fault.UNOWNED, job_id, START)


@pytest.mark.parametrize(
    "hook", [None, "https://example.com/hook", webhook("01m0000000000000000000000z", "https://other.example.com")]
)
def test_predictions_of_others_are_only_counted(world: World, hook: str | None) -> None:
    report = audit(world, prediction("p1", "succeeded", webhook=hook, **RAN), {"what": "is this"})
    assert (report.findings, report.predictions) == ([], {Owner.OTHERS: 1})


def test_a_job_whose_prediction_replicate_does_not_know_is_a_finding(world: World) -> None:
    one = owning(world, "p1")
    (finding,) = audit(world).findings
    assert (finding.fault, finding.prediction_id, finding.job_id) == (Fault.ABSENT, "p1", one.id)


def test_a_prediction_that_is_not_listed_yet_is_asked_for(world: World) -> None:
    owning(world, "p1")
    listing = Listing([], [])
    listing.unlisted["p1"] = prediction("p1")
    assert report_of(world, listing).findings == []


def test_jobs_that_were_given_up_are_named(world: World) -> None:
    given_up = world.put(job(status=Status.FAILED, cost=3_000))
    world.put(job(status=Status.FAILED, cost=0))
    assert (audit(world).unclear, audit(world).findings) == ([given_up.id], [])


def test_jobs_of_an_earlier_time_are_not_looked_at(world: World) -> None:
    world.put(job(created_at=Millis(START - 120_000), prediction_id="p1"))
    assert audit(world).jobs == 0


def test_a_list_that_cannot_be_read_to_its_end_proves_nothing(world: World) -> None:
    listing = Listing([], [])
    listing.breaks = True
    with pytest.raises(UpstreamUnclear):
        report_of(world, listing)


def test_many_predictions_are_compared(world: World) -> None:
    ours = [owning(world, f"p{n}") for n in range(120)]
    assert len({encode(one)["pk"]["S"] for one in ours}) == 120
    report = audit(world, *(prediction(f"p{n}", "succeeded", **RAN) for n in range(100)))
    assert report.predictions == {Owner.OURS: 100}
    assert {one.prediction_id for one in report.findings} == {f"p{n}" for n in range(100, 120)}
