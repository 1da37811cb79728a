"""Judging closes: what a goal came to by the closes of its days, each with the day on which it first did."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from core.events.calendar import day_end, local_day
from core.goals.milestones import is_reached
from core.pipeline.mark_arrivals import Arrival, marks, stands_at_target
from core.store.goals import GoalRow

# (first day, last day, amount in minor units) of equal closes, in order of day.
Stretches = Sequence[tuple[date, date, int]]


def has_arrived(goal: GoalRow, stretches: Stretches, zone: ZoneInfo) -> bool:
    """Whether its closes lead a goal past anything that is not marked yet."""
    if not marks(goal):
        return False
    upcoming = goal.next_milestone_minor
    if upcoming is not None and any(is_reached(goal.direction, amount, upcoming) for _, _, amount in stretches):
        return True
    return goal.reached_at is None and _target_day(goal, stretches, zone) is not None


def arrival_by_closes(goal: GoalRow, stretches: Stretches, zone: ZoneInfo) -> Arrival:
    """What the closes came to; the moment of each is the last instant of the day whose close it was."""

    def milestone_at(milestone_minor: int) -> datetime | None:
        for first, _, amount in stretches:
            if is_reached(goal.direction, amount, milestone_minor):
                return day_end(first, zone)
        return None

    day = _target_day(goal, stretches, zone)
    return Arrival(goal, milestone_at, None if day is None else day_end(day, zone))


def completing_day(goal: GoalRow, stretches: Stretches, zone: ZoneInfo) -> date | None:
    """The first day at whose close a goal with `auto_complete` stood at its target; None: it is not to be completed."""
    return _target_day(goal, stretches, zone) if goal.auto_complete and marks(goal) else None


def _target_day(goal: GoalRow, stretches: Stretches, zone: ZoneInfo) -> date | None:
    """The first day whose close stands at the target, among those that the goal is judged by."""
    since = date.min if goal.judged_from is None else local_day(goal.judged_from, zone)
    for first, last, amount in stretches:
        if last >= since and stands_at_target(goal, amount):
            return max(first, since)
    return None
