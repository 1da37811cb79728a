"""What each month must bring to make a deadline, and whether the pace will."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, datetime
from fractions import Fraction


def months_until(today: date, due: date) -> Fraction:
    """The months from one day to another by the calendar, exact, but never less than 1.

    Whole months, then the rest of the days over the length of the month that they lie in. A month that has no such
    day ends with its last: from Jan 31 it is one month to Feb 28 and two to Mar 31, so to Mar 15 it is 1 + 15/31.
    """
    whole = (due.year - today.year) * 12 + due.month - today.month
    if _months_after(today, whole) > due:
        whole -= 1
    if whole < 1:
        return Fraction(1)
    last = _months_after(today, whole)
    return whole + Fraction((due - last).days, (_months_after(today, whole + 1) - last).days)


def monthly_target(left_minor: int, months: Fraction) -> int:
    """What has to come in each month, rounded up to the minor unit; 0 if nothing is left.

    7,500.00 in 12 months are 625.00.
    """
    if left_minor <= 0:
        return 0
    return -(-left_minor * months.denominator // months.numerator)


def is_on_track(
    left_minor: int,
    monthly_actual_minor: int | None,
    deadline: datetime | None,
    projected_at: datetime | None,
    now: datetime,
) -> bool | None:
    """Whether the goal is reached or will be by its deadline; None without one, and while the pace is not known.

    A deadline that has passed was missed, whatever the pace.
    """
    if left_minor <= 0:
        return True
    if deadline is None:
        return None
    if now > deadline:
        return False
    if monthly_actual_minor is None:
        return None
    return projected_at is not None and projected_at <= deadline


def _months_after(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
