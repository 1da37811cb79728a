"""The pace of a goal by whole months, the straight line that follows from it, and why there is none."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.goals.projection import (
    FURTHEST_DAYS,
    Pace,
    completion_date,
    months_before,
    no_pace,
    pace_days,
    pace_of,
    project,
)

DAY = timedelta(days=1)
BEGAN = date(2026, 1, 1)
# Two years with a 29th of February, after three whole months.
DAYS = [date(2027, 4, 1) + n * DAY for n in range(731)]
C = 60_000
amounts = st.integers(-(10**12), 10**12)
days = st.dates(date(1950, 1, 1), date(2110, 1, 1))


def pace(trend: int | None, trend_days: int = 30, contributed: int = 0, months: int = 1) -> Pace:
    """A pace up to March 9; None for one that rests on nothing."""
    through = date(2026, 3, 9)
    return no_pace(through) if trend is None else Pace(through, trend, trend_days, contributed, months)


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        ("2026-03-09", 1, "2026-02-09"),
        ("2026-03-09", 3, "2025-12-09"),
        ("2026-03-28", 1, "2026-02-28"),
        ("2026-03-29", 1, "2026-02-28"),
        ("2026-03-31", 1, "2026-02-28"),
        ("2028-03-29", 1, "2028-02-29"),
        ("2028-03-30", 1, "2028-02-29"),
        ("2026-02-27", 1, "2026-01-27"),
        ("2026-02-28", 1, "2026-01-31"),
        ("2028-02-28", 1, "2028-01-28"),
        ("2028-02-29", 1, "2028-01-31"),
        ("2026-04-30", 1, "2026-03-31"),
        ("2026-04-30", 2, "2026-02-28"),
        ("2026-04-30", 3, "2026-01-31"),
        ("2026-04-29", 2, "2026-02-28"),
        ("2026-01-31", 1, "2025-12-31"),
    ],
)
def test_a_month_before_is_the_same_day_and_month_ends_are_held(day: str, months: int, expected: str) -> None:
    """The last day of a month is that of the earlier month; a day that the earlier month lacks is its last day."""
    assert months_before(date.fromisoformat(day), months) == date.fromisoformat(expected)


@given(days)
def test_whole_months_have_each_of_the_days_1_to_28_once(through: date) -> None:
    """Of the days 1 to 28 of a month each is in it exactly once, wherever it ends; so are they in two and in three."""
    for months in (1, 2, 3):
        begin = months_before(through, months)
        within = [begin + n * DAY for n in range(1, (through - begin).days + 1)]
        assert 28 * months <= len(within) <= 31 * months
        for number in range(1, 29):
            assert sum(day.day == number for day in within) == months


@pytest.mark.parametrize(
    ("start", "through", "months"),
    [
        ("2026-03-09", "2026-03-08", 0),
        ("2026-03-09", "2026-03-09", 0),
        ("2026-02-10", "2026-03-09", 0),
        ("2026-02-09", "2026-03-09", 1),
        ("2026-01-10", "2026-03-09", 1),
        ("2026-01-09", "2026-03-09", 2),
        ("2025-12-09", "2026-03-09", 3),
        ("2000-01-01", "2026-03-09", 3),
        ("2026-02-01", "2026-02-28", 0),
        ("2026-01-31", "2026-02-28", 1),
        ("2026-02-28", "2026-03-30", 1),
    ],
)
def test_a_month_is_whole_once_the_goal_has_a_close_at_its_begin(start: str, through: str, months: int) -> None:
    """None before that, and never more than three."""
    found = pace_days(date.fromisoformat(start), date.fromisoformat(through))
    assert (0 if found is None else found.months) == months
    if found is not None:
        assert date.fromisoformat(start) <= found.begin <= found.month_begin < found.through


def paydays(first: date, every: int) -> Iterator[date]:
    """Every so many days, up to the last of the days."""
    while first <= DAYS[-1]:
        yield first
        first += every * DAY


def monthly(day: int, *, moved: bool = False) -> Iterator[date]:
    """That day of each month, or the last one that there is; moved from a weekend to the Friday before."""
    for month in range(48):
        first = date(2026 + month // 12, month % 12 + 1, 1)
        payday = first.replace(day=min(day, monthrange(first.year, first.month)[1]))
        if moved and payday.weekday() > 4:
            payday -= (payday.weekday() - 4) * DAY
        yield payday


def paces(contributions: Iterable[date], start: date = BEGAN) -> Iterator[Pace]:
    """The pace on each of the days if C came on each day of contribution, and nothing else moved the amount."""
    came = set(contributions)
    close, total, day = {}, 0, start
    while day <= DAYS[-1]:
        total += C * (day in came)
        close[day] = total
        day += DAY
    for through in DAYS:
        own = pace_days(start, through)
        assert own is not None
        yield pace_of(own, 1, close[own.through], close[own.month_begin], close[own.begin], 0)


@pytest.mark.parametrize("every", [7, 14])
def test_what_comes_every_week_or_two_is_a_months_worth_within_one_contribution(every: int) -> None:
    """On any day of two years, whatever day of the week it is; so is the trend of the last month."""
    worth = Fraction(C * 36_525, 1_200 * every)
    for offset in range(every):
        for each in paces(paydays(BEGAN + offset * DAY, every)):
            assert each.trend_days is not None
            assert abs((each.monthly_minor or 0) - worth) <= C
            assert abs((each.trend_minor or 0) - worth * each.trend_days * 1_200 / 36_525) <= C


@pytest.mark.parametrize("day", [1, 2, 14, 15, 27, 28])
def test_what_comes_every_month_is_exactly_that(day: int) -> None:
    """On any day of two years, both in the last month and on average of the last three."""
    for each in paces(monthly(day)):
        assert (each.monthly_minor, each.trend_minor, each.contribution_months) == (C, C, 3)


@pytest.mark.parametrize(("day", "moved"), [(1, True), (15, True), (28, True), (29, False), (30, True), (31, False)])
def test_a_payday_that_moves_is_within_one_contribution(day: int, moved: bool) -> None:
    """Weekends move it, or months that lack it; in three months that makes a third of a contribution at most."""
    for each in paces(monthly(day, moved=moved)):
        assert abs((each.monthly_minor or 0) - C) <= C // 3
        assert abs((each.trend_minor or 0) - C) <= C


def test_nine_goals_with_other_paydays_have_one_pace() -> None:
    """600.00 on one day of each month: on any day all are at 600.00 a month, and the same number of days away."""
    for goals in zip(*(paces(monthly(day)) for day in range(1, 28, 3)), strict=True):
        assert len(goals) == 9
        found = {(each.monthly_minor, project(1_200_000, each, BEGAN).days) for each in goals}
        assert found == {(C, 20 * (goals[0].trend_days or 0))}


@pytest.mark.parametrize(
    ("contributed", "months", "monthly"), [(0, 0, None), (0, 1, 0), (200, 3, 66), (-200, 3, -66), (-1, 2, 0), (7, 1, 7)]
)
def test_the_mean_of_months_is_cut_towards_zero(contributed: int, months: int, monthly: int | None) -> None:
    """Of no months there is none."""
    assert pace(None if months == 0 else 5, contributed=contributed, months=months).monthly_minor == monthly


def test_what_was_not_contributed_is_left_out() -> None:
    """The example of the docstring, and a debt of which 600.00 a month is paid while interest adds 15.00."""
    own = pace_days(date(2020, 1, 1), date(2026, 3, 9))
    assert own is not None
    saved = pace_of(own, 1, 284_500, 222_500, 100_000, 4_500)
    assert (saved.trend_minor, saved.contributed_minor, saved.monthly_minor) == (62_000, 180_000, 60_000)
    debt = pace_of(own, -1, 824_500, 883_000, 1_000_000, -4_500)
    assert (debt.trend_minor, debt.contributed_minor, debt.monthly_minor) == (58_500, 180_000, 60_000)


def test_the_worked_examples() -> None:
    """1,000.00 in a month of 30 days leave 63 days for 2,100.00; 900.00 in 28 days leave 140 days for 4,500.00."""
    last = pace(90_000, 28)
    assert completion_date(project(450_000, last, BEGAN), last.through) == datetime(2026, 7, 28, tzinfo=UTC)
    assert project(210_000, pace(100_000), BEGAN).days == 63
    assert project(210_001, pace(100_000), BEGAN).days == 64


@pytest.mark.parametrize(
    ("trend", "start", "left", "note"),
    [
        (None, date(2026, 2, 25), 5, "too little history: 12 days of at least one month"),
        (None, date(2026, 3, 8), 5, "too little history: 1 day of at least one month"),
        (None, date(2026, 3, 10), 5, "too little history: 0 days of at least one month"),
        (0, BEGAN, 5, "no movement in the last month"),
        (-1, BEGAN, 5, "the last month led away from the target, or nowhere"),
        (1, BEGAN, 5_000, "further than 100 years away at the rate of the last month"),
        (1, BEGAN, 1_000, None),
        (1, BEGAN, 0, "the goal is reached"),
        (None, BEGAN, -5, "the goal is reached"),
    ],
)
def test_it_says_why_there_is_no_date(trend: int | None, start: date, left: int, note: str | None) -> None:
    """Too few days, no movement, a fall, a rise that is too slow, or reached already: a note and no date."""
    projection = project(left, pace(trend), start)
    assert projection.note == note
    assert (projection.days is None) == (note is not None)


@given(amounts, st.integers(28, 31), amounts)
def test_the_days_are_those_of_the_exact_line(trend: int, trend_days: int, left: int) -> None:
    """By exact fractions: the line gets there on that day and not the day before."""
    projection = project(left, pace(trend, trend_days), BEGAN)
    slope = Fraction(trend, trend_days)
    if left <= 0 or slope <= 0 or left / slope > FURTHEST_DAYS:
        assert projection.days is None
        assert projection.note is not None
    else:
        assert projection.days is not None
        assert (projection.days - 1) * slope < left <= projection.days * slope
