"""Money is counted in whole micro-USD, and written without rounding."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.pricing import Price, Tariff, Unit, micro_usd, usd


@pytest.mark.parametrize(
    ("text", "micro"), [("0", 0), ("25", 25_000_000), ("0.50", 500_000), ("0.000001", 1), (" 12.5 ", 12_500_000)]
)
def test_an_amount_is_read(text: str, micro: int) -> None:
    assert micro_usd(text) == micro


@pytest.mark.parametrize("text", ["", ".", "-1", "-0.5", "1,5", "1e3", "0.0000001", "nan", "\u0661"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        micro_usd(text)


@given(st.integers(0, 10**14))
def test_what_is_written_reads_the_same(micro: int) -> None:
    assert micro_usd(usd(micro)) == micro


def test_images_cost_their_number_of_times_the_price() -> None:
    assert Price(3_000).of(images=4, seconds=9) == 12_000


def test_seconds_cost_what_they_took_rounded_up() -> None:
    assert Price(1_525, Unit.SECOND).of(images=4, seconds=2.0001) == 3_051
    assert Price(1_525, Unit.SECOND).of(images=4, seconds=0) == 0


def test_a_flat_price_is_for_what_has_run() -> None:
    flat = Price(10_000, Unit.PREDICTION)
    assert flat.of(images=0, seconds=0) == 10_000
    assert flat.of(images=4, seconds=9, has_run=False) == 0


@pytest.mark.parametrize(
    ("effort", "most", "seconds"), [(10, math.inf, 100), (10, 50, 50), (1, math.inf, 30), (1, 20, 20), (2.5, 99, 30)]
)
def test_an_estimate_of_seconds_is_neither_below_the_least_nor_above_the_most(
    effort: float, most: float, seconds: int
) -> None:
    tariff = Tariff(Price(7, Unit.SECOND), "2026-10", "made up", seconds=10, least_seconds=30)
    assert tariff.estimate(effort, most_seconds=most) == 7 * seconds


def test_an_estimate_of_images_counts_them_and_not_the_effort() -> None:
    assert Tariff(Price(7), "2026-10", "made up").estimate(9.5, images=2) == 14
    assert Tariff(Price(7, Unit.PREDICTION), "2026-10", "made up").estimate(9.5, images=2) == 7


def test_an_estimate_is_for_images_or_for_the_usual_seconds() -> None:
    assert Tariff(Price(3_000), "2026-10", "made up").estimate(4) == 12_000
    assert Tariff(Price(1_525, Unit.SECOND), "2026-10", "made up", seconds=1.2).estimate(1_000) == 1_830_000
