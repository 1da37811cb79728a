"""The true ledger of an account: what people do with a savings account, a checking account and a card."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import accumulate
from random import Random
from typing import NamedTuple

from benchmarks.banks.dice import amount_minor, count_of_day, hours, is_one_of

DAY_0 = datetime(2026, 3, 2, tzinfo=UTC)
"""The day on which accounts are connected; a Monday."""
DAYS = 46
"""How many days are simulated from the connection on."""
_DAYS_BEFORE = 90
_OPENING_MINOR = 500_00


def start_of(day: int) -> datetime:
    """The first instant of a day, counted from the connection's."""
    return DAY_0 + timedelta(days=day)


class Kind(Enum):
    """Kinds of movements, with the hours at which banks book them: (percent, from, to)."""

    PURCHASE = ((50, 0.5, 6), (35, 8, 20), (15, 18, 24))
    PAY = ((60, 0.2, 7), (40, 8, 18))
    TRANSFER = ((30, 0.5, 6), (55, 8, 20), (15, 18, 24))


class Movement(NamedTuple):
    """The account's money changes at a moment."""

    at: datetime
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Moments:
    """What the user does: connects the account, links a goal, sets an amount by hand, completes a goal."""

    connected: datetime
    linked: datetime
    amount_set: datetime
    completed: datetime


def moments(dice: Random) -> Moments:
    """The moments of one user; half of all link within minutes after they connect."""
    connected = start_of(0) + hours(dice, 9, 22)
    if is_one_of(dice, 50):
        linked = connected + hours(dice, 1 / 60, 0.25)
    else:
        linked = start_of(dice.randint(1, 12)) + hours(dice, 9, 22)
    amount_set = start_of(dice.randint(2, 14)) + hours(dice, 9, 22)
    return Moments(connected, linked, amount_set, start_of(dice.randint(3, 14)) + hours(dice, 9, 22))


def movements(dice: Random, user: Moments) -> list[Movement]:
    """All movements of an account, from three months before it is connected."""
    life = dice.choices((_savings, _checking, _card), (40, 35, 25))[0]
    found = [movement for day in range(-_DAYS_BEFORE, DAYS) for movement in life(dice, day)]
    return found + list(_around(dice, user))


class Ledger:
    """What the bank's own books say."""

    def __init__(self, booked: Sequence[Movement]) -> None:
        in_order = sorted(booked)
        self._moments = [movement.at for movement in in_order]
        self._worths = list(accumulate((each.amount_minor for each in in_order), initial=_OPENING_MINOR))

    def worth_at(self, moment: datetime) -> int:
        """The balance at a moment, in minor units."""
        return self._worths[bisect_right(self._moments, moment)]


def _savings(dice: Random, day: int) -> Iterator[Movement]:
    if is_one_of(dice, 16):
        yield _movement(dice, day, Kind.TRANSFER, amount_minor(dice, 200, 0.6))
    if is_one_of(dice, 5):
        yield _movement(dice, day, Kind.TRANSFER, -amount_minor(dice, 150, 0.6))


def _checking(dice: Random, day: int) -> Iterator[Movement]:
    for _ in range(count_of_day(dice, 1.1)):
        yield _movement(dice, day, Kind.PURCHASE, -amount_minor(dice, 35, 0.8))
    if day % 14 == 3:
        yield _movement(dice, day, Kind.PAY, amount_minor(dice, 2000, 0.1))
    if is_one_of(dice, 6):
        yield _movement(dice, day, Kind.TRANSFER, amount_minor(dice, 200, 0.6))
    if is_one_of(dice, 5):
        yield _movement(dice, day, Kind.TRANSFER, -amount_minor(dice, 300, 0.6))


def _card(dice: Random, day: int) -> Iterator[Movement]:
    for _ in range(count_of_day(dice, 0.8)):
        yield _movement(dice, day, Kind.PURCHASE, -amount_minor(dice, 40, 0.8))
    if day % 30 == 7 or is_one_of(dice, 3):
        yield _movement(dice, day, Kind.TRANSFER, amount_minor(dice, 300, 0.5))


def _movement(dice: Random, day: int, kind: Kind, minor: int) -> Movement:
    _, least, most = dice.choices(kind.value, [share for share, _, _ in kind.value])[0]
    return Movement(start_of(day) + hours(dice, least, most), minor)


def _around(dice: Random, user: Moments) -> Iterator[Movement]:
    """People move money just before and after they do something with a goal."""
    for percent, moment, least, most, sign in (
        (35, user.linked, -6, -0.3, 1),
        (35, user.linked, 0.1, 6, 1),
        (30, user.amount_set, -4, -0.2, 1),
        (20, user.amount_set, 0.2, 4, 1),
        (40, user.completed, -6, -0.2, 1),
        (60, user.completed, 0.1, 8, -1),
    ):
        if is_one_of(dice, percent):
            yield Movement(moment + hours(dice, least, most), sign * amount_minor(dice, 200, 0.6))
