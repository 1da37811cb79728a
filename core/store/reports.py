"""Rows of balance reports, read by key and written in bulk, and which report or row decides an account's currency."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from core.events.currency import CurrencyFact, SaidBy
from core.events.facts import Rank, Report
from core.events.worth import NextReport, StoredReport
from core.store import driver
from core.store.accounts import AccountKey
from core.store.driver import Session, Sql

ReportKey = tuple[str, str, datetime]


class MarketPeriod(NamedTuple):
    """A time of an account, from `since` on and before `until`, and which other ones are evaluated together with it."""

    account_key: AccountKey
    since: datetime
    until: datetime
    together: int


_REPORT = {
    "tenant": driver.TEXT,
    "account_id": driver.TEXT,
    "as_of": driver.TIMESTAMPTZ,
    "current_minor": driver.INT8,
    "available_minor": driver.INT8,
    "currency": driver.TEXT,
    "residual_minor": driver.INT8,
    "gap_minor": driver.INT8,
    "has_moved": driver.BOOL,
    "event_time": driver.TIMESTAMPTZ,
    "source": driver.TEXT,
    "event_id": driver.TEXT,
}
# What is kept of the interval that ends at a report, see core.events.placement, has writes of its own.
_KEPT = ("residual_minor", "gap_minor", "has_moved")
_LIST = ", ".join(f"r.{column}" for column in _REPORT)
_KEYS = f"{driver.split('tenants')}, {driver.split('accounts')}, :moments"
_OF_ACCOUNT = "tenant = :tenant AND account_id = :account_id"

_READ_REPORTS = Sql(
    f"""SELECT {_LIST}
    FROM unnest({_KEYS}) AS k(tenant, account_id, as_of)
    JOIN reports r USING (tenant, account_id, as_of)"""
)
_READ_ALL_REPORTS = Sql(
    f"""SELECT {_LIST} FROM reports r
    WHERE r.tenant = :tenant AND r.account_id = :account_id"""
)
_TAKE_REPORTS = Sql(f"DELETE FROM reports r WHERE {_OF_ACCOUNT} RETURNING {_LIST}")
# Reads all rows of an account that has no report, so it is asked only once what decided before does not any more.
_FIRST_FACT = Sql(
    f"""SELECT said_by, currency, event_time, source, event_id FROM (
        SELECT '{SaidBy.REPORT}' AS said_by, 0 AS turn, as_of, currency, event_time, source, event_id
        FROM reports WHERE {_OF_ACCOUNT}
        UNION ALL
        SELECT '{SaidBy.REPORT}', 0, as_of, currency, event_time, source, event_id
        FROM waiting_reports WHERE {_OF_ACCOUNT}
        UNION ALL
        (SELECT '{SaidBy.TRANSACTION}', 1, NULL, currency, event_time, source, event_id
        FROM transactions
        WHERE {_OF_ACCOUNT} AND NOT pending AND NOT removed AND NOT transaction_id = ANY(CAST(:rows AS text[]))
        ORDER BY event_time, source COLLATE "C", event_id COLLATE "C", currency LIMIT 1)) AS facts
    WHERE as_of IS NULL OR NOT (as_of, currency) IN (
        SELECT * FROM unnest(CAST(:times AS timestamptz[]), CAST(:currencies AS text[])))
    ORDER BY turn, event_time, source COLLATE "C", event_id COLLATE "C", currency LIMIT 1"""
)
_READ_NEXT_REPORTS = Sql(
    f"""SELECT k.tenant, k.account_id, k.moment, n.as_of, n.current_minor, n.residual_minor,
        CASE WHEN k.with_sum THEN (
            SELECT coalesce(sum(t.amount_minor), 0)::bigint FROM transactions t
            WHERE t.tenant = k.tenant AND t.account_id = k.account_id AND t.counts
              AND t.posted_at BETWEEN k.moment AND coalesce(n.as_of, 'infinity')) ELSE 0 END
    FROM unnest({_KEYS}, :with_sums) AS k(tenant, account_id, moment, with_sum)
    LEFT JOIN LATERAL (
        SELECT r.as_of, r.current_minor, r.residual_minor FROM reports r
        WHERE r.tenant = k.tenant AND r.account_id = k.account_id AND r.as_of >= k.moment
        ORDER BY r.as_of LIMIT 1) n ON true"""
)
_ASSIGNMENTS = ", ".join(f"{column} = s.{column}" for column in list(_REPORT)[3:] if column not in _KEPT)
_AS_IT_IS = None, None
_UPDATE_REPORTS = Sql(
    f"""UPDATE reports r SET {_ASSIGNMENTS} FROM staged_reports s
    WHERE (r.tenant, r.account_id, r.as_of) = (s.tenant, s.account_id, s.as_of)"""
)
# What moved an account's worth besides its transactions is the market only if it has transactions: of one that only
# reports balances nobody can tell. The differences are read only where there are some.
_READ_MARKET = Sql(
    f"""SELECT k.n, CAST((SELECT coalesce(sum(r.residual_minor), 0) FROM reports r
            WHERE r.tenant = k.tenant AND r.account_id = k.account_id
              AND r.as_of >= k.since AND r.as_of < k.until) AS text)
    FROM (
        SELECT p.*, bool_or(EXISTS (
            SELECT FROM transactions t
            WHERE t.tenant = p.tenant AND t.account_id = p.account_id AND t.counts
              AND t.posted_at >= p.since AND t.posted_at < p.until AND t.amount_minor <> 0
        )) OVER (PARTITION BY p.together) AS has_transactions
        FROM unnest({driver.split("tenants")}, {driver.split("accounts")}, :sinces, :untils, :together)
            WITH ORDINALITY AS p(tenant, account_id, since, until, together, n)) k
    WHERE k.has_transactions"""
)
_MOVE = Sql(
    f"""UPDATE reports r SET residual_minor = r.residual_minor + s.minor,
        gap_minor = coalesce(s.gap_minor, r.gap_minor), has_moved = coalesce(s.has_moved, r.has_moved)
    FROM unnest({_KEYS}, :minors, :gaps, :have_moved) AS s(tenant, account_id, as_of, minor, gap_minor, has_moved)
    WHERE (r.tenant, r.account_id, r.as_of) = (s.tenant, s.account_id, s.as_of)"""
)


def read_reports(session: Session, keys: Iterable[ReportKey]) -> dict[ReportKey, StoredReport]:
    """Reports by key; a report that is not stored is left out."""
    wanted = list(keys)
    if not wanted:
        return {}
    rows = _READ_REPORTS.rows(session, _columns(wanted))
    return {(row[0], row[1], row[2]): _report(row) for row in rows}


def read_all_reports(session: Session, key: AccountKey) -> dict[datetime, StoredReport]:
    """Every report of one account: needed when the account's kind changes, which changes the sign of all of them."""
    rows = _READ_ALL_REPORTS.rows(session, {"tenant": key[0], "account_id": key[1]})
    return {row[2]: _report(row) for row in rows}


def take_reports(session: Session, key: AccountKey) -> dict[datetime, StoredReport]:
    """Delete every report of a locked account, and return them."""
    return {row[2]: _report(row) for row in _TAKE_REPORTS.rows(session, {"tenant": key[0], "account_id": key[1]})}


def first_stored_fact(
    session: Session, key: AccountKey, *, but_rows: Collection[str], but_reports: Collection[tuple[datetime, str]]
) -> CurrencyFact | None:
    """The stored report or booked row of a locked account that decides its currency, but for these."""
    parameters = {
        "tenant": key[0],
        "account_id": key[1],
        "rows": list(but_rows),
        "times": [as_of for as_of, _ in but_reports],
        "currencies": [currency for _, currency in but_reports],
    }
    row = _FIRST_FACT.first(session, parameters)
    return None if row is None else CurrencyFact(SaidBy(row[0]), *row[1:])


def read_next_reports(
    session: Session, with_sums: Mapping[ReportKey, bool]
) -> dict[AccountKey, dict[datetime, NextReport]]:
    """For each (tenant, account, moment): the first report at or after the moment.

    Where `with_sums` says True, also the sum of the transactions from the moment up to that report.
    """
    wanted = sorted(with_sums)
    answers: dict[AccountKey, dict[datetime, NextReport]] = {}
    if wanted:
        sums = {"with_sums": driver.bools([with_sums[key] for key in wanted])}
        for row in _READ_NEXT_REPORTS.rows(session, _columns(wanted) | sums):
            answer = NextReport(row[3], row[4] or 0, row[5] or 0, row[6])
            answers.setdefault((row[0], row[1]), {})[row[2]] = answer
    return answers


def market_movements(session: Session, periods: Sequence[MarketPeriod]) -> list[int]:
    """By how much the market moved the worth of each account in its period: the sum of the differences of its reports.

    It is 0 where no period with the same number `together` has a transaction that counts.
    """
    moved = [0] * len(periods)
    if periods:
        columns: dict[str, object] = {**driver.key_columns("accounts", [each.account_key for each in periods])}
        columns |= {"sinces": driver.moments([each.since for each in periods])}
        columns |= {"untils": driver.moments([each.until for each in periods])}
        columns |= {"together": driver.int8s([each.together for each in periods])}
        for n, minor in _READ_MARKET.rows(session, columns):
            moved[n - 1] = int(minor)
    return moved


def write_reports(
    session: Session,
    new: Mapping[ReportKey, tuple[Report, int]],
    known: Mapping[ReportKey, Report],
    residuals: Mapping[ReportKey, int],
    intervals: Mapping[ReportKey, tuple[int, bool]],
) -> None:
    """Write new reports with their residuals, rewrite changed ones, and add to the residuals of known ones.

    `intervals`: the gap of the interval that ends at a report, new or known, and whether rows are moved because of it.
    """
    if new:
        rows = (
            _report_values(key, report, residual, *intervals.get(key, (0, False)))
            for key, (report, residual) in new.items()
        )
        driver.copy_rows(session, "reports", _REPORT, rows)
    if known:
        values = (_report_values(key, report, 0, 0, has_moved=False) for key, report in known.items())
        driver.stage(session, "staged_reports", _REPORT, values)
        _UPDATE_REPORTS.run(session, {})
    moved = sorted(residuals.keys() | (intervals.keys() - new.keys()))
    if moved:
        kept = [intervals.get(key, _AS_IT_IS) for key in moved]
        columns = _columns(moved) | {"minors": driver.int8s([residuals.get(key, 0) for key in moved])}
        columns |= {"gaps": driver.int8s([each[0] for each in kept])}
        columns |= {"have_moved": driver.bools([each[1] for each in kept])}
        _MOVE.run(session, columns)


def _columns(keys: Sequence[ReportKey]) -> dict[str, object]:
    columns = driver.key_columns("accounts", [key[:2] for key in keys])
    return {**columns, "moments": driver.moments([key[2] for key in keys])}


def _report(row: Any) -> StoredReport:
    rank = Rank(row[9], False, row[10], row[11])
    return StoredReport(Report(row[2], rank, row[3], row[5], row[4]), row[6])


def _report_values(
    key: ReportKey, report: Report, residual_minor: int, gap_minor: int, has_moved: bool
) -> tuple[object, ...]:
    rank = report.rank
    return (
        *key,
        report.current_minor,
        report.available_minor,
        report.currency,
        residual_minor,
        gap_minor,
        has_moved,
        rank.time,
        rank.source,
        rank.event_id,
    )
