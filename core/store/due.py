"""Facts that do not count yet: which of those dated too far ahead are due, and the reports that wait.

A report waits while it is dated too far ahead, or is in another currency than its account. A transaction waits in its
own row, since other statements about it must win or lose against it meanwhile. A report waits in a table of its own.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from core.events.facts import REPORT_AWAITED, Rank, Report
from core.store import driver
from core.store.accounts import AccountKey
from core.store.driver import Session, Sql

# (tenant, account_id, as_of, currency)
WaitingKey = tuple[str, str, datetime, str]


class DueFacts(NamedTuple):
    """The facts of an account whose time has come: the ids of its transactions, and the keys of its reports.

    `is_report_overdue`: it has had rows for so long that its first report is awaited no longer.
    """

    account_key: AccountKey
    transaction_ids: list[str]
    report_keys: list[WaitingKey]
    is_report_overdue: bool


_REPORT = {
    "tenant": driver.TEXT,
    "account_id": driver.TEXT,
    "as_of": driver.TIMESTAMPTZ,
    "current_minor": driver.INT8,
    "available_minor": driver.INT8,
    "currency": driver.TEXT,
    "event_time": driver.TIMESTAMPTZ,
    "source": driver.TEXT,
    "event_id": driver.TEXT,
    "due_at": driver.TIMESTAMPTZ,
}
_KEY = ("tenant", "account_id", "as_of", "currency")
_KEYS = f"""unnest({driver.split("tenants")}, {driver.split("accounts")}, CAST(:times AS timestamptz[]),
    {driver.split("currencies")})"""
_LIST = ", ".join(_REPORT)
IS_REPORT_AWAITED = "first_report_at IS NULL AND known_by_rows_at IS NULL"
"""Of accounts in SQL: whether their first report is awaited."""
_FIND = Sql(
    f"""SELECT tenant, account_id,
        coalesce(array_agg(transaction_id) FILTER (WHERE transaction_id IS NOT NULL), '{{}}'),
        coalesce(array_agg(as_of) FILTER (WHERE as_of IS NOT NULL), '{{}}'),
        coalesce(array_agg(currency) FILTER (WHERE as_of IS NOT NULL), '{{}}'), bool_or(is_report_overdue)
    FROM (
        (SELECT tenant, account_id, transaction_id, CAST(NULL AS timestamptz) AS as_of, NULL AS currency,
            false AS is_report_overdue
         FROM transactions WHERE due_at <= :now ORDER BY due_at LIMIT :most)
        UNION ALL
        (SELECT tenant, account_id, NULL, as_of, currency, false FROM waiting_reports
         WHERE due_at <= :now ORDER BY due_at LIMIT :most)
        UNION ALL
        (SELECT tenant, account_id, NULL, NULL, NULL, true FROM accounts
         WHERE first_recorded_at <= :overdue AND {IS_REPORT_AWAITED} ORDER BY first_recorded_at LIMIT :most)) AS due
    GROUP BY account_id, tenant ORDER BY account_id, tenant"""
)
_READ = Sql(f"""SELECT {_LIST} FROM {_KEYS} AS k({", ".join(_KEY)}) JOIN waiting_reports USING ({", ".join(_KEY)})""")
_KEEP = Sql(
    f"""INSERT INTO waiting_reports ({_LIST}) SELECT {_LIST} FROM staged_waiting_reports
    ON CONFLICT ({", ".join(_KEY)}) DO UPDATE SET
        {", ".join(f"{column} = EXCLUDED.{column}" for column in _REPORT if column not in _KEY)}"""
)
_TAKE = Sql(f"DELETE FROM waiting_reports WHERE tenant = :tenant AND account_id = :account_id RETURNING {_LIST}")
_FORGET = Sql(f"DELETE FROM waiting_reports WHERE ({', '.join(_KEY)}) IN (SELECT * FROM {_KEYS})")


def find_due(session: Session, now: datetime, most: int) -> list[DueFacts]:
    """The facts that are due, by account, and the accounts whose first report is overdue; at most `most` of each kind.

    Of each kind those that have been due longest come first.
    """
    rows = _FIND.rows(session, {"now": now, "overdue": now - REPORT_AWAITED, "most": most})
    return [
        DueFacts(
            (tenant, account_id), list(names), [(tenant, account_id, *key) for key in zip(*keys, strict=True)], overdue
        )
        for tenant, account_id, names, *keys, overdue in rows
    ]


def read_waiting_reports(session: Session, keys: Collection[WaitingKey]) -> dict[WaitingKey, Report]:
    """Waiting reports by key; a report that does not wait is left out."""
    if not keys:
        return {}
    return {(row[0], row[1], row[2], row[5]): _report(row) for row in _READ.rows(session, _columns(keys))}


def write_waiting_reports(session: Session, reports: Iterable[tuple[AccountKey, Report]]) -> None:
    """Write waiting reports over those that are stored, if any are."""
    rows = [(*key, *_values(report)) for key, report in reports]
    if rows:
        driver.stage(session, "staged_waiting_reports", _REPORT, rows)
        _KEEP.run(session, {})


def forget_waiting_reports(session: Session, keys: Collection[WaitingKey]) -> None:
    """Delete waiting reports, which are facts of the transaction now."""
    if keys:
        _FORGET.run(session, _columns(keys))


def take_waiting_reports(session: Session, key: AccountKey) -> list[Report]:
    """Delete all waiting reports of one account, and return them."""
    return [_report(row) for row in _TAKE.rows(session, {"tenant": key[0], "account_id": key[1]})]


def _columns(keys: Iterable[WaitingKey]) -> dict[str, object]:
    tenants, accounts, times, currencies = zip(*keys, strict=True)
    return {
        "tenants": driver.joined(tenants),
        "accounts": driver.joined(accounts),
        "times": list(times),
        "currencies": driver.joined(currencies),
    }


def _report(row: Any) -> Report:
    rank = Rank(row[6], False, row[7], row[8])
    return Report(row[2], rank, row[3], row[5], row[4], row[9])


def _values(report: Report) -> tuple[object, ...]:
    """The columns but for the account."""
    rank = report.rank
    return (
        report.as_of,
        report.current_minor,
        report.available_minor,
        report.currency,
        rank.time,
        rank.source,
        rank.event_id,
        report.due_at,
    )
