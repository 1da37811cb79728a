"""The documented projection: a straight line through recent end-of-day amounts, and what each month must bring."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction

WINDOW_DAYS = 30
FEWEST_DAYS = 7
FURTHEST_DAYS = 36_525


@dataclass(frozen=True, slots=True)
class Projection:
    """In how many days the finish is reached, counted from the day after the last close; or why that is not known.

    `monthly_minor` is what the line brings towards the finish in a month, negative if it leads away; None where there
    is no line.
    """

    days: int | None
    note: str | None
    monthly_minor: int | None = None


@dataclass(frozen=True, slots=True)
class _Line:
    """A least-squares line: 6 * rise / scale minor units a day towards the finish."""

    days: int
    rise: int
    is_level: bool

    @property
    def scale(self) -> int:
        return self.days * (self.days * self.days - 1)

    @property
    def monthly_minor(self) -> int:
        """A month has 365.25 / 12 = 487 / 16 days; cut towards zero."""
        part = 6 * 487 * abs(self.rise) // (16 * self.scale)
        return part if self.rise >= 0 else -part


def project(direction: int, finish_minor: int, amount_minor: int, closes: Sequence[int]) -> Projection:
    """Follow the least-squares line through daily closes, oldest first, from the present amount to the finish.

    All in whole numbers. Closes of 0, 100.00, ... 2,900.00 rise by 100.00 a day, which makes 3,043.75 a month: from
    2,900.00 to 5,000.00 it takes 21 days. Of more than 30 closes the last 30 count.
    """
    left = direction * (finish_minor - amount_minor)
    window = closes[-WINDOW_DAYS:]
    line = _line_through(direction, window)
    if line is None:
        short = f"too little history: {len(window)} of at least {FEWEST_DAYS} closed days"
        return Projection(None, "the goal is reached" if left <= 0 else short)
    days, note = _arrival(line, left)
    return Projection(days, note, line.monthly_minor)


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


def _line_through(direction: int, window: Sequence[int]) -> _Line | None:
    count = len(window)
    if count < FEWEST_DAYS:
        return None
    # The slope a day is 6 * rise / (n * (n^2 - 1)), where rise is the sum of (2x - (n - 1)) * close.
    rise = direction * sum((2 * day - (count - 1)) * close for day, close in enumerate(window))
    return _Line(count, rise, min(window) == max(window))


def _arrival(line: _Line, left: int) -> tuple[int | None, str | None]:
    if left <= 0:
        return None, "the goal is reached"
    if line.is_level:
        return None, f"no movement in the last {line.days} days"
    if line.rise <= 0:
        return None, f"the last {line.days} days led away from the target, or nowhere"
    days = -(-left * line.scale // (6 * line.rise))
    if days > FURTHEST_DAYS:
        return None, f"further than 100 years away at the pace of the last {line.days} days"
    return days, None


def _months_after(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
