"""Milestones: which amounts may be one, when one is reached, and the order on the way."""

from __future__ import annotations

from collections.abc import Iterable

from core.errors import InvalidField
from core.goals.goal import GoalType, Span, may_be_negative


def check_milestone(type: GoalType, span: Span, target_minor: int, amount_minor: int) -> None:
    """Refuse a milestone that is not on the way; raises InvalidField.

    A debt's lies between its start and its finish, both included; any other's is at most the target, and not
    negative but for net worth and income.
    """
    if type is GoalType.DEBT:
        if not span.finish_minor <= amount_minor <= span.start_minor:
            raise InvalidField("amount", "must lie between where the debt starts and where it should end")
        return
    if amount_minor > target_minor:
        raise InvalidField("amount", "must not be above the goal's target amount")
    if amount_minor < 0 and not may_be_negative(type):
        raise InvalidField("amount", f"must not be negative for a goal of type {type}")


def is_reached(direction: int, amount_minor: int, milestone_minor: int) -> bool:
    """Whether the amount stands at the milestone or past it."""
    return direction * amount_minor >= direction * milestone_minor


def in_order(direction: int, amounts: Iterable[int]) -> list[int]:
    """The milestones in the order in which they are passed: ascending, a debt's descending."""
    return sorted(amounts, reverse=direction < 0)


def nearest(direction: int, unreached: Iterable[int]) -> int | None:
    """The milestone that comes next among those not reached yet; None if there is none."""
    return next(iter(in_order(direction, unreached)), None)
