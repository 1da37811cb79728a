"""The plan of a person's life: accounts, goals, and the rules that move money."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum
from random import Random
from typing import Protocol

from core.events.facts import AccountKind
from core.goals.goal import GoalStatus, GoalType, Tracking


class ReportCycle(Enum):
    """How often the balance of an account is reported."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True)
class AccountPlan:
    """An account and its worth at the beginning, in minor units."""

    account_id: str
    name: str
    currency: str
    worth_minor: int
    reports: ReportCycle = ReportCycle.DAILY
    kind: AccountKind = AccountKind.ASSET


@dataclass(frozen=True, slots=True)
class MilestonePlan:
    """An amount to reach, in units of the currency, and in how many days after the beginning."""

    amount: str
    description: str
    in_days: int


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """A share of an account for a goal; with `whole` the goal follows all of it, not counted in the 100%."""

    account_id: str
    percent: int = 100
    whole: bool = False


@dataclass(frozen=True, slots=True)
class GoalPlan:
    """A goal as its owner would make it; amounts in units of the currency, the deadline in days after the beginning."""

    name: str
    type: GoalType
    currency: str
    target: str
    links: tuple[LinkPlan, ...] = ()
    current: str | None = None
    tracking: Tracking | None = None
    milestones: tuple[MilestonePlan, ...] = ()
    deadline_in_days: int | None = None
    description: str | None = None
    status: GoalStatus = GoalStatus.ACTIVE
    auto_complete: bool = False
    ends_as: GoalStatus | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """One person."""

    user_id: str
    accounts: tuple[AccountPlan, ...]
    goals: tuple[GoalPlan, ...]
    rules: tuple[Rule, ...]


_MILLION = 1_000_000
_SATURDAY = 5


class How(Enum):
    """How a move is reported."""

    BOOKED = "booked"
    """A transaction, posted at once."""
    CARD = "card"
    """A pending transaction that another, a posted one, replaces some days later."""
    UNSEEN = "unseen"
    """No transaction: only the next reported balance shows it, as for a change of a market's price."""


@dataclass(frozen=True, slots=True)
class Move:
    """One change of one account's worth."""

    account_id: str
    amount_minor: int
    category: str
    description: str
    how: How = How.BOOKED


@dataclass(frozen=True, slots=True)
class Morning:
    """What a rule may use: the day, the random numbers, and the worths before the day."""

    day: date
    chances: Random
    worths: Mapping[str, int]


class Rule(Protocol):
    """A rule that moves money on some days."""

    def moves(self, morning: Morning) -> Iterator[Move]:
        """Yield the moves of one day."""
        ...


@dataclass(frozen=True, slots=True)
class Monthly:
    """The same amount on the same day of the month (1 to 28), in all months or some; `other` is the other side."""

    on: int
    account_id: str
    amount_minor: int
    category: str
    description: str
    other: str | None = None
    months: tuple[int, ...] = ()

    def moves(self, morning: Morning) -> Iterator[Move]:
        if morning.day.day != self.on or (self.months and morning.day.month not in self.months):
            return
        yield Move(self.account_id, self.amount_minor, self.category, self.description)
        if self.other is not None:
            yield Move(self.other, -self.amount_minor, self.category, self.description)


@dataclass(frozen=True, slots=True)
class Sometimes:
    """A random amount, on `percent` of the days: spending or, above zero, earning."""

    percent: int
    account_id: str
    least_minor: int
    most_minor: int
    category: str
    descriptions: tuple[str, ...]
    how: How = How.BOOKED
    step_minor: int = 1

    def moves(self, morning: Morning) -> Iterator[Move]:
        if morning.chances.randrange(100) >= self.percent:
            return
        amount = morning.chances.randrange(self.least_minor, self.most_minor + 1, self.step_minor)
        yield Move(self.account_id, amount, self.category, morning.chances.choice(self.descriptions), self.how)


@dataclass(frozen=True, slots=True)
class Interest:
    """A twelfth of a yearly rate on the worth or debt, rounded towards zero: 4.2% of 312,000.00 is 1,092.00."""

    on: int
    account_id: str
    yearly_ppm: int

    def moves(self, morning: Morning) -> Iterator[Move]:
        if morning.day.day != self.on:
            return
        worth = morning.worths[self.account_id]
        amount = abs(worth) * self.yearly_ppm // (12 * _MILLION)
        if amount:
            yield Move(self.account_id, amount if worth > 0 else -amount, "INTEREST", "Interest")


@dataclass(frozen=True, slots=True)
class PaidOff:
    """What is owed on a card, but at most `most_minor`, paid from another account."""

    on: int
    card_id: str
    payer_id: str
    most_minor: int | None = None

    def moves(self, morning: Morning) -> Iterator[Move]:
        owed = -morning.worths[self.card_id]
        if morning.day.day == self.on and owed > 0:
            paid = owed if self.most_minor is None else min(owed, self.most_minor)
            yield Move(self.payer_id, -paid, "LOAN_PAYMENTS", "Card payment")
            yield Move(self.card_id, paid, "LOAN_PAYMENTS", "Card payment, thank you")


@dataclass(frozen=True, slots=True)
class Valued:
    """A value that changes at random by parts per million, on working days or, with `on`, once a month."""

    account_id: str
    least_ppm: int
    most_ppm: int
    on: int | None = None

    def moves(self, morning: Morning) -> Iterator[Move]:
        is_due = morning.day.weekday() < _SATURDAY if self.on is None else morning.day.day == self.on
        if is_due:
            by_ppm = morning.chances.randint(self.least_ppm, self.most_ppm)
            worth = morning.worths[self.account_id]
            yield Move(self.account_id, worth * by_ppm // _MILLION, "", "", How.UNSEEN)
