"""Progress: how much of a goal and of its milestones is done, in percent."""

from __future__ import annotations

from decimal import Decimal

from core.goals.goal import GoalType, Span
from core.goals.percent import WHOLE_PPM, from_ppm


def percent_complete(type: GoalType, span: Span, target_minor: int, amount_minor: int) -> Decimal:
    """How far the goal is, never below 0, not capped above, cut to four decimals, with at least one.

    6,500 of 10,000 is 65.0; a debt of 8,500 paid down to 7,750 on its way to 0 is 8.8235. Cut, not rounded,
    so that 100 shows only once the goal is reached. A target of 0 or less is 100 when reached, else 0.
    """
    if type is GoalType.DEBT:
        return _ratio(span.start_minor - amount_minor, span.start_minor - span.finish_minor)
    if target_minor <= 0:
        return from_ppm(WHOLE_PPM if amount_minor >= target_minor else 0)
    return _ratio(amount_minor, target_minor)


def milestones_percent(reached: int, total: int) -> Decimal:
    """How many of the milestones are reached, in the same form; 0.0 when there are none."""
    return _ratio(reached, total) if total else from_ppm(0)


def left_minor(type: GoalType, span: Span, target_minor: int, amount_minor: int) -> int:
    """What is still to come in or to be paid, in minor units; 0 or less once the goal is reached."""
    return amount_minor - span.finish_minor if type is GoalType.DEBT else target_minor - amount_minor


def is_goal_reached(type: GoalType, span: Span, target_minor: int, amount_minor: int) -> bool:
    """Whether the amount stands at the target or past it; a debt's target is the finish of its span."""
    return left_minor(type, span, target_minor, amount_minor) <= 0


def _ratio(part: int, whole: int) -> Decimal:
    return from_ppm(max(0, part * WHOLE_PPM // whole))
