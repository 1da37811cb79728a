"""How often amounts and closes are wrong in a mix of banks, by our rules and by the first instant of the day."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from benchmarks.banks.account import Account, worth_at
from benchmarks.banks.bank import Bank, bank_of
from benchmarks.banks.ledger import DAYS, moments, movements, start_of
from benchmarks.banks.mixes import Figures, Mix
from benchmarks.banks.pulls import Delivery, deliveries
from core.events.calendar import INSTANT, day_start

_ZONE = ZoneInfo("UTC")
_FIRST_CLOSE, _LAST_CLOSE = 1, 20
_CHECKED_AFTER_DAYS = 8
"""A close is checked a week after the end of its day."""
_LINKED_BACK = timedelta(days=30)

Rule = Callable[[Account], list[tuple[datetime, int]]]
"""Where each row that counts is placed, with its amount."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of one mix."""

    mix: Mix
    accounts: int
    ours: Figures
    first_instant: Figures


@dataclass(slots=True)
class _Wrong:
    """How many results of one rule are wrong, of all accounts."""

    linked_today: int = 0
    linked_back: int = 0
    closes: int = 0

    def figures(self, accounts: int) -> Figures:
        closes = accounts * (_LAST_CLOSE - _FIRST_CLOSE + 1)
        today, back = (round(100 * count / accounts, 1) for count in (self.linked_today, self.linked_back))
        return Figures(today, back, round(100 * self.closes / closes, 1))


def by_our_rules(account: Account) -> list[tuple[datetime, int]]:
    """Where core placed the rows."""
    return [(at, account.rows[name].transaction.amount_minor) for name, at in account.places.items()]


def by_first_instant(account: Account) -> list[tuple[datetime, int]]:
    """The rule beside ours: a row with only a date is placed at the first instant of its day."""
    placed = []
    for row in account.rows.values():
        transaction = row.transaction
        at = transaction.posted_at if transaction.dated is None else day_start(transaction.dated, _ZONE)
        if row.counts and at is not None:
            placed.append((at, transaction.amount_minor))
    return placed


def measure(mix: Mix, accounts: int, seed: int, reached: Callable[[int], None]) -> Measured:
    """Simulate so many accounts of a mix; a seed and a number make the same account in any run."""
    wrong: dict[Rule, _Wrong] = {by_our_rules: _Wrong(), by_first_instant: _Wrong()}
    for number in range(accounts):
        _simulate(mix, Random(f"{seed} {mix.name} {number}"), wrong)
        reached(number + 1)
    return Measured(mix, accounts, *(each.figures(accounts) for each in wrong.values()))


def _simulate(mix: Mix, dice: Random, wrong: dict[Rule, _Wrong]) -> None:
    user = moments(dice)
    bank = bank_of(dice, mix, movements(dice, user))
    left: Sequence[Delivery] = deliveries(dice, mix, bank, user.connected)
    last_balance = max(as_of for delivery in left for as_of in delivery.reports)
    account = Account(_ZONE)
    for day in range(_FIRST_CLOSE, _LAST_CLOSE + 1):
        left = _apply_until(account, left, start_of(day + _CHECKED_AFTER_DAYS))
        for rule, of_rule in wrong.items():
            of_rule.closes += _is_wrong(bank, account, rule, start_of(day + 1), last_balance)
    _apply_until(account, left, start_of(DAYS + 1))
    linked = day_start(user.linked.date(), _ZONE)
    for rule, of_rule in wrong.items():
        # An amount is the last balance, which is right, minus the worth just before the link begins.
        of_rule.linked_today += _is_wrong(bank, account, rule, linked, last_balance)
        of_rule.linked_back += _is_wrong(bank, account, rule, linked - _LINKED_BACK, last_balance)


def _apply_until(account: Account, left: Sequence[Delivery], moment: datetime) -> Sequence[Delivery]:
    """Apply what arrives up to a moment; returns the rest."""
    for number, delivery in enumerate(left):
        if delivery.arrived_at > moment:
            return left[number:]
        account.apply(delivery.statements, delivery.reports)
    return []


def _is_wrong(bank: Bank, account: Account, rule: Rule, moment: datetime, last_balance: datetime) -> bool:
    """Whether the worth just before a day begins is neither the bank's nor that by the dates it shows."""
    end = moment - INSTANT
    worth = worth_at(end, account.balances, rule(account))
    return worth not in (bank.ledger.worth_at(end), bank.worth_by_dates(end.date(), last_balance))
