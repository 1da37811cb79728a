"""When a goal will be reached, or why that is not known, and the amount needed each month.

The documented projection: a straight line through recent end-of-day amounts, followed to the finish.
"""

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Protocol

from core.goals.goal import DebtForm, GoalStatus

WINDOW_DAYS = 30
FEWEST_DAYS = 7
FURTHEST_DAYS = 36_525
_DAY = timedelta(days=1)


class ProjectedGoal(Protocol):
    """What a projection reads of a goal, amounts in minor units."""

    status: GoalStatus
    waiting_for: list[str]
    debt_form: DebtForm | None
    start_minor: int | None
    finish_minor: int
    target_minor: int
    amount_minor: int

    @property
    def direction(self) -> int:
        """-1 for debt, +1 for all others."""


@dataclass(frozen=True, slots=True)
class Projection:
    """In how many days the finish is reached, or in `note` why that is not known.

    `days` counts from the day after the last end-of-day amount. `monthly_minor` is by how much the line comes nearer to
    the finish in a month, negative if it leads away; None where there is no line.
    """

    days: int | None
    note: str | None
    monthly_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """A deadline: the local day that it is on, and the last moment at which it has not passed."""

    day: date
    at: datetime


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
        """The rise in a month of 365.25 / 12 = 487 / 16 days, cut towards zero."""
        part = 6 * 487 * abs(self.rise) // (16 * self.scale)
        return part if self.rise >= 0 else -part


def projection_of(goal: ProjectedGoal, day_amounts: Sequence[int]) -> Projection:
    """The projection of a goal from its daily snapshots, oldest first; a note why for a goal that has none."""
    if goal.status is not GoalStatus.ACTIVE:
        return Projection(None, f"the goal is {goal.status.value}")
    if goal.waiting_for:
        return Projection(None, f"waits for a balance of {', '.join(goal.waiting_for)}")
    if goal.start_minor is None:
        return Projection(None, "waits for a first balance")
    finish = goal.finish_minor if goal.debt_form is not None else goal.target_minor
    return project(goal.direction, finish, goal.amount_minor, day_amounts)


def completion_date(projection: Projection, through: date) -> datetime | None:
    """The projected day as an instant: midnight UTC of that date."""
    if projection.days is None:
        return None
    return datetime.combine(through + (projection.days + 1) * _DAY, datetime.min.time(), UTC)


def window_begin(through: date, start_date: date) -> date:
    """The first of the days, up to `through`, whose snapshots a projection uses."""
    return max(through - (WINDOW_DAYS - 1) * _DAY, start_date)


def project(direction: int, finish_minor: int, amount_minor: int, day_amounts: Sequence[int]) -> Projection:
    """Follow the least-squares line through end-of-day amounts from the present amount to the finish.

    `day_amounts` has one amount a day, oldest first; of more than 30 the last 30 count. All arithmetic is in whole
    numbers. Amounts of 0, 100.00, ... 2,900.00 rise by 100.00 a day, which is 3,043.75 a month: from 2,900.00 to
    5,000.00 it takes 21 days.
    """
    left = direction * (finish_minor - amount_minor)
    window = day_amounts[-WINDOW_DAYS:]
    line = _line_through(direction, window)
    if line is None:
        short = f"too little history: {len(window)} of at least {FEWEST_DAYS} closed days"
        return Projection(None, "the goal is reached" if left <= 0 else short)
    days, note = _days_to_finish(line, left)
    return Projection(days, note, line.monthly_minor)


def months_until(today: date, due: date) -> Fraction:
    """The exact number of calendar months from one day to another, but never less than 1.

    Whole months are counted first; the days that remain are divided by the length of the month that they are in. In a
    month that is too short for the day, its last day counts: from Jan 31 it is one month to Feb 28 and two to Mar 31,
    so to Mar 15 it is 1 + 15/31.
    """
    whole = (due.year - today.year) * 12 + due.month - today.month
    if _months_after(today, whole) > due:
        whole -= 1
    if whole < 1:
        return Fraction(1)
    last = _months_after(today, whole)
    return whole + Fraction((due - last).days, (_months_after(today, whole + 1) - last).days)


def monthly_target(left_minor: int, months: Fraction) -> int:
    """How much is needed each month, rounded up to the minor unit: 7,500.00 in 12 months are 625.00.

    0 if nothing is left.
    """
    if left_minor <= 0:
        return 0
    return -(-left_minor * months.denominator // months.numerator)


def is_on_track(
    left_minor: int, monthly_actual_minor: int | None, due: Due | None, projected_on: date | None, now: datetime
) -> bool | None:
    """Whether the goal is reached or will be by its deadline; `projected_on` is the local day on which it will be.

    None without a deadline, and while there is no line through its recent amounts. A goal that is not reached and whose
    deadline has passed is not on track, whatever its line says.
    """
    if left_minor <= 0:
        return True
    if due is None:
        return None
    if now > due.at:
        return False
    if monthly_actual_minor is None:
        return None
    return projected_on is not None and projected_on <= due.day


def _line_through(direction: int, window: Sequence[int]) -> _Line | None:
    count = len(window)
    if count < FEWEST_DAYS:
        return None
    # The slope a day is 6 * rise / (n * (n^2 - 1)), where rise is the sum of (2x - (n - 1)) * amount.
    rise = direction * sum((2 * day - (count - 1)) * amount for day, amount in enumerate(window))
    return _Line(count, rise, min(window) == max(window))


def _days_to_finish(line: _Line, left: int) -> tuple[int | None, str | None]:
    """(days, None), or (None, why the line does not get there)."""
    if left <= 0:
        return None, "the goal is reached"
    if line.is_level:
        return None, f"no movement in the last {line.days} days"
    if line.rise <= 0:
        return None, f"the last {line.days} days led away from the target, or nowhere"
    days = -(-left * line.scale // (6 * line.rise))
    if days > FURTHEST_DAYS:
        return None, f"further than 100 years away at the rate of the last {line.days} days"
    return days, None


def _months_after(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
