"""Jobs and events for whole tables and for Hypothesis: every event, in every status, around every guard."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from shared.errors import Code, InvalidField, Problem
from shared.identifiers import new_job_id
from shared.job import (
    ENDED,
    Abandoned,
    Adopted,
    AdoptedToCancel,
    Archived,
    CancelRequested,
    Claimed,
    DeadlineHit,
    Deferred,
    Deleted,
    Event,
    Hold,
    Job,
    Joined,
    Kind,
    Makes,
    Millis,
    NotListed,
    Outcome,
    PredictionId,
    Progressed,
    Purged,
    Retried,
    Returned,
    Settled,
    Shape,
    Started,
    Status,
    StoredFile,
    Taken,
    Unclear,
    Unrecognized,
)
from shared.pricing import Price, Unit
from tests.support.world import START, job

OWN = PredictionId("own")
OTHER = PredictionId("other")
AT = Millis(START + 1_000)
DUE = Millis(START + 9_000)
FILE = StoredFile(0, "jobs/alice/x/0.webp", "image/webp", 12, "a" * 64, 48, 32)
PROBLEM = Problem(Code.UPSTREAM_REJECTED, "no", (InvalidField("input.prompt", "missing"),))
SUCCESS = Outcome(status=Status.SUCCEEDED, completed_at=AT, cost=3_000, files=(FILE,), metrics={"predict_time": 1.5})
FAILURE = Outcome(status=Status.FAILED, completed_at=AT, cost=0, problem=PROBLEM, error="no", text={"a": [1, None]})


@dataclass(frozen=True)
class Sample:
    """An event, and what a job needs, beside the status, for the event to be legal."""

    event: Event
    needs: Mapping[str, Any] = field(default_factory=dict)

    def fitting(self, status: Status) -> Job:
        """Give a job in this status for which all else is as the event wants it."""
        return job(**{"status": status, **self.needs})


SAMPLES: Mapping[type[Event], Sample] = {
    Claimed: Sample(Claimed(2, AT, DUE)),
    Returned: Sample(Returned(1, DUE)),
    Unclear: Sample(Unclear(1, AT, DUE)),
    NotListed: Sample(NotListed(1, 1, DUE), {"unclear_at": START}),
    Adopted: Sample(Adopted(OWN, DUE), {"unclear_at": START}),
    AdoptedToCancel: Sample(AdoptedToCancel(OWN, DUE), {"cancel_requested_at": START}),
    Started: Sample(Started(OWN, AT), {"prediction_id": OWN}),
    Progressed: Sample(Progressed(OWN, 50, "50%|"), {"prediction_id": OWN, "percent": 49}),
    Unrecognized: Sample(Unrecognized(OWN, "paused"), {"prediction_id": OWN}),
    Taken: Sample(Taken(OWN, "me", AT, DUE), {"prediction_id": OWN}),
    Settled: Sample(Settled(outcome=SUCCESS, due_at=DUE, lease="me"), {"prediction_id": OWN, "lease": "me"}),
    Abandoned: Sample(Abandoned(outcome=FAILURE, due_at=DUE, attempt=1)),
    CancelRequested: Sample(CancelRequested(AT, DUE)),
    DeadlineHit: Sample(DeadlineHit(AT, DUE)),
    Joined: Sample(Joined()),
    Retried: Sample(Retried(1), {"retries": 0}),
    Deferred: Sample(Deferred(seen=START, due_at=DUE), {"due_at": START}),
    Archived: Sample(Archived(AT)),
    Deleted: Sample(Deleted(AT, "due#1"), {"archived_at": START}),
    Purged: Sample(Purged(AT), {"archived_at": START, "deleted_at": START}),
}

_predictions = st.sampled_from([OWN, OTHER])
_attempts = st.integers(0, 3)
_leases = st.sampled_from(["me", "you"])
_times = st.integers(START - 2, START + 2).map(Millis)
_percents = st.integers(0, 3)


def events() -> st.SearchStrategy[Event]:
    """Give any event, with values that are close to each other, so that guards are met on both sides."""
    outcomes = st.sampled_from([SUCCESS, FAILURE, Outcome(status=Status.CANCELED, completed_at=AT, cost=0)])
    return st.one_of(
        st.builds(Claimed, _attempts, _times, _times),
        st.builds(Returned, _attempts, _times),
        st.builds(Unclear, _attempts, _times, _times),
        st.builds(NotListed, _attempts, st.integers(1, 3), _times),
        st.builds(Adopted, _predictions, _times),
        st.builds(AdoptedToCancel, _predictions, _times),
        st.builds(Started, _predictions, _times),
        st.builds(Progressed, _predictions, _percents, st.just("logs")),
        st.builds(Unrecognized, _predictions, st.just("paused")),
        st.builds(Taken, _predictions, _leases, _times, _times),
        st.builds(Settled, outcome=outcomes, due_at=_times, lease=_leases),
        st.builds(Abandoned, outcome=outcomes, due_at=_times, attempt=_attempts),
        st.builds(CancelRequested, _times, _times),
        st.builds(DeadlineHit, _times, _times),
        st.just(Joined()),
        st.builds(Retried, st.integers(1, 3)),
        st.builds(Deferred, _times, _times),
        st.builds(Archived, _times),
        st.builds(Deleted, _times, st.just("due#1")),
        st.builds(Purged, _times),
    )


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    """Give a job in any status, with any combination of the fields that guards look at."""
    status = draw(st.sampled_from(Status))
    ended = status in ENDED

    def maybe(values: st.SearchStrategy[Any]) -> Any:
        return draw(st.none() | values)

    return job(
        status=status,
        attempt=draw(_attempts),
        prediction_id=maybe(_predictions),
        cancel_requested_at=maybe(_times),
        unclear_at=maybe(_times),
        lease=(lease := maybe(_leases)),
        lease_until=draw(_times) if lease else None,
        percent=maybe(_percents),
        hold=None if ended else maybe(st.just(Hold("20261101", 3_000))),
        completed_at=AT if ended else None,
        cost=3_000 if ended else None,
        archived_at=maybe(_times) if ended else None,
        deleted_at=maybe(_times) if ended else None,
        due_at=maybe(_times),
    )


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)
_whole = st.integers(0, 2**60)
_stored = st.builds(
    StoredFile,
    n=st.integers(0, 9),
    key=_texts,
    content_type=_texts,
    bytes=_whole,
    sha256=_texts,
    width=st.none() | _whole,
    height=st.none() | _whole,
)
_problems = st.builds(
    Problem, st.sampled_from(Code), _texts, st.lists(st.builds(InvalidField, _texts, _texts), max_size=2).map(tuple)
)


_number = st.integers(-(2**63), 2**63 - 1)


def _maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


def _tuple(values: st.SearchStrategy[Any], longest: int = 2) -> st.SearchStrategy[Any]:
    return st.lists(values, max_size=longest).map(tuple)


ANYTHING: Mapping[str, st.SearchStrategy[Any]] = {
    "id": st.integers(0, 2**40).map(lambda at: new_job_id(Millis(at))),
    "tenant": _texts.map(lambda text: f"t{text}"),
    "kind": st.sampled_from(Kind),
    "status": st.sampled_from(Status),
    "model": _texts,
    "version": _maybe(_texts),
    "deployment": _maybe(_texts),
    "family": _texts,
    "destination": _maybe(_texts),
    "makes": st.sampled_from(Makes),
    "input": st.dictionaries(_texts, _json, max_size=4),
    "stored_inputs": st.dictionaries(_texts, _texts, max_size=2),
    "sealed": _maybe(_texts),
    "altered": _tuple(_texts),
    "fingerprint": _texts,
    "warnings": _tuple(_texts),
    "webhook": _maybe(_texts),
    "webhook_events": _tuple(_texts),
    "batch_id": _maybe(_texts),
    "created_at": _whole,
    "started_at": _maybe(_whole),
    "completed_at": _maybe(_whole),
    "attempt": _whole,
    "claimed_at": _maybe(_whole),
    "unclear_at": _maybe(_whole),
    "prediction_id": _maybe(_texts),
    "upstream_status": _maybe(_texts),
    "absences": _whole,
    "cancel_requested_at": _maybe(_whole),
    "cancel_after_at": _maybe(_whole),
    "deadline_s": _maybe(_whole),
    "deadline_hit_at": _maybe(_whole),
    "lease": _maybe(_texts),
    "lease_until": _maybe(_whole),
    "takes": _whole,
    "joined": _whole,
    "retries": _whole,
    "percent": _maybe(_whole),
    "logs": _maybe(_texts),
    "metrics": _maybe(st.dictionaries(_texts, _json, max_size=3)),
    "error": _maybe(_texts),
    "problem": _maybe(_problems),
    "text": _json,
    "files": _tuple(_stored, 3),
    "files_shape": st.sampled_from(Shape),
    "seed": _maybe(_number),
    "drawn_seed": _maybe(_number),
    "price": st.builds(Price, _whole, st.sampled_from(Unit)),
    "estimate": _whole,
    "hold": _maybe(st.builds(Hold, _texts, _whole)),
    "cost": _maybe(_whole),
    "due_at": _maybe(_whole),
    "due_shard": _maybe(_texts.map(lambda text: f"due#{text}")),
    "archived_at": _maybe(_whole),
    "deleted_at": _maybe(_whole),
    "purged_at": _maybe(_whole),
}
"""What each field of a job can hold."""


def full_jobs() -> st.SearchStrategy[Job]:
    """Give a job with anything in any field."""
    return st.fixed_dictionaries(dict(ANYTHING)).map(lambda fields: Job(**fields))
