"""Day marks: which closes of its goals a batch makes an account's facts change, noted on the account itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from core.events.calendar import EARLIEST
from core.store.accounts import AccountRow

FIRST_DAY = EARLIEST.date()
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class DayMove:
    """By how much the worth and the inflow of an account at the close of a day and of all later ones move."""

    worth_minor: int
    inflow_minor: int


def mark_days(row: AccountRow, opening_minor: int, moves: Mapping[date, DayMove]) -> None:
    """Note on a locked account which closes are to be written anew, or for the first time.

    What moves the worth for good is marked from its day on (`dirty_from`). What a later report takes back again is
    marked up to that report only (`late_from` to `late_through`), so that a late fact costs what it changes and not
    what has passed since. Inflow, which nothing takes back, counts from `late_from` on, for the goals that follow it.
    """
    running, since = opening_minor, FIRST_DAY if opening_minor else None
    for day in sorted(moves):
        before, running = running, running + moves[day].worth_minor
        if before == 0 != running:
            since = day
        elif before != 0 == running and since is not None:
            _mark_late(row, since, day - _DAY)
        elif before == 0 == running and (row.dirty_from is None or day < row.dirty_from):
            # The close stays, but not the measure at some hour of the day, from which a link may count.
            _mark_late(row, day, day)
    if running and since is not None:
        mark_from(row, since)
    first_inflow = min((day for day, move in moves.items() if move.inflow_minor), default=None)
    if first_inflow is not None and (row.dirty_from is None or first_inflow < row.dirty_from):
        _mark_late(row, first_inflow, first_inflow)


def mark_from(row: AccountRow, day: date) -> None:
    """Mark every close from a day on."""
    if row.dirty_from is None or day < row.dirty_from:
        row.dirty_from, row.is_changed = day, True


def _mark_late(row: AccountRow, first: date, last: date) -> None:
    if row.late_from is None or row.late_through is None:
        row.late_from, row.late_through, row.is_changed = first, last, True
        return
    both = min(row.late_from, first), max(row.late_through, last)
    if both != (row.late_from, row.late_through):
        (row.late_from, row.late_through), row.is_changed = both, True
