"""Windows: of the days of a window a pull had all booked rows, so an older row that it did not have counts as removed.

Whether it does depends on the row's standing statement and on the latest window of its source over its day alone, so
the order in which rows and windows arrive decides nothing. A row is looked at when it is stated, and when a window
arrives that is later than it.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from core.events.calendar import INSTANT, day_end, day_start
from core.events.facts import AccountFacts, Transaction, Window
from core.events.placement import EARLIER_DAYS
from core.store import windows as store
from core.store.accounts import AccountKey, AccountRow
from core.store.driver import Session

Statements = Mapping[AccountKey, Sequence[Transaction]]


def add_windows(
    session: Session,
    accounts: Mapping[AccountKey, AccountRow],
    facts: Mapping[AccountKey, Sequence[AccountFacts]],
    winning_ids: set[int],
) -> list[tuple[AccountKey, Window]]:
    """Store the windows of locked accounts, note them on the accounts, and return those that are new.

    The id() of each new window is added to `winning_ids`.
    """
    stated = {(key, each.window): each.window for key in accounts for each in facts[key] if each.window is not None}
    new = store.add_windows(session, stated)
    winning_ids.update(id(stated[each]) for each in new)
    for key, window in new:
        row = accounts[key]
        row.last_window_at = max(filter(None, (row.last_window_at, window.time)))
        row.is_changed = True
    return sorted(new)


def rows_before(
    session: Session, windows: Sequence[tuple[AccountKey, Window]], zones: Mapping[str, ZoneInfo]
) -> dict[AccountKey, list[Transaction]]:
    """The stored rows that new windows would have had, and others that were reported before them."""
    spans = []
    for key, window in windows:
        zone = zones[key[0]]
        last = day_end(window.last_day + timedelta(days=EARLIER_DAYS), zone) + INSTANT
        spans.append((key, window, day_start(window.first_day, zone), last))
    return store.booked_before(session, spans)


def missing_statements(
    session: Session, accounts: Mapping[AccountKey, AccountRow], statements: Statements, zones: Mapping[str, ZoneInfo]
) -> dict[AccountKey, set[Transaction]]:
    """Those of the statements that a later window of their source would have had."""
    older: list[tuple[tuple[AccountKey, str, date], Transaction]] = []
    since: dict[tuple[AccountKey, str, date], datetime] = {}
    for key, of_account in statements.items():
        last_window_at, zone = accounts[key].last_window_at, zones[key[0]]
        if last_window_at is None:
            continue
        for each in of_account:
            day, rank = each.day(zone), each.rank
            if day is not None and each.booked is not None and rank.time < last_window_at:
                place = key, rank.source, day
                older.append((place, each))
                since[place] = min(rank.time, since.get(place, rank.time))
    latest = store.latest_windows(session, since)
    missing: dict[AccountKey, set[Transaction]] = {}
    for place, each in older:
        if place in latest and each.rank.time < latest[place]:
            missing.setdefault(place[0], set()).add(each)
    return missing
