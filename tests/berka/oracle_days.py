"""What the Berka data should come to at the close of each day, from the definitions alone; no code of core."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from tests.berka.oracle import SHARES, Movement, report_of_day, share
from tests.chaos.oracle.placement import Record, place_all

FIRST_DAY, LAST_DAY = date(1993, 1, 1), date(1994, 3, 31)
DAYS = tuple((FIRST_DAY + timedelta(days=n)).isoformat() for n in range((LAST_DAY - FIRST_DAY).days + 1))

# (day, hellers), in order of day.
Line = list[tuple[str, int]]


def closes_by_sum(movements: Sequence[Movement]) -> dict[str, Line]:
    """Each account's worth at the close of every day, where the transactions alone tell."""
    closes = {}
    for account, own in _by_account(movements).items():
        moved: dict[str, int] = defaultdict(int)
        for movement in own:
            moved[_iso(movement.day)] += movement.amount
        worth, line = 0, []
        for day in DAYS:
            worth += moved.get(day, 0)
            line.append((day, worth))
        closes[account] = line
    return closes


def closes_by_reports(movements: Sequence[Movement]) -> dict[str, Line]:
    """Each account's worth at the close of every day, where each day that moved has a report after its rows; 0 before.

    The rows have only dates, and are reported with their day's balance at noon. Where two balances of the source do not
    agree with the rows between them, the next balance may say that the one before did not hold a row of its day yet.
    """
    closes = {}
    for account, own in _by_account(movements).items():
        reports = {_noon(day): report_of_day(own, day) for day in {movement.day for movement in own}}
        reports[min(reports) - timedelta(days=1)] = 0
        records = [Record(each.name, _noon(each.day), each.name, each.amount, _noon(each.day).date()) for each in own]
        places = place_all(records, reports, "UTC")
        moved = dict.fromkeys(places.values(), 0)
        for each in own:
            moved[places[each.name]] += each.amount
        line = []
        for day in DAYS:
            end = datetime.fromisoformat(f"{day}T00:00:00+00:00") + timedelta(days=1)
            last = max((as_of for as_of in reports if as_of < end), default=None)
            late = sum(minor for at, minor in moved.items() if last is not None and last < at < end)
            line.append((day, 0 if last is None else reports[last] + late))
        closes[account] = line
    return closes


def goal_closes(worths: Mapping[str, Line]) -> dict[tuple[str, str], Line]:
    """(account, tracking) -> the amount at the close of every day."""
    return {
        (account, tracking): [(day, share(worth, percent)) for day, worth in line]
        for account, line in worths.items()
        for tracking, percent in SHARES.items()
    }


def sparse(line: Line) -> Line:
    """The first day, and each whose amount is another than that of the day before."""
    return [line[n] for n in range(len(line)) if n == 0 or line[n][1] != line[n - 1][1]]


def dense(line: Line, before: int) -> Line:
    """Every day's amount, from the days on which it became another, and what it was before the first of them."""
    became, amount, days = dict(line), before, []
    for day in DAYS:
        amount = became.get(day, amount)
        days.append((day, amount))
    return days


def _by_account(movements: Sequence[Movement]) -> dict[str, list[Movement]]:
    by_account: dict[str, list[Movement]] = defaultdict(list)
    for movement in movements:
        by_account[movement.account].append(movement)
    return by_account


def _noon(day: str) -> datetime:
    """When the rows and the balance of a day of the source are reported."""
    return datetime.fromisoformat(f"{_iso(day)}T12:00:00+00:00")


def _iso(day: str) -> str:
    """A day of the source, YYMMDD of the 1990s, as YYYY-MM-DD."""
    return f"19{day[:2]}-{day[2:4]}-{day[4:]}"
