"""The documented projection: a straight line in whole numbers, and why there is none."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.goals.projection import FEWEST_DAYS, FURTHEST_DAYS, WINDOW_DAYS, project

amounts = st.integers(-(10**12), 10**12)


def test_the_worked_example() -> None:
    """100.00 a day leave 21 days from 2,900.00 to 5,000.00, and a debt that falls by as much takes as long."""
    rising = [10_000 * day for day in range(30)]
    assert project(1, 500_000, 290_000, rising).days == 21
    assert project(-1, 0, 210_000, [500_000 - close for close in rising]).days == 21


def test_the_monthly_rise_of_the_worked_example() -> None:
    """100.00 a day are 3,043.75 in a month of 365.25 / 12 days, towards the finish of either kind or away from it."""
    rising = [10_000 * day for day in range(30)]
    falling = [500_000 - close for close in rising]
    assert project(1, 500_000, 290_000, rising).monthly_minor == 304_375
    assert project(-1, 0, 210_000, falling).monthly_minor == 304_375
    assert project(1, 500_000, 210_000, falling).monthly_minor == -304_375


@pytest.mark.parametrize(
    ("closes", "monthly"),
    [
        ([0] * 6, None),
        ([], None),
        ([5] * 7, 0),
        ([0, 0, 0, 0, 0, 0, 1], 3),  # 3.26, cut
        ([1, 0, 0, 0, 0, 0, 0], -3),
        ([0] * 15 + [1] + [0] * 14, 0),  # 0.006
        ([1, 2, 3, 4, 3, 2, 1], 0),
    ],
)
def test_a_monthly_rise_needs_seven_days_and_is_cut_towards_zero(closes: list[int], monthly: int | None) -> None:
    """With fewer than seven days there is none; it is 0 while nothing moves; a reached goal keeps its own."""
    assert project(1, 100, 1, closes).monthly_minor == monthly
    assert project(1, 100, 100, closes).monthly_minor == monthly


def test_only_the_last_thirty_days_count() -> None:
    """What happened before the window changes nothing."""
    window = [3 * day for day in range(WINDOW_DAYS)]
    assert project(1, 1_000, 87, [10**9, 0, *window]) == project(1, 1_000, 87, window)


@pytest.mark.parametrize(
    ("closes", "amount", "note"),
    [
        ([1, 2, 3], 3, "too little history: 3 of at least 7 closed days"),
        ([], 3, "too little history: 0 of at least 7 closed days"),
        ([5] * 30, 5, "no movement in the last 30 days"),
        (list(range(30, 0, -1)), 1, "the last 30 days led away from the target, or nowhere"),
        ([1, 2, 3, 4, 3, 2, 1], 1, "the last 7 days led away from the target, or nowhere"),
        ([0] * 29 + [1], 1, None),
        (list(range(8)), 100, "the goal is reached"),
    ],
)
def test_it_says_why_there_is_no_date(closes: list[int], amount: int, note: str | None) -> None:
    """Too few days, no movement, a fall, no rise, or reached already: a note and no date."""
    projection = project(1, 100, amount, closes)
    assert projection.note == note
    assert (projection.days is None) == (note is not None)


@given(st.lists(amounts, min_size=FEWEST_DAYS, max_size=40), amounts, amounts, st.sampled_from([1, -1]))
def test_the_days_are_those_of_the_exact_least_squares_line(
    closes: list[int], finish: int, amount: int, direction: int
) -> None:
    """By exact fractions: the line gets there on that day and not the day before."""
    projection = project(direction, finish, amount, closes)
    window = [Fraction(close) for close in closes[-WINDOW_DAYS:]]
    mean_day, mean = Fraction(len(window) - 1, 2), sum(window) / len(window)
    slope = sum((day - mean_day) * (close - mean) for day, close in enumerate(window)) / sum(
        (day - mean_day) ** 2 for day in range(len(window))
    )
    assert projection.monthly_minor == int(direction * slope * Fraction(36_525, 1_200))
    left = direction * (finish - amount)
    if left <= 0 or direction * slope <= 0 or left / (direction * slope) > FURTHEST_DAYS:
        assert projection.days is None
        assert projection.note is not None
    else:
        assert projection.days is not None
        assert (projection.days - 1) * direction * slope < left <= projection.days * direction * slope
