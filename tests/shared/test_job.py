"""The job's rules: the whole table of events and statuses, and what no sequence of events can do."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Code, Problem
from shared.job import (
    ENDED,
    EVENTS,
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
    Ignored,
    Job,
    Joined,
    Kind,
    Millis,
    NotListed,
    Outcome,
    PredictionId,
    Progressed,
    Purged,
    Reason,
    Retried,
    Returned,
    Settled,
    Started,
    Status,
    Taken,
    Unclear,
    Unrecognized,
    apply,
)
from tests.support.events import OWN, SAMPLES, events, jobs
from tests.support.world import START, adopted, job

AT = Millis(START + 1_000)
DUE = Millis(START + 9_000)
GOES = "goes"  # the event is legal there

# Event by event: queued, starting, processing, storing, and all three ends.
TABLE: Mapping[type[Event], tuple[Reason | str, Reason | str, Reason | str, Reason | str, Reason | str]] = {
    Claimed: (GOES, Reason.DUPLICATE, Reason.LATE, Reason.LATE, Reason.ENDED),
    Returned: (Reason.DUPLICATE, GOES, Reason.LATE, Reason.LATE, Reason.ENDED),
    Unclear: (Reason.LATE, GOES, Reason.LATE, Reason.LATE, Reason.ENDED),
    NotListed: (Reason.LATE, GOES, Reason.LATE, Reason.LATE, Reason.ENDED),
    Adopted: (GOES, GOES, Reason.DUPLICATE, Reason.DUPLICATE, Reason.ENDED),
    AdoptedToCancel: (GOES, GOES, Reason.DUPLICATE, Reason.DUPLICATE, Reason.ENDED),
    Started: (Reason.UNADOPTED, GOES, Reason.DUPLICATE, Reason.LATE, Reason.ENDED),
    Progressed: (Reason.UNADOPTED, GOES, GOES, Reason.LATE, Reason.ENDED),
    Unrecognized: (Reason.UNADOPTED, GOES, GOES, Reason.LATE, Reason.ENDED),
    Taken: (Reason.UNADOPTED, GOES, GOES, GOES, Reason.ENDED),
    Settled: (Reason.EARLY, Reason.EARLY, Reason.EARLY, GOES, Reason.ENDED),
    Abandoned: (GOES, GOES, Reason.LATE, Reason.LATE, Reason.ENDED),
    CancelRequested: (GOES, GOES, GOES, Reason.LATE, Reason.ENDED),
    Joined: (GOES, GOES, GOES, GOES, Reason.ENDED),
    DeadlineHit: (GOES, GOES, GOES, Reason.LATE, Reason.ENDED),
    Retried: (GOES, GOES, GOES, GOES, GOES),
    Deferred: (GOES, GOES, GOES, GOES, GOES),
    Archived: (Reason.EARLY, Reason.EARLY, Reason.EARLY, Reason.EARLY, GOES),
    Deleted: (Reason.EARLY, Reason.EARLY, Reason.EARLY, Reason.EARLY, GOES),
    Purged: (Reason.EARLY, Reason.EARLY, Reason.EARLY, Reason.EARLY, GOES),
}
WHERE_ENDS_DIFFER: Mapping[tuple[type[Event], Status], Reason | str] = {(Joined, Status.SUCCEEDED): GOES}
COLUMNS = ({Status.QUEUED}, {Status.STARTING}, {Status.PROCESSING}, {Status.STORING}, ENDED)
PAIRS = [
    pytest.param(event, status, WHERE_ENDS_DIFFER.get((event, status), verdict), id=f"{event.__name__}-{status}")
    for event, row in TABLE.items()
    for statuses, verdict in zip(COLUMNS, row, strict=True)
    for status in sorted(statuses)
]


def reason_of(outcome: Job | Ignored) -> Reason:
    assert isinstance(outcome, Ignored)
    return outcome.reason


def after(one: Job, event: Event) -> Job:
    outcome = apply(one, event)
    assert isinstance(outcome, Job), outcome
    return outcome


def test_the_table_has_every_event() -> None:
    assert set(TABLE) == set(EVENTS)


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_names_every_status_exactly_once(event: type[Event]) -> None:
    assert event.legal_from | set(event.ignored_in) == set(Status)
    assert not event.legal_from & set(event.ignored_in)


@pytest.mark.parametrize(("event", "status", "verdict"), PAIRS)
def test_every_pair_of_event_and_status_is_decided_as_in_the_table(
    event: type[Event], status: Status, verdict: Reason | str
) -> None:
    sample = SAMPLES[event]
    outcome = apply(sample.fitting(status), sample.event)
    if verdict == GOES:
        assert isinstance(outcome, Job)
        assert outcome.status == (sample.event.target() or status)
    else:
        assert reason_of(outcome) == verdict


def test_what_is_ignored_gives_the_job_as_it_was_found() -> None:
    one = job(status=Status.SUCCEEDED)
    assert apply(one, CancelRequested(AT, DUE)) == Ignored(Reason.ENDED, one)


# Guards beside the status


@pytest.mark.parametrize(
    ("changes", "event", "reason"),
    [
        ({"status": "queued", "attempt": 2}, Claimed(2, AT, DUE), Reason.SUPERSEDED),
        ({"status": "queued", "prediction_id": OWN}, Claimed(2, AT, DUE), Reason.LATE),
        ({"status": "queued", "cancel_requested_at": AT}, Claimed(2, AT, DUE), Reason.CANCEL_REQUESTED),
        ({"attempt": 2}, Returned(1, DUE), Reason.SUPERSEDED),
        ({"prediction_id": OWN}, Returned(1, DUE), Reason.LATE),
        ({"cancel_requested_at": AT}, Returned(1, DUE), Reason.CANCEL_REQUESTED),
        ({"attempt": 2}, Unclear(1, AT, DUE), Reason.SUPERSEDED),
        ({"prediction_id": OWN}, Unclear(1, AT, DUE), Reason.LATE),
        ({"prediction_id": OWN}, Adopted(OWN, DUE), Reason.DUPLICATE),
        ({"prediction_id": OWN}, Adopted(PredictionId("other"), DUE), Reason.DUPLICATE),
        ({}, Started(OWN, AT), Reason.UNADOPTED),
        ({"prediction_id": "other"}, Started(OWN, AT), Reason.STRAY),
        ({"prediction_id": OWN, "percent": 50}, Progressed(OWN, 50, ""), Reason.LATE),
        ({"prediction_id": OWN, "percent": 50}, Progressed(OWN, 49, ""), Reason.LATE),
        ({"prediction_id": "other"}, Unrecognized(OWN, "odd"), Reason.STRAY),
        ({"prediction_id": "other"}, Taken(OWN, "me", AT, DUE), Reason.STRAY),
        (
            {"status": "storing", "prediction_id": OWN, "lease": "you", "lease_until": AT},
            Taken(OWN, "me", AT, DUE),
            Reason.BUSY,
        ),
        (
            {"status": "storing", "prediction_id": OWN, "lease": "you"},
            Settled(outcome=Outcome(status=Status.FAILED, completed_at=AT, cost=0), due_at=DUE, lease="me"),
            Reason.BUSY,
        ),
        (
            {"prediction_id": OWN},
            Abandoned(outcome=Outcome(status=Status.FAILED, completed_at=AT, cost=0), due_at=DUE, attempt=1),
            Reason.LATE,
        ),
        (
            {"attempt": 2},
            Abandoned(outcome=Outcome(status=Status.FAILED, completed_at=AT, cost=0), due_at=DUE, attempt=1),
            Reason.SUPERSEDED,
        ),
        ({"cancel_requested_at": AT}, Adopted(OWN, DUE), Reason.CANCEL_REQUESTED),
        ({}, AdoptedToCancel(OWN, DUE), Reason.CANCEL_REQUESTED),
        ({"cancel_requested_at": AT, "prediction_id": OWN}, AdoptedToCancel(OWN, DUE), Reason.DUPLICATE),
        ({"attempt": 2}, NotListed(1, 1, DUE), Reason.SUPERSEDED),
        ({"prediction_id": OWN}, NotListed(1, 1, DUE), Reason.LATE),
        ({"due_at": AT}, Deferred(seen=START, due_at=DUE), Reason.BUSY),
        ({"due_at": None}, Deferred(seen=START, due_at=DUE), Reason.BUSY),
        ({"cancel_requested_at": AT}, DeadlineHit(AT, DUE), Reason.DUPLICATE),
        ({"cancel_requested_at": AT}, CancelRequested(AT, DUE), Reason.DUPLICATE),
        ({"status": "succeeded", "archived_at": AT}, Archived(AT), Reason.DUPLICATE),
        ({"status": "succeeded", "deleted_at": AT}, Archived(AT), Reason.LATE),
        ({"cancel_requested_at": AT}, Joined(), Reason.CANCEL_REQUESTED),
        ({"status": "succeeded", "deleted_at": AT}, Joined(), Reason.ENDED),
        ({"retries": 1}, Retried(1), Reason.DUPLICATE),
        ({"retries": 2}, Retried(1), Reason.DUPLICATE),
        ({"status": "succeeded", "deleted_at": AT}, Retried(1), Reason.ENDED),
        ({"status": "succeeded"}, Purged(AT), Reason.EARLY),
        ({"status": "succeeded", "deleted_at": AT, "purged_at": AT}, Purged(AT), Reason.DUPLICATE),
        ({"status": "succeeded"}, Deleted(AT, "due#1"), Reason.EARLY),
        ({"status": "succeeded", "archived_at": AT, "deleted_at": AT}, Deleted(AT, "due#1"), Reason.DUPLICATE),
    ],
)
def test_a_guard_that_does_not_hold_gives_its_reason(changes: dict[str, Any], event: Event, reason: Reason) -> None:
    status = Status(changes.pop("status", "starting"))
    assert reason_of(apply(job(status=status, **changes), event)) == reason


def test_a_claim_is_for_the_next_attempt_only() -> None:
    one = job(status=Status.QUEUED, attempt=1, claimed_at=None, unclear_at=AT)
    claimed = after(one, Claimed(2, AT, DUE))
    assert (claimed.status, claimed.attempt, claimed.claimed_at, claimed.unclear_at) == (Status.STARTING, 2, AT, None)
    assert reason_of(apply(claimed, Claimed(2, AT, DUE))) is Reason.DUPLICATE


def test_the_holder_of_a_lease_may_take_again_and_others_only_when_it_is_over() -> None:
    taken = after(adopted(OWN), Taken(OWN, "me", AT, until=Millis(AT + 10)))
    assert (taken.status, taken.lease, taken.takes, taken.due_at) == (Status.STORING, "me", 1, AT + 10)
    assert after(taken, Taken(OWN, "me", AT, until=Millis(AT + 20))).takes == 2
    assert reason_of(apply(taken, Taken(OWN, "you", Millis(AT + 10), until=DUE))) is Reason.BUSY
    assert after(taken, Taken(OWN, "you", Millis(AT + 11), until=DUE)).lease == "you"


def test_the_end_removes_the_hold_and_the_lease_and_keeps_what_was_known() -> None:
    storing = adopted(OWN, status=Status.STORING, lease="me", lease_until=DUE, logs="so far", percent=40)
    problem = Problem(Code.NSFW_CONTENT, "withheld")
    outcome = Outcome(status=Status.FAILED, completed_at=AT, cost=12, problem=problem)
    ended = after(storing, Settled(outcome=outcome, due_at=DUE, lease="me"))
    assert (ended.status, ended.hold, ended.lease, ended.lease_until) == (Status.FAILED, None, None, None)
    assert (ended.cost, ended.problem, ended.logs, ended.percent) == (12, problem, "so far", 40)
    assert ended.due_shard is not None


@pytest.mark.parametrize("event", [Adopted(OWN, DUE), AdoptedToCancel(OWN, DUE)])
def test_secrets_are_kept_until_the_prediction_is_known(event: Adopted) -> None:
    requested = AT if isinstance(event, AdoptedToCancel) else None
    waiting = job(status=Status.QUEUED, attempt=0, sealed="sealed")
    claimed = after(waiting, Claimed(1, AT, DUE))
    assert after(claimed, Unclear(1, AT, DUE)).sealed == after(claimed, Returned(1, DUE)).sealed == "sealed"
    assert after(replace(claimed, cancel_requested_at=requested), event).sealed is None


def test_secrets_do_not_outlive_the_job() -> None:
    outcome = Outcome(status=Status.CANCELED, completed_at=AT, cost=0)
    assert after(job(sealed="sealed"), Abandoned(outcome=outcome, due_at=DUE, attempt=1)).sealed is None


def test_requests_that_were_given_the_job_are_counted() -> None:
    assert after(after(job(), Joined()), Joined()).joined == 2


def test_a_job_leaves_the_due_index_only_when_it_is_archived() -> None:
    ended = job(status=Status.SUCCEEDED, hold=None)
    archived = after(ended, Archived(AT))
    assert (archived.archived_at, archived.due_at, archived.due_shard) == (AT, None, None)


def test_an_outcome_is_an_end() -> None:
    with pytest.raises(ValueError, match="storing"):
        Outcome(status=Status.STORING, completed_at=AT, cost=0)


def test_trainings_obey_the_same_rules() -> None:
    assert after(job(kind=Kind.TRAINING), CancelRequested(AT, DUE)).cancel_requested_at == AT


# What holds whatever happens


def check_step(before: Job, event: Event, after_it: Job) -> None:
    """Require what holds of every change, whatever has happened before."""
    if before.ended:
        content = () if isinstance(event, Purged) else ("files", "problem", "text")
        kept = ("status", "cost", "prediction_id", "completed_at", *content)
        assert all(getattr(after_it, name) == getattr(before, name) for name in kept), "an end is for good"
    assert before.prediction_id in {None, after_it.prediction_id}, "a job keeps its prediction"
    assert (after_it.percent or 0) >= (before.percent or 0), "progress does not go back"
    assert after_it.hold in {None, before.hold}, "a hold does not come back"
    assert after_it.attempt - before.attempt == isinstance(event, Claimed), "only a claim counts as an attempt"
    assert after_it.takes - before.takes == isinstance(event, Taken)
    if before.due_at is not None and after_it.due_at is None:
        is_over = after_it.archived_at is not None or after_it.purged_at is not None
        assert is_over, "a job is due until its manifest exists, or until everything has been removed"
    if after_it.ended and not before.ended:
        assert before.hold is not None, "only what holds money can be settled"
        assert after_it.hold is None
        assert after_it.completed_at is not None


@given(start=jobs(), happened=st.lists(events(), max_size=40))
def test_no_sequence_of_events_breaks_what_a_job_promises(start: Job, happened: list[Event]) -> None:
    current = start
    settlements = 0
    for event in happened:
        outcome = apply(current, event)
        if isinstance(outcome, Ignored):
            assert outcome.job == current
            continue
        check_step(current, event, outcome)
        settlements += current.hold is not None and outcome.hold is None
        current = outcome
    assert settlements <= 1


@given(start=jobs(), event=events())
def test_an_event_that_was_applied_changes_nothing_of_weight_when_it_comes_again(start: Job, event: Event) -> None:
    once = apply(start, event)
    if isinstance(once, Ignored):
        return
    twice = apply(once, event)
    if isinstance(twice, Job):
        assert (twice.status, twice.attempt, twice.prediction_id) == (once.status, once.attempt, once.prediction_id)
        assert (twice.hold, twice.cost, twice.files) == (once.hold, once.cost, once.files)
