"""How an integrator pulls an account, and what each pull makes known: balances, rows, removals, as they arrive."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from enum import Enum, auto
from random import Random
from typing import NamedTuple

from benchmarks.banks.bank import Bank, Booking
from benchmarks.banks.dice import hours, is_one_of
from benchmarks.banks.ledger import DAYS, start_of
from benchmarks.banks.mixes import Mix
from core.events.facts import Rank, Transaction

CURRENCY = "USD"
_WINDOW = timedelta(days=14)


class Pattern(Enum):
    """When an account is pulled."""

    DAILY = auto()  # at one time of the day
    ANY_TIME = auto()  # once a day, at any time
    FOUR = auto()  # every six hours, from two o'clock on
    WEBHOOKS = auto()  # whenever the provider says that something is new
    ROW_WEBHOOKS = auto()  # rows whenever something is new, and a balance once a day


class Pull(NamedTuple):
    """When a pull begins, and whether it asks for the balance as well as for the rows."""

    at: datetime
    has_balance: bool


class Delivery(NamedTuple):
    """What one body makes known when it arrives: statements about rows, or the worth by the balance's `as_of`."""

    arrived_at: datetime
    statements: list[Transaction]
    reports: dict[datetime, int]


def deliveries(dice: Random, mix: Mix, bank: Bank, connected: datetime) -> list[Delivery]:
    """All that becomes known of an account, in order of arrival."""
    pulls = _pulls(dice, connected)
    with_window = is_one_of(dice, 50)
    shares_time = not is_one_of(dice, mix.own_times)
    balance_is_first = is_one_of(dice, 75)
    later = mix.first_rows_later
    # How long after the first balance the first rows come; None: with the next pull.
    delays = timedelta(0), hours(dice, 2 / 60, 20 / 60), hours(dice, 1, 6), None
    delay = dice.choices(delays, (100 - sum(later), *later))[0]
    found = []
    rows = []
    for number, pull in enumerate(pulls):
        seconds = timedelta(seconds=2) + timedelta(seconds=dice.expovariate(1 / 20))
        between = hours(dice, 1 / 60, 10 / 60) if is_one_of(dice, 10) else seconds
        balance_at, rows_at = (pull.at, pull.at + between) if balance_is_first else (pull.at + between, pull.at)
        time = pull.at if shares_time else None
        if number == 0 and delay:
            balance_at, rows_at, time = pull.at, pull.at + delay, None
        if pull.has_balance:
            found.append(Delivery(balance_at, [], {time or balance_at: bank.worth_shown(balance_at)}))
        if number > 0 or delay is not None:
            rows.append((rows_at, time or rows_at))
    found += _rows(bank, rows, with_window=with_window)
    return sorted(found, key=lambda delivery: delivery.arrived_at)


def _pulls(dice: Random, connected: datetime) -> list[Pull]:
    pattern = dice.choices(tuple(Pattern), (35, 15, 20, 20, 10))[0]
    pulls = sorted(_pulls_of(dice, pattern, connected))
    pulls = [pull for pull in pulls if connected + timedelta(minutes=15) < pull.at]
    if is_one_of(dice, 30):
        begin = start_of(1) + hours(dice, 0, 19 * 24)
        end = begin + hours(dice, 2 * 24, 6 * 24)
        pulls = [pull for pull in pulls if not begin < pull.at < end]
    return [Pull(connected, has_balance=True), *pulls]


def _pulls_of(dice: Random, pattern: Pattern, connected: datetime) -> Iterator[Pull]:
    hour = timedelta(hours=dice.choice((6, 10, 14, 20))) + hours(dice, 0, 0.2)
    for day in range(DAYS):
        if pattern in (Pattern.DAILY, Pattern.ROW_WEBHOOKS):
            yield Pull(start_of(day) + hour, has_balance=True)
        elif pattern is Pattern.ANY_TIME:
            yield Pull(start_of(day) + hours(dice, 5, 23), has_balance=True)
        elif pattern is Pattern.FOUR:
            for of_day in (2, 8, 14, 20):
                yield Pull(start_of(day) + hours(dice, of_day, of_day + 0.5), has_balance=True)
    if pattern in (Pattern.WEBHOOKS, Pattern.ROW_WEBHOOKS):
        is_full = pattern is Pattern.WEBHOOKS
        at = connected
        while at < start_of(DAYS):
            at += timedelta(hours=0.3 + dice.expovariate(1 / (5 if is_full else 6)))
            yield Pull(at, has_balance=is_full)


def _rows(bank: Bank, pulled: list[tuple[datetime, datetime]], *, with_window: bool) -> Iterator[Delivery]:
    """What the pulls of rows at these moments, each with its events' time, make known.

    By cursor, a pull has what is new and what was removed since the one before. By window, it has all rows of the last
    days again, and those of these days that it does not have are removed.
    """
    known: dict[str, Booking] = {}
    for number, (at, time) in enumerate(sorted(pulled)):
        since = (at - _WINDOW).date() if with_window and number else date.min
        shown = {bank.id_of(booking, at): booking for booking in bank.rows_shown(at) if booking.shown >= since}
        removed = [name for name, booking in known.items() if booking.shown >= since and name not in shown]
        stated = shown if with_window else {name: booking for name, booking in shown.items() if name not in known}
        records = [_record(name, booking, time) for name, booking in stated.items()]
        yield Delivery(at, records + [Transaction(name, Rank(time, True, "bank", name)) for name in removed], {})
        known.update(shown)
        for name in removed:
            del known[name]


def _record(name: str, booking: Booking, time: datetime) -> Transaction:
    dated = booking.shown if booking.instant is None else None
    rank = Rank(time, False, "bank", f"{name}-{time.isoformat()}")
    return Transaction(name, rank, booking.booked.amount_minor, CURRENCY, booking.instant, dated)
