"""Banks: what a pull of an account brings whose rows have only dates, with the balance and the days of the pull.

What is pulled follows from the moment of the pull, so pulls can be sent in any order, by anyone, and again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from tests.chaos.load.events import Event, Maker
from tests.chaos.load.world import DAYS_BACK, ZONES, AccountPlan, World

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_BOOKINGS, _BOOKINGS_OF_TODAY = 50, 15
_APART = timedelta(hours=5, minutes=20)
_IN_A_ROW = 4
_IDS_ANEW = 6


@dataclass(frozen=True, slots=True)
class _Booking:
    """A booking: in the balance from `booked_at`, in pulls from `listed_at`, in neither once the bank took it back."""

    number: int
    day: date
    minor: int
    booked_at: datetime
    listed_at: datetime
    back_at: datetime | None

    def is_in(self, at: datetime) -> bool:
        """Whether the balance has it."""
        return self.booked_at <= at and not self.is_back(at)

    def is_back(self, at: datetime) -> bool:
        """Whether the bank has taken it back."""
        return self.back_at is not None and self.back_at <= at


@dataclass(frozen=True, slots=True)
class Bank:
    """One account at its bank, since `opened_at`; at each of `anew_at` all of its rows get new ids."""

    tenant: str
    account: AccountPlan
    seed: str
    opened_at: datetime
    opening_minor: int
    bookings: Sequence[_Booking]
    anew_at: Sequence[datetime]

    @classmethod
    def of(cls, seed: int, tenant: str, account: AccountPlan, now: datetime) -> Bank:
        """The bank of an account with its bookings of the last weeks, of today, and of the next days."""
        own = f"{seed}:bank:{tenant}:{account.account_id}"
        chance, opened_at = Random(own), now - DAYS_BACK * _DAY
        booked = [opened_at + chance.random() * (DAYS_BACK + 2) * _DAY for _ in range(_BOOKINGS)]
        booked += [now + chance.uniform(-12, 0.3) * _HOUR for _ in range(_BOOKINGS_OF_TODAY)]
        bookings = [_booking(chance, ZONES[tenant], number, at) for number, at in enumerate(booked)]
        anew_at = [opened_at + chance.random() * DAYS_BACK * _DAY for _ in range(_IDS_ANEW)]
        return cls(tenant, account, own, opened_at, chance.randrange(900_000), bookings, anew_at)

    def some_pulls(self, chance: Random, now: datetime) -> list[datetime]:
        """The moments of some pulls: a few in a row of those that everyone pulls at, or one of today's minutes."""
        if chance.random() < 0.4:
            minutes = chance.choice([0, 0, 1, 20, 100])
            return [now.replace(second=0, microsecond=0) - minutes * timedelta(minutes=1)]
        number = chance.randrange(1, int((now - self.opened_at) / _APART) + 1)
        moments = [self.opened_at + (number + more) * _APART for more in range(_IN_A_ROW)]
        return [moment for moment in moments if moment <= now]

    def pull(self, at: datetime, ids: Iterator[str]) -> Iterator[Event]:
        """The events of one pull: the balance, the rows of its days, and mostly that these were all."""
        # The source is that of the account: windows are about the rows of their own source.
        chance, maker = Random(f"{self.seed}:{at}"), Maker(f"bank/{self.account.account_id}", self.tenant)
        today = at.astimezone(ZoneInfo(ZONES[self.tenant])).date()
        first, last = today - chance.choice([2, 4, 9]) * _DAY, today + chance.choice([0, 0, 3]) * _DAY
        as_of = at - chance.choice([0, 0, 0, 4, 40]) * timedelta(minutes=1)
        # Some balances are older than they say: they have rows of the same pull not yet.
        balance = self._balance(as_of - chance.choice([0, 0, 0, 0, 5]) * _HOUR)
        is_dated = chance.random() < 0.2
        yield maker.report(next(ids), at, self.account, balance, today.isoformat() if is_dated else as_of.isoformat())
        generation = sum(moment <= at for moment in self.anew_at)
        for each in self.bookings:
            if each.listed_at <= at and first <= each.day <= last and not each.is_back(at):
                name = f"{each.number}-{generation}"
                yield maker.transaction(next(ids), at, self.account, name, each.minor, each.day.isoformat())
        if chance.random() < 0.7:
            yield maker.window(next(ids), at, self.account, first, last)

    def _balance(self, at: datetime) -> int:
        worth = self.opening_minor + sum(each.minor for each in self.bookings if each.is_in(at))
        return -worth if self.account.is_liability else worth


Banks = Mapping[str, Sequence[Bank]]


def make_banks(seed: int, world: World, now: datetime) -> Banks:
    """The banks of each tenant's pulled accounts, as they are when the run begins."""
    pulled = [account for account in world.accounts if account.is_pulled]
    return {tenant: [Bank.of(seed, tenant, account, now) for account in pulled] for tenant in ZONES}


def _booking(chance: Random, zone: str, number: int, booked_at: datetime) -> _Booking:
    """A booking; some are listed later than booked, some ahead of their day, and a few are taken back."""
    late = chance.choice([0, 0, 0, 0, 0, 2, 9, 26, -30]) * _HOUR
    day = booked_at.astimezone(ZoneInfo(zone)).date() - chance.choice([0, 0, 0, 0, 0, 0, 1, 2]) * _DAY
    back_at = booked_at + chance.randrange(8, 90) * _HOUR if chance.random() < 0.12 else None
    # Few amounts, so that rows are like one another.
    minor = chance.choice([-1, 1]) * chance.choice([500, 500, 2_000, chance.randrange(1, 30_000)])
    return _Booking(number, day, minor, booked_at, booked_at + late, back_at)
