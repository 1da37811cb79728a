"""The documented projection: a straight line through the closes of the last thirty days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WINDOW_DAYS = 30
FEWEST_DAYS = 7
FURTHEST_DAYS = 36_525


@dataclass(frozen=True, slots=True)
class Projection:
    """In how many days the finish is reached, counted from the day after the last close; or why that is not known."""

    days: int | None
    note: str | None


def project(direction: int, finish_minor: int, amount_minor: int, closes: Sequence[int]) -> Projection:
    """Follow the least-squares line through daily closes, oldest first, from the present amount to the finish.

    All in whole numbers. Closes of 0, 100.00, ... 2,900.00 rise by 100.00 a day: from 2,900.00 to 5,000.00 it
    takes 21 days. Of more than 30 closes the last 30 count.
    """
    left = direction * (finish_minor - amount_minor)
    if left <= 0:
        return Projection(None, "the goal is reached")
    window = closes[-WINDOW_DAYS:]
    count = len(window)
    if count < FEWEST_DAYS:
        return Projection(None, f"too little history: {count} of at least {FEWEST_DAYS} closed days")
    if min(window) == max(window):
        return Projection(None, f"no movement in the last {count} days")
    # The slope a day is 6 * rise / (n * (n^2 - 1)), where rise is the sum of (2x - (n - 1)) * close.
    rise = direction * sum((2 * day - (count - 1)) * close for day, close in enumerate(window))
    if rise <= 0:
        return Projection(None, f"the last {count} days led away from the target, or nowhere")
    days = -(-left * count * (count * count - 1) // (6 * rise))
    if days > FURTHEST_DAYS:
        return Projection(None, f"further than 100 years away at the pace of the last {count} days")
    return Projection(days, None)
