"""Which days of an account its goals need new snapshots for, or their first."""

from collections import defaultdict
from datetime import date
from zoneinfo import ZoneInfo

from core.events.calendar import EARLIEST, local_day
from core.events.worth import WorthFold
from core.store.accounts import AccountRow

FIRST_DAY = EARLIEST.date()


def mark_dirty(row: AccountRow, fold: WorthFold, zone: ZoneInfo) -> None:
    """Note on a locked account for which days its goals need new snapshots, or their first.

    A movement that changes the worth for good makes all days from its own on dirty (`dirty_from`). If a later report
    cancels it, only the days up to that report are dirty (`late_from` to `late_through`): so a late fact costs what it
    changes, however long ago it was. The report's own day ends as it did, but its hours before the report may differ,
    and with them the moment at which a milestone was reached. No report cancels inflow: for goals that follow it, all
    days from `late_from` on are dirty.
    """
    if len(fold.movements) == 1 and fold.movements[0].worth_minor and not (fold.residuals or fold.opening_minor):
        mark_from(row, local_day(fold.movements[0].at, zone))
        return
    worths, first_inflow = _by_day(fold, zone)
    running = fold.opening_minor
    since = FIRST_DAY if running else None
    for day in sorted(worths):
        before, running = running, running + worths[day]
        if before == 0 != running:
            since = day
        elif before != 0 == running and since is not None:
            _mark_late(row, since, day)
        elif before == 0 == running and (row.dirty_from is None or day < row.dirty_from):
            # The end-of-day worth is the same, but not the worth at each hour, and a link may count from such an hour.
            _mark_late(row, day, day)
    if running and since is not None:
        mark_from(row, since)
    if first_inflow is not None and (row.dirty_from is None or first_inflow < row.dirty_from):
        _mark_late(row, first_inflow, first_inflow)


def _by_day(fold: WorthFold, zone: ZoneInfo) -> tuple[dict[date, int], date | None]:
    """By how much the worth moves on each day, and the first day on which the inflow does."""
    worths: dict[date, int] = defaultdict(int)
    inflows: dict[date, int] = defaultdict(int)
    for movement in fold.movements:
        day = local_day(movement.at, zone)
        worths[day] += movement.worth_minor
        inflows[day] += movement.inflow_minor
    for as_of, minor in fold.residuals.items():
        if minor:
            worths[local_day(as_of, zone)] += minor
    return worths, min((day for day, minor in inflows.items() if minor), default=None)


def mark_from(row: AccountRow, day: date) -> None:
    """Mark every day from `day` on as dirty."""
    if row.dirty_from is None or day < row.dirty_from:
        row.dirty_from, row.is_changed = day, True


def _mark_late(row: AccountRow, first: date, last: date) -> None:
    if row.late_from is None or row.late_through is None:
        row.late_from, row.late_through, row.is_changed = first, last, True
        return
    both = min(row.late_from, first), max(row.late_through, last)
    if both != (row.late_from, row.late_through):
        (row.late_from, row.late_through), row.is_changed = both, True
