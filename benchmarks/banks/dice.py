"""Random draws of moments, amounts and counts; all results are exact."""

from __future__ import annotations

from datetime import timedelta
from random import Random

_MICROSECOND = timedelta(microseconds=1)


def hours(dice: Random, least: float, most: float) -> timedelta:
    """A length of time, of so many hours."""
    first, last = timedelta(hours=least) // _MICROSECOND, timedelta(hours=most) // _MICROSECOND
    return timedelta(microseconds=dice.randint(first, last))


def is_one_of(dice: Random, percent: float) -> bool:
    """True in so many of a hundred cases."""
    return dice.random() * 100 < percent


def amount_minor(dice: Random, median: int, spread: float) -> int:
    """An amount in minor units around a median in major units; `spread` is the standard deviation of its logarithm."""
    return round(median * 100 * dice.lognormvariate(0, spread))


def count_of_day(dice: Random, mean: float) -> int:
    """How many independent things happen in a day of which `mean` happen on average."""
    count, at = 0, dice.expovariate(mean)
    while at < 1:
        count, at = count + 1, at + dice.expovariate(mean)
    return count
