"""The documented projection: a straight line through the closes of the last thirty days, its pace, its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
