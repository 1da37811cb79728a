"""The amount needed each month is exact and counts months by the calendar; when a goal is on track."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.goals.projection import Due, is_on_track, monthly_target, months_until

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DUE = date(2026, 12, 31)
YESTERDAY = NOW.date() - timedelta(days=1)
days = st.dates(date(1990, 1, 1), date(2110, 1, 1))


@pytest.mark.parametrize(
    ("today", "due", "months"),
    [
        ("2025-11-09", "2026-11-09", Fraction(12)),
        ("2026-01-31", "2026-02-28", Fraction(1)),
        ("2026-01-31", "2026-03-15", 1 + Fraction(15, 31)),
        ("2026-01-31", "2026-03-31", Fraction(2)),
        ("2028-01-31", "2028-02-29", Fraction(1)),
        ("2028-01-30", "2028-03-01", 1 + Fraction(1, 30)),
        ("2026-02-28", "2026-03-31", 1 + Fraction(3, 31)),
        ("2026-03-10", "2026-04-25", 1 + Fraction(15, 30)),
        ("2027-03-10", "2028-03-09", 11 + Fraction(28, 29)),
        ("2026-12-15", "2027-01-15", Fraction(1)),
        ("2026-03-10", "2026-04-09", Fraction(1)),
        ("2026-03-10", "2026-03-10", Fraction(1)),
        ("2026-03-10", "2020-01-01", Fraction(1)),
        ("2026-01-31", "9999-11-02", 7973 * 12 + 9 + Fraction(2, 30)),
    ],
)
def test_months_are_those_of_the_calendar(today: str, due: str, months: Fraction) -> None:
    """Whole months, then days over the length of the month that they are in; never less than one."""
    assert months_until(date.fromisoformat(today), date.fromisoformat(due)) == months


@given(days, st.integers(0, 3_000))
def test_a_later_day_is_more_months_away(today: date, ahead: int) -> None:
    """Beyond one month, each day adds a 28th to a 31st of a month, and so many months have so many days."""
    due = today + timedelta(days=ahead)
    months, next_months = months_until(today, due), months_until(today, due + timedelta(days=1))
    if next_months == 1:
        assert months == 1
    elif months > 1:
        assert Fraction(1, 31) <= next_months - months <= Fraction(1, 28)
        assert abs(months * Fraction(36_525, 1_200) - ahead) < 4


@given(st.integers(0, 10**18), days, st.integers(0, 5_000))
def test_the_target_gets_there_and_a_cent_less_does_not(left: int, today: date, ahead: int) -> None:
    """The monthly target adds up to all that is left; one minor unit less a month does not."""
    months = months_until(today, today + timedelta(days=ahead))
    target = monthly_target(left, months)
    assert target * months >= left
    assert left == 0 or (target - 1) * months < left
    assert target <= left


def test_the_worked_target() -> None:
    """From 2,500.00 to 10,000.00 in twelve months are 625.00; what is reached needs nothing; a third is rounded up."""
    assert monthly_target(750_000, Fraction(12)) == 62_500
    assert monthly_target(0, Fraction(12)) == monthly_target(-5, Fraction(12)) == 0
    assert monthly_target(100, Fraction(3)) == 34


@pytest.mark.parametrize(
    ("left", "months", "deadline", "projected", "expected"),
    [
        (0, 0, None, None, True),
        (-1, 0, YESTERDAY, None, True),
        (1, 1, None, DUE, None),
        (1, 0, DUE, None, None),
        (1, 1, DUE, DUE, True),
        (1, 1, NOW.date(), NOW.date(), True),
        (1, 0, NOW.date(), None, None),
        (1, 1, DUE, DUE + timedelta(days=1), False),
        (1, 1, DUE, None, False),
        (1, 1, YESTERDAY, YESTERDAY - timedelta(days=1), False),
        (1, 1, YESTERDAY, None, False),
        (1, 0, YESTERDAY, None, False),
    ],
)
def test_on_track_is_the_projected_day_against_the_deadline(
    left: int, months: int, deadline: date | None, projected: date | None, expected: bool | None
) -> None:
    """Reached: yes; deadline missed: no; no deadline, or no whole month: unknown; else the projected day decides."""
    due = None if deadline is None else Due(deadline, datetime.combine(deadline, time.max, UTC))
    assert is_on_track(left, months, due, projected, NOW) is expected
