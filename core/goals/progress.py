"""Progress in percent, and milestones: which amounts are allowed, when one is reached, and the sentence for it."""

from collections.abc import Iterable
from decimal import Decimal

from core.errors import InvalidField
from core.goals.goal import GoalType, Span
from core.goals.money import WHOLE_PPM, from_ppm, to_decimal


def percent_complete(type: GoalType, span: Span, target_minor: int, amount_minor: int) -> Decimal | None:
    """How much of the goal is done, in percent: never below 0, not capped at 100, with one to four decimals.

    6,500 of 10,000 is 65.0; a debt of 8,500 that is to go to 0 and is paid down to 7,750 is 8.8235. The percentage is
    cut, not rounded, so that it is 100 only once the goal is reached. A target of 0 or less gives 100 when reached,
    else 0, and so does a debt whose first balance is at its finish. None for a debt that has no balance to start at.
    """
    if type is GoalType.DEBT:
        if span.start_minor is None:
            return None
        if span.start_minor > span.finish_minor:
            return _ratio(span.start_minor - amount_minor, span.start_minor - span.finish_minor)
    elif target_minor > 0:
        return _ratio(amount_minor, target_minor)
    return from_ppm(WHOLE_PPM if is_goal_reached(type, span, target_minor, amount_minor) else 0)


def milestones_percent(reached: int, total: int) -> Decimal:
    """The percentage of the milestones that are reached, cut in the same way; 0.0 when there are none."""
    return _ratio(reached, total) if total else from_ppm(0)


def left_minor(type: GoalType, span: Span, target_minor: int, amount_minor: int) -> int:
    """How much is still to be saved or paid, in minor units; 0 or less once the goal is reached."""
    return amount_minor - span.finish_minor if type is GoalType.DEBT else target_minor - amount_minor


def is_goal_reached(type: GoalType, span: Span, target_minor: int, amount_minor: int) -> bool:
    """Whether the amount has reached the target; for a debt that is the finish of its span."""
    return left_minor(type, span, target_minor, amount_minor) <= 0


def check_milestone(type: GoalType, span: Span, target_minor: int, amount_minor: int) -> None:
    """Refuse a milestone that the goal cannot reach; raises InvalidField.

    A milestone of a debt is from its finish to its start, both included, while the start is known. Any other is at most
    the target, never 0, and below 0 only for a net worth.
    """
    if type is GoalType.DEBT:
        is_below = amount_minor < span.finish_minor
        if is_below or (span.start_minor is not None and amount_minor > span.start_minor):
            raise InvalidField("amount", "must lie between where the debt starts and where it should end")
        return
    if amount_minor > target_minor:
        raise InvalidField("amount", "must not be above the goal's target amount")
    if amount_minor == 0:
        raise InvalidField("amount", "must not be 0: only a debt can have a milestone there")
    if amount_minor < 0 and type is not GoalType.NET_WORTH:
        raise InvalidField("amount", f"must not be negative for a goal of type {type}")


def is_reached(direction: int, amount_minor: int, milestone_minor: int) -> bool:
    """Whether the amount has reached the milestone: is at least as high, or for a debt (-1) at most as high."""
    return direction * amount_minor >= direction * milestone_minor


def in_order(direction: int, amounts: Iterable[int]) -> list[int]:
    """The milestones in the order in which they are reached: ascending, a debt's descending."""
    return sorted(amounts, reverse=direction < 0)


def nearest(direction: int, unreached: Iterable[int]) -> int | None:
    """The next milestone among those not reached yet; None if there is none."""
    return next(iter(in_order(direction, unreached)), None)


def celebration(direction: int, amount_minor: int, currency: str, description: str | None) -> str:
    """A sentence on one line with the milestone's exact amount and, if it has one, its description.

    500000 USD, "Halfway": "Milestone reached: 5,000.00 USD (Halfway)." For a debt it says what is left to pay:
    "Milestone reached: down to 6,000.00 USD."
    """
    amount = f"{to_decimal(amount_minor, currency):,f} {currency}"
    reached = amount if direction > 0 else f"down to {amount}"
    words = " ".join((description or "").split())
    return f"Milestone reached: {reached} ({words})." if words else f"Milestone reached: {reached}."


def _ratio(part: int, whole: int) -> Decimal:
    return from_ppm(max(0, part * WHOLE_PPM // whole))
