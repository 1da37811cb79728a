"""Rows of windows: written, looked up by day, and the stored transactions that a window would have had."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime

from core.events.facts import Transaction, Window
from core.store import driver
from core.store.accounts import AccountKey
from core.store.driver import Session, Sql
from core.store.transactions import TRANSACTION_LIST, stored_transaction

_WINDOWS = f"""unnest({driver.split("tenants")}, {driver.split("accounts")}, {driver.split("sources")}, :times, :firsts,
    :lasts)"""
_ADD_WINDOWS = Sql(
    f"""INSERT INTO windows (tenant, account_id, source, event_time, from_day, through_day) SELECT * FROM {_WINDOWS}
    ON CONFLICT DO NOTHING RETURNING tenant, account_id, source, from_day, through_day, event_time"""
)
# A row with only a date is placed on its day or after a balance of one of the next days, until the instant after that.
_OLDER_ROWS = f"""SELECT {TRANSACTION_LIST}
    FROM {_WINDOWS} AS k(tenant, account_id, source, event_time, first, last)
    JOIN transactions t ON t.tenant = k.tenant AND t.account_id = k.account_id
        AND t.posted_at BETWEEN k.first AND k.last AND t.source = k.source AND t.event_time < k.event_time"""
_BOOKED_BEFORE = Sql(
    f"""{_OLDER_ROWS} AND t.counts
    UNION ALL {_OLDER_ROWS} AND NOT t.counts AND NOT t.pending AND NOT t.removed"""
)
_LATEST_WINDOWS = Sql(
    f"""SELECT k.number, w.event_time
    FROM unnest({driver.split("tenants")}, {driver.split("accounts")}, {driver.split("sources")}, :times, :days)
        WITH ORDINALITY AS k(tenant, account_id, source, event_time, day, number)
    CROSS JOIN LATERAL (
        SELECT event_time FROM windows w
        WHERE w.tenant = k.tenant AND w.account_id = k.account_id AND w.source = k.source
          AND w.event_time > k.event_time AND w.from_day <= k.day AND w.through_day >= k.day
        ORDER BY w.event_time DESC LIMIT 1) AS w"""
)


def add_windows(session: Session, windows: Iterable[tuple[AccountKey, Window]]) -> set[tuple[AccountKey, Window]]:
    """Store windows, and return those that are new."""
    wanted = list(windows)
    if not wanted:
        return set()
    days = [(window.first_day, window.last_day) for _, window in wanted]
    spans = {"firsts": driver.dates([day for day, _ in days]), "lasts": driver.dates([day for _, day in days])}
    rows = _ADD_WINDOWS.rows(session, _of_windows(wanted) | spans)
    return {((row[0], row[1]), Window(*row[2:])) for row in rows}


def booked_before(
    session: Session, spans: Sequence[tuple[AccountKey, Window, datetime, datetime]]
) -> dict[AccountKey, list[Transaction]]:
    """For each window the booked rows of its source that are older and placed in the span of time given with it."""
    found: dict[AccountKey, list[Transaction]] = {}
    if spans:
        parameters = _of_windows([(key, window) for key, window, _, _ in spans])
        parameters["firsts"] = driver.moments([first for _, _, first, _ in spans])
        parameters["lasts"] = driver.moments([last for _, _, _, last in spans])
        for row in _BOOKED_BEFORE.rows(session, parameters):
            found.setdefault((row[0], row[1]), []).append(stored_transaction(row).transaction)
    return found


def latest_windows(
    session: Session, since: Mapping[tuple[AccountKey, str, date], datetime]
) -> dict[tuple[AccountKey, str, date], datetime]:
    """By (account, source, day) the time of the latest window over the day, if there is one after `since`."""
    wanted = list(since)
    if not wanted:
        return {}
    parameters: dict[str, object] = {
        **driver.key_columns("accounts", [key for key, _, _ in wanted]),
        "sources": driver.joined([source for _, source, _ in wanted]),
        "times": driver.moments(list(since.values())),
        "days": driver.dates([day for _, _, day in wanted]),
    }
    return {wanted[number - 1]: time for number, time in _LATEST_WINDOWS.rows(session, parameters)}


def _of_windows(windows: Sequence[tuple[AccountKey, Window]]) -> dict[str, object]:
    return {
        **driver.key_columns("accounts", [key for key, _ in windows]),
        "sources": driver.joined([window.source for _, window in windows]),
        "times": driver.moments([window.time for _, window in windows]),
    }
