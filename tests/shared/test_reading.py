"""Reading for the owner: what callers prefer, how long they are held, and what is theirs."""

from dataclasses import replace
from typing import Any

import pytest

from shared.errors import Code, Contended, Refusal
from shared.job import Job, Kind, Status
from shared.preferences import Preference, parse_cancel_after, parse_preference
from shared.reading import LONGEST_STEP_S, MARGIN_S, Waiter, find_own
from tests.support.world import ALICE, BOB, START, Clock, job

# Headers


@pytest.mark.parametrize(
    ("header", "seconds", "applied"),
    [
        ("wait", 60, "wait=60"),
        ("wait=5", 5, "wait=5"),
        ("Wait = 5", 5, "wait=5"),
        ('wait="5"', 5, "wait=5"),
        ("wait=0", 0, "wait=0"),
        ("respond-async, wait=10", 10, "wait=10"),
        ("handling=lenient; wait=7", 7, "wait=7"),
        ("respond-async", 0, "respond-async"),
        ("Respond-Async", 0, "respond-async"),
        ("return=minimal, respond-async", 0, "respond-async"),
        ("", 0, None),
        ("waiter", 0, None),
        ("await=5", 0, None),
        ("wait=-5", 0, None),
        ("wait=x", 0, None),
        ("wait=1234567", 0, None),
        ("no-respond-async", 0, None),
    ],
)
def test_prefer_is_read_as_replicate_reads_it(header: str, seconds: int, applied: str | None) -> None:
    assert parse_preference({"prefer": header}) == Preference(seconds, applied)


def test_without_the_header_nothing_is_preferred() -> None:
    assert parse_preference({}) == Preference(0, None)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5", 5),
        ("90", 90),
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5_400),
        ("1h1m1s", 3_661),
        (" 24h ", 86_400),
        ("86400", 86_400),
        ("0h0m5s", 5),
    ],
)
def test_a_deadline_is_read(header: str, seconds: int) -> None:
    assert parse_cancel_after({"cancel-after": header}) == seconds


@pytest.mark.parametrize(
    "header",
    ["", " ", "0", "4", "4s", "24h1s", "86401", "-5", "5 s", "5d", "m", "1.5h", "30m1h", "\u0665\u0665", "1e3", "soon"],
)
def test_a_deadline_that_is_none_is_refused(header: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse_cancel_after({"cancel-after": header})
    assert refused.value.code is Code.INVALID_INPUT
    assert [one.field for one in refused.value.invalid_fields] == ["Cancel-After"]
    assert "Cancel-After" in refused.value.detail


def test_no_deadline_is_none() -> None:
    assert parse_cancel_after({}) is None


# Waiting


class Store:
    """Jobs, read one answer after the other; an exception is what the table raises."""

    def __init__(self, *answers: Job | Exception | None) -> None:
        self._answers = list(answers)
        self.reads = 0

    def get(self, _: str) -> Job | None:
        self.reads += 1
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(found, Exception):
            raise found
        return found


class Held:
    """A request that is held on a clock of its own."""

    def __init__(self, store: Store, most_seconds: int = 25) -> None:
        self.clock = Clock()
        self.sleeps: list[float] = []
        jobs: Any = store
        self.waiter = Waiter(jobs, most_seconds=most_seconds, now=self.clock, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.clock.go_on(seconds)

    def wait(self, one: Job, seconds: int, *, late_s: float = 0) -> Job:
        self.clock.go_on(late_s)
        return self.waiter.wait(one, Preference(seconds, None), START)

    @property
    def held_s(self) -> float:
        return (self.clock() - START) / 1000


def over(one: Job) -> Job:
    return replace(one, status=Status.SUCCEEDED)


def test_the_job_is_given_as_soon_as_it_has_ended() -> None:
    one = job()
    held = Held(Store(one, one, over(one)))
    assert held.wait(one, 60) == over(one)
    assert held.held_s < 1
    assert len(held.sleeps) == 3


@pytest.mark.parametrize(("seconds", "most", "at_most_s"), [(10, 25, 9), (60, 25, 24), (3, 25, 2), (60, 2, 1)])
def test_nobody_is_held_longer_than_wished_or_allowed(seconds: int, most: int, at_most_s: float) -> None:
    one = job()
    held = Held(Store(replace(one, percent=50)), most)
    assert held.wait(one, seconds).percent == 50, "as it is by then"
    assert at_most_s - LONGEST_STEP_S <= held.held_s < at_most_s
    assert max(held.sleeps) <= LONGEST_STEP_S
    assert MARGIN_S == 1


@pytest.mark.parametrize("seconds", [0, 1])
def test_who_does_not_wait_is_answered_without_a_read(seconds: int) -> None:
    store = Store(job())
    held = Held(store)
    held.wait(job(), seconds)
    assert (store.reads, held.sleeps) == (0, [])


def test_the_time_counts_from_when_the_request_came() -> None:
    held = Held(Store(job()))
    held.wait(job(), 60, late_s=23)
    assert held.held_s < 24


def test_a_job_that_has_ended_is_not_waited_for() -> None:
    store = Store(job())
    assert Held(store).wait(over(job()), 60).status is Status.SUCCEEDED
    assert store.reads == 0


def test_a_table_that_is_busy_is_no_reason_to_give_no_answer() -> None:
    one = job()
    held = Held(Store(Contended("x"), one, Contended("x"), over(one)))
    assert held.wait(one, 60) == over(one)
    always = Held(Store(Contended("x")))
    assert always.wait(one, 5) == one
    assert always.held_s > 3


def test_a_bug_is_not_hidden_by_waiting() -> None:
    with pytest.raises(KeyError):
        Held(Store(KeyError("x"))).wait(job(), 60)


def test_a_job_that_vanishes_is_given_as_it_was() -> None:
    one = job()
    assert Held(Store(None)).wait(one, 5) == one


# Several at once


class Shelf:
    """Jobs by their ids, as they are at each read of several; an exception is what the table raises."""

    def __init__(self, *reads: list[Job] | Exception) -> None:
        self._reads = list(reads)
        self.asked: list[list[str]] = []

    def get_many(self, job_ids: list[str]) -> list[Job]:
        self.asked.append(list(job_ids))
        found = self._reads.pop(0) if len(self._reads) > 1 else self._reads[0]
        if isinstance(found, Exception):
            raise found
        return [one for one in found if one.id in job_ids]


def held(shelf: Shelf, jobs: list[Job], seconds: int) -> tuple[dict[str, Job], float]:
    """Wait for jobs on a clock of its own; also gives for how long."""
    clock = Clock()
    store: Any = shelf
    waiter = Waiter(store, most_seconds=25, now=clock, sleep=clock.go_on)
    return waiter.wait_for_all(jobs, Preference(seconds, None), START), (clock() - START) / 1000


def test_several_jobs_are_given_as_soon_as_all_have_ended() -> None:
    one, two = job(), job()
    shelf = Shelf([one, two], [over(one), two], [over(one), over(two)])
    found, seconds = held(shelf, [one, two], 60)
    assert found == {one.id: over(one), two.id: over(two)}
    assert seconds < 1
    assert shelf.asked == [[one.id, two.id], [one.id, two.id], [two.id]], "what has ended is not asked for again"


def test_several_jobs_are_given_as_they_are_when_the_time_is_over() -> None:
    one, two = job(), job()
    found, seconds = held(Shelf([over(one), two]), [one, two], 10)
    assert found == {one.id: over(one), two.id: two}
    assert 9 - LONGEST_STEP_S <= seconds < 9


@pytest.mark.parametrize("seconds", [0, 1])
def test_several_jobs_are_given_at_once_if_nobody_waits(seconds: int) -> None:
    shelf, one = Shelf([]), job()
    assert held(shelf, [one], seconds) == ({one.id: one}, 0)
    assert shelf.asked == []


def test_jobs_that_vanish_or_cannot_be_read_are_given_as_they_were() -> None:
    one, two = job(), over(job())
    found, _ = held(Shelf(Contended("x"), []), [one, two], 3)
    assert found == {one.id: one, two.id: two}
    with pytest.raises(KeyError):
        held(Shelf(KeyError("x")), [one], 3)


# Whose it is


def find(found: Job | None, job_id: str) -> Job:
    jobs: Any = Store(found)
    return find_own(jobs, job_id, ALICE)


def test_ones_own_job_is_found() -> None:
    one = job()
    assert find(one, one.id) == one


@pytest.mark.parametrize(("wanted", "kind"), [(Kind.TRAINING, Kind.PREDICTION), (Kind.PREDICTION, Kind.TRAINING)])
def test_a_job_of_another_kind_is_not_found_where_one_kind_is_asked_for(wanted: Kind, kind: Kind) -> None:
    one = job(kind=kind)
    jobs: Any = Store(one)
    with pytest.raises(Refusal) as refused:
        find_own(jobs, one.id, ALICE, wanted)
    assert str(refused.value) == f"not_found: There is no {wanted} {one.id!r}."
    assert find_own(jobs, one.id, ALICE, kind) == find_own(jobs, one.id, ALICE) == one


@pytest.mark.parametrize("changes", [{"tenant": BOB}, {"deleted_at": START}, None])
def test_what_is_not_ones_own_looks_as_if_it_did_not_exist(changes: dict[str, Any] | None) -> None:
    one = job()
    with pytest.raises(Refusal) as refused:
        find(None if changes is None else replace(one, **changes), one.id)
    assert str(refused.value) == f"not_found: There is no prediction {one.id!r}."


@pytest.mark.parametrize("job_id", ["", "x", "0" * 27, "O" * 26, "../" * 9, "0" * 5_000])
def test_what_is_no_id_is_not_even_looked_for(job_id: str) -> None:
    jobs: Any = (store := Store(job()))
    with pytest.raises(Refusal) as refused:
        find_own(jobs, job_id, ALICE)
    assert (store.reads, refused.value.code) == (0, Code.NOT_FOUND)
    assert len(refused.value.detail) < 120
