"""Ids sort like the time they were made at, and times can be found among them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.identifiers import canonical, fingerprint, ids_between, is_job_id, new_job_id
from shared.job import Millis

_times = st.integers(0, 2**48 - 2).map(Millis)


@given(_times)
def test_an_id_is_one_and_no_two_are_alike(at: Millis) -> None:
    one, other = new_job_id(at), new_job_id(at)
    assert is_job_id(one)
    assert one != other


@given(_times, _times)
def test_ids_sort_like_their_times(one: Millis, other: Millis) -> None:
    if one != other:
        assert (new_job_id(one) < new_job_id(other)) == (one < other)


@given(_times, st.integers(0, 10**9), st.integers(-(10**9), 2 * 10**9))
def test_the_ids_of_a_time_lie_between_its_bounds(first: Millis, length: int, offset: int) -> None:
    last = Millis(min(first + length, 2**48 - 2))
    at = Millis(min(max(0, first + offset), 2**48 - 2))
    low, high = ids_between(first, last)
    assert (low <= new_job_id(at) <= high) == (first <= at <= last)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "0" * 25,
        "0" * 27,
        "8" + "0" * 25,
        "z" * 26,
        "O" * 26,
        "i" * 26,
        "\u0660" * 26,
        "0" * 25 + "\n",
        "../" * 9,
    ],
)
def test_what_can_be_no_id_is_none(text: str) -> None:
    assert not is_job_id(text)


@pytest.mark.parametrize("text", ["0" * 26, "7" + "z" * 25, "01jbm3sfr0abcdefghjkmnpqrs"])
def test_what_can_be_an_id_is_one(text: str) -> None:
    assert is_job_id(text)


def test_a_fingerprint_is_equal_for_equal_values_only() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    different = [
        fingerprint("k", 1), fingerprint("k\n1"), fingerprint("k", "1"), fingerprint(["k", 1]), fingerprint("k"),
        fingerprint("k", True), fingerprint("k", None), fingerprint("k", 1.5), fingerprint(),
    ]  # fmt: skip
    assert len(set(different)) == len(different)


def test_canonical_json_takes_any_text() -> None:
    assert canonical({"b": "\u00e9", "a": "\ud800"}).startswith(b'{"a":"')
