"""What a bank's interface shows of the ledger: a date for each booking, and when it lists it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from random import Random
from typing import NamedTuple

from benchmarks.banks.dice import hours, is_one_of
from benchmarks.banks.ledger import Ledger, Movement, start_of
from benchmarks.banks.mixes import Mix, Oddity

_DAY = timedelta(days=1)
_REFRESHED_EVERY = timedelta(hours=6)
_RENAMED_DAYS = 30


class Booking(NamedTuple):
    """A movement as the bank has it: when its balance moves, and what it shows from when on.

    `instant` is None if only the day is shown.
    """

    number: int
    booked: Movement
    shown: date
    instant: datetime | None
    listed_at: datetime


class Store(Enum):
    """What the provider shows: what the bank says now, or what it said when the provider last asked."""

    LIVE = "live"
    CACHED_ROWS = "rows of the last refresh"
    CACHED = "rows and balances of the last refresh"


@dataclass(frozen=True, slots=True)
class Bank:
    """One account at one bank, through a provider that refreshes its store at `phase` and every six hours."""

    ledger: Ledger
    bookings: Sequence[Booking]
    store: Store
    phase: datetime
    renamed_at: datetime | None

    def worth_shown(self, moment: datetime) -> int:
        """The balance that is shown at a moment."""
        return self.ledger.worth_at(self._refreshed(moment) if self.store is Store.CACHED else moment)

    def rows_shown(self, moment: datetime) -> list[Booking]:
        """All rows that are shown at a moment."""
        if self.store is not Store.LIVE:
            moment = self._refreshed(moment)
        return [booking for booking in self.bookings if booking.listed_at <= moment]

    def id_of(self, booking: Booking, moment: datetime) -> str:
        """The id that a row has at a moment. One day, rows that are listed already and not old get new ones."""
        renamed_at = self.renamed_at
        is_renamed = (
            renamed_at is not None
            and booking.listed_at < renamed_at <= moment
            and booking.shown >= renamed_at.date() - timedelta(days=_RENAMED_DAYS)
        )
        return f"{'new' if is_renamed else 'old'}-{booking.number:04}"

    def worth_by_dates(self, day: date, last: datetime) -> int:
        """The worth at the end of a day if each booking counts on the day that is shown for it.

        Of what is booked up to `last`.
        """
        later = [each.booked.amount_minor for each in self.bookings if each.shown > day and each.booked.at <= last]
        return self.ledger.worth_at(last) - sum(later)

    def _refreshed(self, moment: datetime) -> datetime:
        return moment - (moment - self.phase) % _REFRESHED_EVERY


def bank_of(dice: Random, mix: Mix, moved: Sequence[Movement]) -> Bank:
    """A bank of the mix that has these movements."""
    zone = timedelta(hours=dice.randint(-3, 3)) if is_one_of(dice, mix.off_zone) else timedelta(0)
    shares = mix.cached_rows, mix.cached
    store = dice.choices((Store.CACHED_ROWS, Store.CACHED, Store.LIVE), (*shares, 100 - sum(shares)))[0]
    phase = start_of(0) + hours(dice, 0, 6)
    renamed_at = start_of(dice.randint(4, 11)) + timedelta(hours=7) if mix.gives_new_ids else None
    bookings = [_booking(dice, mix, number, movement, zone) for number, movement in enumerate(moved)]
    return Bank(Ledger([booking.booked for booking in bookings]), bookings, store, phase, renamed_at)


def _booking(dice: Random, mix: Mix, number: int, movement: Movement, zone: timedelta) -> Booking:
    at = movement.at
    next_day = datetime(at.year, at.month, at.day, tzinfo=at.tzinfo) + _DAY
    booking = Booking(number, movement, (at + zone).date(), None, at)
    match _oddity(dice, mix):
        case Oddity.LATE:
            return booking._replace(listed_at=at + hours(dice, 0.05, 4))
        case Oddity.NEXT_MORNING:
            return booking._replace(listed_at=next_day + hours(dice, 5, 10))
        case Oddity.EARLIER_DATE:
            return booking._replace(shown=booking.shown - dice.randint(1, 3) * _DAY)
        case Oddity.NEXT_DAY:
            booked_at = next_day + hours(dice, 0.5, 9)
            return booking._replace(booked=movement._replace(at=booked_at), shown=next_day.date())
        case Oddity.DATED_AHEAD:
            return booking._replace(shown=next_day.date())
        case Oddity.INSTANT:
            return booking._replace(instant=at)
    return booking


def _oddity(dice: Random, mix: Mix) -> Oddity | None:
    left = dice.random() * 100
    for oddity, share in mix.oddities.items():
        if left < share:
            return oddity
        left -= share
    return None
