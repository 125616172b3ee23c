"""Replicate's documents are read tolerantly: whatever else is odd, an id and a status are enough."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Code
from shared.job import Status
from shared.prediction import LOGS_KEPT, VERDICTS, decode_document, parse_prediction, problem_of
from tests.support.replicate import prediction, training

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_NAMES = [
    "output",
    "created_at",
    "error",
    "logs",
    "metrics",
    "started_at",
    "completed_at",
    "data_removed",
    "model",
    "version",
    "input",
    "webhook",
]


@given(odd=st.dictionaries(st.sampled_from(_NAMES), _values))
def test_no_other_field_hinders_reading(odd: dict[str, Any]) -> None:
    read = parse_prediction({"id": "p1", "status": "processing", **odd})
    assert (read.id, read.status) == ("p1", "processing")
    assert read.percent is None or 0 <= read.percent <= 100
    assert read.error is None or isinstance(read.error, str)
    assert read.seconds is None or 0 <= read.seconds < math.inf
    assert read.has_run in {True, False}


@given(document=_values)
def test_what_is_no_prediction_is_an_error_of_one_kind(document: Any) -> None:
    with pytest.raises(ValueError, match="not a prediction"):
        parse_prediction(document)


@pytest.mark.parametrize(
    ("given_time", "at"),
    [
        ("2026-11-01T12:00:02.000Z", 1_793_534_402_000),
        ("2026-11-01T12:00:02Z", 1_793_534_402_000),
        ("2026-11-01T12:00:02.123456Z", 1_793_534_402_123),
        ("2026-11-01T13:00:02+01:00", 1_793_534_402_000),
        ("2026-11-01T12:00:02", 1_793_534_402_000),
        ("yesterday", None),
        ("", None),
        (None, None),
        (1_793_534_402, None),
    ],
)
def test_times_are_read_in_every_form(given_time: Any, at: int | None) -> None:
    assert parse_prediction(prediction(completed_at=given_time)).completed_at == at


@pytest.mark.parametrize(
    ("logs", "percent"),
    [
        ("", None),
        ("loading", None),
        (" 43%|████▎     | 12/28 [00:01<00:01, 10.4it/s]", 43),
        ("  0%|          | 0/28", 0),
        ("100%|██████████| 28/28", 100),
        (" 4%|\r 50%|\r 75%|", 75),
        ("Progress: 50%", 50),
        ("Progress: 50%\nProgress: 75%", 75),
        ("999%|", 100),
        ("1234%|", None),
        ("50% of all", None),
    ],
)
def test_progress_is_the_last_that_the_logs_tell(logs: str, percent: int | None) -> None:
    assert parse_prediction(prediction(logs=logs)).percent == percent


TRAINING_LOGS = """
Downloading weights: 100%|██████████| 3.2G/3.2G [00:09<00:00, 341MB/s]
Fetching 24 files: 100%|██████████| 24/24 [00:00<00:00, 201.4it/s]
caching latents: 100%|██████████| 12/12 [00:04<00:00,  2.71it/s]
"""
OWN_BAR = "flux_train_replicate:  43%|████▎     | 430/1000 [02:13<02:57,  3.21it/s, lr: 4.0e-04 loss: 3.545e-01]"


@pytest.mark.parametrize(
    ("logs", "steps", "percent"),
    [
        (TRAINING_LOGS, 1000, None),
        (TRAINING_LOGS + OWN_BAR, 1000, 43),
        (OWN_BAR + TRAINING_LOGS, 1000, 43),
        (TRAINING_LOGS + OWN_BAR + "\rsaving: 100%|███| 1/1 [00:01<00:00]", 1000, 43),
        (OWN_BAR + "\r" + OWN_BAR.replace("43%", "44%").replace("430", "440"), 1000, 44),
        (OWN_BAR, 100, None),
        (OWN_BAR, 10_000, None),
        ("43%|####", 1000, None),
        ("Progress: 50%", 1000, 50),
        ("Progress: 50%\n" + OWN_BAR, 1000, 43),
        (TRAINING_LOGS, None, 100),
        (TRAINING_LOGS + OWN_BAR, None, 43),
        (OWN_BAR, "1000", 43),
        (OWN_BAR, True, 43),
        (OWN_BAR, 1000.5, 43),
    ],
)
def test_the_progress_of_a_training_is_that_of_its_steps(logs: str, steps: Any, percent: int | None) -> None:
    document = training(logs=logs, input={"trigger_word": "FOXY", "steps": steps})
    assert parse_prediction(document).percent == percent


def test_without_an_input_any_bar_counts() -> None:
    odd: Any
    for odd in (None, [], "steps", {}):
        assert parse_prediction(training(logs=TRAINING_LOGS, input=odd)).percent == 100


def test_of_long_logs_the_end_is_kept() -> None:
    read = parse_prediction(prediction(logs="x" * 100_000 + "the end"))
    assert len(read.logs) == LOGS_KEPT
    assert read.logs.endswith("the end")


@pytest.mark.parametrize(
    ("status", "ends"),
    [
        ("starting", None),
        ("processing", None),
        ("succeeded", Status.SUCCEEDED),
        ("failed", Status.FAILED),
        ("canceled", Status.CANCELED),
        ("aborted", Status.CANCELED),
        ("paused", None),
        ("SUCCEEDED", None),
    ],
)
def test_an_end_is_known_by_its_status_alone(status: str, ends: Status | None) -> None:
    read = parse_prediction(prediction(status=status))
    assert read.ended is (ends is not None)
    assert VERDICTS.get(status) is ends


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("All generated images contained NSFW content. Try running it again", Code.NSFW_CONTENT),
        ("nsfw content detected", Code.NSFW_CONTENT),
        ("CUDA out of memory. Tried to allocate", Code.OUT_OF_MEMORY),
        ("E1001", Code.OUT_OF_MEMORY),
        ("E1000", Code.UPSTREAM_FAILED),
        ("", Code.UPSTREAM_FAILED),
        (None, Code.UPSTREAM_FAILED),
    ],
)
def test_a_failure_has_a_code_and_replicates_words(error: str | None, code: Code) -> None:
    problem = problem_of(parse_prediction(prediction(status="failed", error=error)))
    assert problem.code is code
    assert problem.detail
    if error:
        assert problem.detail == error


STARTED, ENDED = "2026-11-01T12:00:02.000Z", "2026-11-01T12:00:09.500Z"


@pytest.mark.parametrize(
    ("fields", "seconds", "has_run"),
    [
        ({}, None, False),
        ({"metrics": {"predict_time": 1.5}}, 1.5, True),
        ({"metrics": {"predict_time": 0}}, 0, False),
        ({"metrics": {"predict_time": 1.5}, "started_at": STARTED, "completed_at": ENDED}, 1.5, True),
        ({"metrics": {"predict_time": -1.5}, "started_at": STARTED, "completed_at": ENDED}, 7.5, True),
        ({"started_at": STARTED, "completed_at": ENDED}, 7.5, True),
        ({"started_at": STARTED}, None, True),
        ({"completed_at": ENDED}, None, False),
        ({"started_at": ENDED, "completed_at": STARTED}, None, True),
    ],
)
def test_how_long_it_ran_is_measured_or_told_by_its_times(
    fields: dict[str, Any], seconds: float | None, *, has_run: bool
) -> None:
    read = parse_prediction(prediction(**fields))
    assert (read.seconds, read.has_run) == (seconds, has_run)


@pytest.mark.parametrize("odd", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_are_none_are_null(odd: str) -> None:
    decoded = decode_document(f'{{"a": [{odd}, 1.5], "text": "half \\ud83d NaN"}}'.encode())
    assert decoded["a"] == [None, 1.5]
    json.dumps(decoded, allow_nan=False)


def test_an_error_keeps_no_signature_of_a_url_that_it_names() -> None:
    signed = "https://bucket.s3.amazonaws.com/inputs/a/0.png?X-Amz-Algorithm=AWS4&X-Amz-Signature=abc"
    read = parse_prediction(prediction(error=f"404 Client Error for url: {signed}", logs=f'cannot read "{signed}" now'))
    assert read.error == "404 Client Error for url: https://bucket.s3.amazonaws.com/inputs/a/0.png"
    assert read.logs == 'cannot read "https://bucket.s3.amazonaws.com/inputs/a/0.png" now'
    harmless = "see https://example.com/?q=1"
    assert parse_prediction(prediction(error=harmless)).error == harmless
