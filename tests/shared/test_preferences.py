"""What callers ask for in headers of ours, and what clients count in theirs."""

import pytest

from shared.errors import Code, Refusal
from shared.preferences import retry_count, wants_reuse


@pytest.mark.parametrize(
    ("header", "wanted"), [("true", True), ("TRUE", True), (" true ", True), ("false", False), ("False", False)]
)
def test_reuse_is_wanted_or_not(header: str, *, wanted: bool) -> None:
    assert wants_reuse({"afterimage-reuse": header}) is wanted


def test_reuse_is_never_the_default() -> None:
    assert wants_reuse({}) is False


@pytest.mark.parametrize("header", ["", "1", "yes", "on", "true;", "true, true", "null", "tru", "x" * 5_000])
def test_what_is_neither_is_refused_and_not_repeated(header: str) -> None:
    with pytest.raises(Refusal) as refused:
        wants_reuse({"afterimage-reuse": header})
    assert refused.value.code is Code.INVALID_INPUT
    assert [one.field for one in refused.value.invalid_fields] == ["Afterimage-Reuse"]
    assert len(refused.value.detail) < 100


@pytest.mark.parametrize(("header", "count"), [("0", 0), ("1", 1), ("12", 12), ("007", 7)])
def test_the_retries_of_a_client_are_read(header: str, count: int) -> None:
    assert retry_count({"x-stainless-retry-count": header}) == count


@pytest.mark.parametrize("header", ["", "-1", "1.0", " 1", "x", "\u0661", "\u00b2", "9" * 40])
def test_what_is_no_count_counts_nothing(header: str) -> None:
    assert retry_count({"x-stainless-retry-count": header}) == 0
    assert retry_count({}) == 0
