"""What happened to a job is told by time, and what callers wrote is not repeated."""

from shared.history import Moment, history_of, without_input
from shared.job import Millis, Status
from tests.support.world import START, job


def test_the_moments_of_a_life_are_told_by_time() -> None:
    one = job(
        status=Status.CANCELED,
        attempt=2,
        claimed_at=Millis(START + 2),
        started_at=Millis(START + 3),
        deadline_hit_at=Millis(START + 5),
        cancel_requested_at=Millis(START + 5),
        completed_at=Millis(START + 6),
        archived_at=Millis(START + 7),
        deleted_at=Millis(START + 8),
        purged_at=Millis(START + 9),
    )
    assert history_of(one) == [
        Moment(START, "accepted"),
        Moment(Millis(START + 2), "attempt 2 claimed, to be sent to Replicate"),
        Moment(Millis(START + 3), "Replicate began to work on it"),
        Moment(Millis(START + 5), "its deadline passed"),
        Moment(Millis(START + 5), "cancel requested"),
        Moment(Millis(START + 6), "canceled"),
        Moment(Millis(START + 7), "manifest written"),
        Moment(Millis(START + 8), "deleted by its owner"),
        Moment(Millis(START + 9), "all that it held removed"),
    ]


def test_an_attempt_without_an_answer_is_told() -> None:
    one = job(unclear_at=Millis(START + 1))
    assert [moment.what for moment in history_of(one)][-1] == "attempt 1 ended without a clear answer"


def test_a_text_repeats_nothing_of_the_input() -> None:
    given = {"prompt": "a fox", "extra": [{"who": "a fox in the snow"}], "n": 5, "short": "fox"}
    said = without_input("'a fox in the snow' and a fox and a foxglove are no fox", job(input=given))
    assert said == "'[input]' and [input] and [input]glove are no fox"
