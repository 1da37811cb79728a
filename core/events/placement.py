"""Where a booking is placed that has only a date: when it was first reported, within its day, unless a balance differs.

A bank gives a date, and the booking is in the balance of that day or is not. So a row with only a date is placed at
the moment when it was first reported, or the nearest one of its local day; a row that was reported within 15 minutes
after a balance belongs to that balance. That is the row's base place. If the next balance then leaves a gap, the rows
that explain the gap are moved: they were in the earlier balance already, or were not in it yet.

All this is a function of the set of facts: the order in which they arrive decides nothing. placement_changes.py finds
what changes when some facts are added.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from operator import itemgetter
from typing import NamedTuple
from zoneinfo import ZoneInfo

from core.events.calendar import INSTANT, day_end, day_start, local_day, within_day

TOGETHER = timedelta(minutes=15)
"""How long after a balance a row may be first reported and still be of the same pull."""
EARLIER_DAYS = 7
"""How many days before a balance's day a row may be dated that was not in the balance yet."""


class Row(NamedTuple):
    """A transaction that counts. `dated` is None if it has an instant, where it is placed for good.

    `reported_at`: when it was first reported, or the row of which it has a new id. `placed_at`: where it is placed.
    """

    transaction_id: str
    dated: date | None
    reported_at: datetime
    amount_minor: int
    placed_at: datetime


class Balance(NamedTuple):
    """A report as worth, and what is kept of the interval that ends there, since the balance before.

    `gap_minor`: how much more the worth moved than the rows that are placed in the interval say. `has_moved`: whether
    any row is elsewhere than at its base place because of that gap.
    """

    as_of: datetime
    worth_minor: int
    gap_minor: int = 0
    has_moved: bool = False


def belongs_to(reported_at: datetime, as_ofs: Sequence[datetime]) -> datetime | None:
    """The latest balance of the 15 minutes before a row was first reported; None if there is none.

    `as_ofs` is in order, and has at least all balances of these minutes.
    """
    index = bisect_right(as_ofs, reported_at) - 1
    return as_ofs[index] if index >= 0 and reported_at - as_ofs[index] <= TOGETHER else None


def lent(removed: Iterable[tuple[datetime, str]], standing: Iterable[tuple[datetime, str]]) -> dict[str, datetime]:
    """When rows were first reported of which these are new ids, by the id of the standing row.

    All are rows of one account, date and amount, as (first reported, id). Some banks give a row a new id, and the row
    of the old id is removed. Each removed row, the first ones first, lends its time to one row that was reported later.
    """
    waiting = sorted(standing)
    result = {}
    for first_reported, _ in sorted(removed):
        index = bisect_right(waiting, first_reported, key=itemgetter(0))
        if index < len(waiting):
            result[waiting.pop(index)[1]] = first_reported
    return result


class Position(NamedTuple):
    """Where a row is among balances: the time that counts as first reported, and its base place.

    `is_in_balance`: it is placed at the balance that it belongs to, so that the balance includes it.
    """

    effective_at: datetime
    base_at: datetime
    is_in_balance: bool

    def is_moved_after(self, placed_at: datetime) -> bool:
        """Whether a row at this place was moved after its balance, and so takes no part in the interval before."""
        return self.is_in_balance and placed_at > self.base_at


class Interval(NamedTuple):
    """The time from one balance, not included, to the next; `moved_minor` is how much the worth moved.

    `day` is the local day of `begin`, and ends at `day_end`. `earliest` is the first instant of the first day of which
    rows may be that were not in the balance at `begin` yet.
    """

    begin: datetime
    end: datetime
    moved_minor: int
    day: date
    earliest: datetime
    day_end: datetime

    @property
    def candidates(self) -> tuple[datetime, datetime]:
        """From where to where rows are placed that this interval may move, or has moved."""
        return self.earliest, max(self.day_end, self.begin + INSTANT)

    def has(self, moment: datetime) -> bool:
        """Whether a moment is in it."""
        return self.begin < moment <= self.end

    def counts(self, position: Position) -> bool:
        """Whether a row belongs to the sum that explains how the worth moved, unless the next interval moved it."""
        return self.has(position.base_at) and position.effective_at <= self.end


def position_of(row: Row, as_ofs: Sequence[datetime], zone: ZoneInfo) -> Position:
    """Where a row is among the balances `as_ofs`, which are in order and have those of the 15 minutes before it."""
    if row.dated is None:
        return Position(row.reported_at, row.placed_at, is_in_balance=False)
    balance_at = belongs_to(row.reported_at, as_ofs)
    effective_at = row.reported_at if balance_at is None else balance_at
    base_at = within_day(effective_at, row.dated, zone)
    return Position(effective_at, base_at, is_in_balance=base_at == balance_at)


def interval_between(before: Balance, balance: Balance, zone: ZoneInfo) -> Interval:
    """The interval between two balances of which one follows the other."""
    day = local_day(before.as_of, zone)
    return Interval(
        before.as_of,
        balance.as_of,
        balance.worth_minor - before.worth_minor,
        day,
        day_start(day - timedelta(days=EARLIER_DAYS), zone),
        day_end(day, zone),
    )


def is_of_earlier_day(row: Row, interval: Interval, first_recorded_at: datetime | None) -> bool:
    """Whether a row is dated in the week before the first balance's day, and not of an imported history.

    A history was first reported within 15 minutes of the account's very first row, at `first_recorded_at`.
    """
    if row.dated is None or not timedelta(0) < interval.day - row.dated <= timedelta(days=EARLIER_DAYS):
        return False
    return first_recorded_at is None or row.reported_at > first_recorded_at + TOGETHER


def explaining(
    gap_minor: int, of_balance: Sequence[Row], own_day: Sequence[Row], earlier: Sequence[Row], interval: Interval
) -> dict[str, datetime]:
    """The rows that explain a gap, with their places: the first explanation that fits, of equal rows the least id.

    `of_balance`: the rows that were reported together with the first balance, and are taken to be in it. `own_day`:
    rows of its day that are placed after it. `earlier`: rows of the week before. All are in order of their ids.
    """
    if not gap_minor:
        return {}

    def after_balance(rows: Iterable[Row]) -> dict[str, datetime]:
        latest = interval.day_end
        return {row.transaction_id: max(min(row.reported_at, latest), interval.begin + INSTANT) for row in rows}

    def at_balance(rows: Iterable[Row]) -> dict[str, datetime]:
        return {row.transaction_id: interval.begin for row in rows}

    not_yet_in, not_yet_known = (of_balance, gap_minor, after_balance), (earlier, gap_minor, after_balance)
    in_already = (own_day, -gap_minor, at_balance)
    for rows, wanted, placed in (not_yet_in, not_yet_known, in_already):
        if sum([row.amount_minor for row in rows]) == wanted:
            return placed(rows)
    for rows, wanted, placed in (not_yet_in, in_already, not_yet_known):
        for row in rows:
            if row.amount_minor == wanted:
                return placed([row])
    return {}
