"""The pace of a goal, when it will be reached or why that is not known, and the amount needed each month.

The documented projection: a straight line from the present amount to the finish, as steep as the last whole month was.
"""

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple, Protocol

from core.goals.goal import GoalStatus, GoalType, Span
from core.goals.progress import left_minor

CONTRIBUTION_MONTHS = 3
FURTHEST_DAYS = 36_525
_DAY = timedelta(days=1)


class ProjectedGoal(Protocol):
    """What a projection reads of a goal, amounts in minor units."""

    @property
    def type(self) -> GoalType: ...
    @property
    def status(self) -> GoalStatus: ...
    @property
    def waiting_for(self) -> Sequence[str]: ...
    @property
    def span(self) -> Span: ...
    @property
    def target_minor(self) -> int: ...
    @property
    def amount_minor(self) -> int: ...
    @property
    def start_date(self) -> date: ...


class PaceDays(NamedTuple):
    """The days whose closes say the pace of a goal: the last one, that of a month earlier, and that of all months.

    `months` is how many whole months the goal has between the first and the last of them, at most 3.
    """

    through: date
    month_begin: date
    begin: date
    months: int


@dataclass(frozen=True, slots=True)
class Pace:
    """What closes up to the day `through` say of a goal, in minor units; above 0 is towards its finish.

    In its last whole month, which had `trend_days`, the amount moved by `trend_minor`; both are None while there is
    no whole month. In its last `contribution_months` months `contributed_minor` was contributed in all.
    """

    through: date
    trend_minor: int | None
    trend_days: int | None
    contributed_minor: int
    contribution_months: int

    @property
    def trend_months(self) -> int:
        """On how many whole months the trend rests: 0 or 1."""
        return 0 if self.trend_minor is None else 1

    @property
    def monthly_minor(self) -> int | None:
        """The mean of what was contributed in a month, cut towards zero; None while there is no whole month."""
        if not self.contribution_months:
            return None
        part = abs(self.contributed_minor) // self.contribution_months
        return part if self.contributed_minor >= 0 else -part


@dataclass(frozen=True, slots=True)
class Projection:
    """In how many days the finish is reached, or in `note` why that is not known.

    `days` counts from the day after the last one of the pace.
    """

    days: int | None
    note: str | None


@dataclass(frozen=True, slots=True)
class Due:
    """A deadline: the local day that it is on, and the last moment at which it has not passed."""

    day: date
    at: datetime


@lru_cache(maxsize=16_384)
def pace_days(start_date: date, through: date) -> PaceDays | None:
    """The days whose closes say the pace of a goal; None while it has no whole month."""
    months = 0
    while months < CONTRIBUTION_MONTHS and months_before(through, months + 1) >= start_date:
        months += 1
    if not months:
        return None
    return PaceDays(through, months_before(through, 1), months_before(through, months), months)


def months_before(day: date, months: int) -> date:
    """The same day of an earlier month; the last day of a month is that of the earlier one, too.

    In a month that is too short for the day, its last day counts: a month before March 30 and 31 it is February 28,
    and a month before February 28 it is January 31.
    """
    earlier = _months_after(day, -months)
    is_last = (day + _DAY).day == 1
    return earlier.replace(day=monthrange(earlier.year, earlier.month)[1]) if is_last else earlier


def pace_of(
    days: PaceDays, direction: int, through_minor: int, month_begin_minor: int, begin_minor: int, other_minor: int
) -> Pace:
    """The pace of a goal with these closes on its `days`.

    `other_minor` is what moved the amount towards the finish, or away, since the first of these closes without being
    contributed. 600.00 that came in each of three months, while the market added 45.00 in all and 20.00 in the last of
    them, are a trend of 620.00, and contributions of 1,800.00 in three months.
    """
    return Pace(
        through=days.through,
        trend_minor=direction * (through_minor - month_begin_minor),
        trend_days=(days.through - days.month_begin).days,
        contributed_minor=direction * (through_minor - begin_minor) - other_minor,
        contribution_months=days.months,
    )


def no_pace(through: date) -> Pace:
    """That of a goal without a whole month."""
    return Pace(through, None, None, 0, 0)


def why_resting(goal: ProjectedGoal) -> str | None:
    """Why a goal has neither a projection nor a pace, whatever its closes say; None if nothing keeps it from these."""
    if goal.status is not GoalStatus.ACTIVE:
        return f"the goal is {goal.status.value}"
    if goal.waiting_for:
        return f"waits for a balance of {', '.join(goal.waiting_for)}"
    if goal.span.start_minor is None:
        return "waits for a first balance"
    return None


def projection_of(goal: ProjectedGoal, pace: Pace) -> Projection:
    """The projection of a goal at its pace; a note why for a goal that has none."""
    resting = why_resting(goal)
    if resting is not None:
        return Projection(None, resting)
    left = left_minor(goal.type, goal.span, goal.target_minor, goal.amount_minor)
    return project(left, pace, goal.start_date)


def completion_date(projection: Projection, through: date) -> datetime | None:
    """The projected day as an instant: midnight UTC of that date."""
    if projection.days is None:
        return None
    return datetime.combine(through + (projection.days + 1) * _DAY, datetime.min.time(), UTC)


def project(left_minor: int, pace: Pace, start_date: date) -> Projection:
    """Follow the trend of the last whole month over what is left. All arithmetic is in whole numbers.

    1,000.00 in a month of 30 days leave 63 days for 2,100.00.
    """
    if left_minor <= 0:
        return Projection(None, "the goal is reached")
    if pace.trend_minor is None or pace.trend_days is None:
        closed = max(0, (pace.through - start_date).days)
        return Projection(
            None, f"too little history: {closed} {'day' if closed == 1 else 'days'} of at least one month"
        )
    if pace.trend_minor == 0:
        return Projection(None, "no movement in the last month")
    if pace.trend_minor < 0:
        return Projection(None, "the last month led away from the target, or nowhere")
    days = -(-left_minor * pace.trend_days // pace.trend_minor)
    if days > FURTHEST_DAYS:
        return Projection(None, "further than 100 years away at the rate of the last month")
    return Projection(days, None)


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
    left_minor: int, trend_months: int, due: Due | None, projected_on: date | None, now: datetime
) -> bool | None:
    """Whether the goal is reached or will be by its deadline; `projected_on` is the local day on which it will be.

    None without a deadline, and while its trend rests on no whole month. A goal that is not reached and whose deadline
    has passed is not on track, whatever its trend says.
    """
    if left_minor <= 0:
        return True
    if due is None:
        return None
    if now > due.at:
        return False
    if not trend_months:
        return None
    return projected_on is not None and projected_on <= due.day


def _months_after(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
