"""The trend of a goal: its projection from the amounts at the end of its last days."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from core.goals.goal import GoalStatus
from core.goals.projection import WINDOW_DAYS, Projection
from core.goals.projection import project as project_amounts
from core.store.closes import DayRange, StoredCloses
from core.store.goals import GoalRow

_DAY = timedelta(days=1)


def projection_of(goal: GoalRow, day_amounts: Sequence[int]) -> Projection:
    """The projection of a goal from its daily snapshots, oldest first; a note why for a goal that has none."""
    if goal.status is not GoalStatus.ACTIVE:
        return Projection(None, f"the goal is {goal.status.value}")
    if goal.waiting_for:
        return Projection(None, f"waits for a balance of {', '.join(goal.waiting_for)}")
    finish = goal.finish_minor if goal.debt_form is not None else goal.target_minor
    return project_amounts(goal.direction, finish, goal.amount_minor, day_amounts)


def completion_date(projection: Projection, through: date) -> datetime | None:
    """The projected day as an instant: midnight UTC of that date."""
    if projection.days is None:
        return None
    return datetime.combine(through + (projection.days + 1) * _DAY, datetime.min.time(), UTC)


def window(through: date, start_date: date) -> DayRange:
    """The days whose snapshots a projection uses."""
    return DayRange(max(through - (WINDOW_DAYS - 1) * _DAY, start_date), through)


def dense_amounts(stored: StoredCloses, days: DayRange) -> list[int]:
    """The amount at the end of each day of a range: on a day without a row it is that of the day before."""
    amounts: list[int] = []
    amount, day = stored.before_minor, days.first
    while days.last is not None and day <= days.last:
        amount = stored.rows.get(day, amount)
        if amount is not None:
            amounts.append(amount)
        day += _DAY
    return amounts
