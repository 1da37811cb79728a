"""Rows of facts: transactions and balance reports, read by key and written in bulk."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import astuple
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.events.facts import Rank, Report, SimpleTransaction, Transaction
from core.events.worth import NextReport, StoredReport, StoredTransaction, TransactionChange
from core.store import driver
from core.store.accounts import AccountKey
from core.store.driver import Direct, Row

TransactionKey = tuple[str, str, str]
ReportKey = tuple[str, str, datetime]
# The simple transactions of each account.
SimpleTransactions = Mapping[AccountKey, Sequence[SimpleTransaction]]

_TRANSACTION = {
    "tenant": driver.TEXT,
    "account_id": driver.TEXT,
    "transaction_id": driver.TEXT,
    "amount_minor": driver.INT8,
    "currency": driver.TEXT,
    "posted_at": driver.TIMESTAMPTZ,
    "pending": driver.BOOL,
    "removed": driver.BOOL,
    "counts": driver.BOOL,
    "replaces": driver.TEXT,
    "category": driver.TEXT,
    "description": driver.TEXT,
    "event_time": driver.TIMESTAMPTZ,
    "source": driver.TEXT,
    "event_id": driver.TEXT,
    "due_at": driver.TIMESTAMPTZ,
}
# The other columns of a simple transaction have their defaults.
_SIMPLE = {name: _TRANSACTION[name] for name in ("tenant", "counts", *SimpleTransaction.__struct_fields__)}
_REPORT = {
    "tenant": driver.TEXT,
    "account_id": driver.TEXT,
    "as_of": driver.TIMESTAMPTZ,
    "current_minor": driver.INT8,
    "available_minor": driver.INT8,
    "currency": driver.TEXT,
    "residual_minor": driver.INT8,
    "event_time": driver.TIMESTAMPTZ,
    "source": driver.TEXT,
    "event_id": driver.TEXT,
}
_RESIDUAL = {"tenant": driver.TEXT, "account_id": driver.TEXT, "as_of": driver.TIMESTAMPTZ, "minor": driver.INT8}
_THREE_TEXTS = driver.keys("a", "b", "c")
# Two columns of text, and one or two more that are passed as arrays.
_REPORT_KEYS = f"unnest({driver.split('a')}, {driver.split('b')}, CAST(:c AS timestamptz[]))"
_QUESTIONS = f"unnest({driver.split('a')}, {driver.split('b')}, CAST(:c AS timestamptz[]), CAST(:d AS boolean[]))"


def _list(columns: Iterable[str], alias: str) -> str:
    return ", ".join(f"{alias}.{column}" for column in columns)


_READ_TRANSACTIONS = Direct(
    f"""SELECT {_list(_TRANSACTION, "t")}
    FROM {_THREE_TEXTS} AS k(tenant, account_id, transaction_id)
    JOIN transactions t USING (tenant, account_id, transaction_id)"""
)
_READ_REPLACERS = Direct(
    f"""SELECT {_list(_TRANSACTION, "t")}
    FROM {_THREE_TEXTS} AS k(tenant, account_id, replaces)
    JOIN transactions t USING (tenant, account_id, replaces)
    WHERE t.replaces IS NOT NULL"""
)
_KNOWN = Direct(
    f"""SELECT tenant, account_id, transaction_id FROM {_THREE_TEXTS} AS k(tenant, account_id, transaction_id)
    JOIN transactions t USING (tenant, account_id, transaction_id)"""
)
_REPLACED = Direct(
    f"""SELECT tenant, account_id, replaces FROM {_THREE_TEXTS} AS k(tenant, account_id, replaces)
    JOIN transactions t USING (tenant, account_id, replaces) WHERE t.replaces IS NOT NULL"""
)
_READ_REPORTS = text(
    f"""SELECT {_list(_REPORT, "r")}
    FROM {_REPORT_KEYS} AS k(tenant, account_id, as_of)
    JOIN reports r USING (tenant, account_id, as_of)"""
)
_READ_ALL_REPORTS = text(
    f"""SELECT {_list(_REPORT, "r")} FROM reports r
    WHERE r.tenant = :tenant AND r.account_id = :account_id"""
)
_READ_NEXT_REPORTS = text(
    f"""SELECT k.tenant, k.account_id, k.moment, n.as_of, n.current_minor, n.residual_minor,
        CASE WHEN k.with_sum THEN (
            SELECT coalesce(sum(t.amount_minor), 0)::bigint FROM transactions t
            WHERE t.tenant = k.tenant AND t.account_id = k.account_id AND t.counts
              AND t.posted_at BETWEEN k.moment AND coalesce(n.as_of, 'infinity')) ELSE 0 END
    FROM {_QUESTIONS} AS k(tenant, account_id, moment, with_sum)
    LEFT JOIN LATERAL (
        SELECT r.as_of, r.current_minor, r.residual_minor FROM reports r
        WHERE r.tenant = k.tenant AND r.account_id = k.account_id AND r.as_of >= k.moment
        ORDER BY r.as_of LIMIT 1) n ON true"""
)


def _assign(columns: Iterable[str]) -> str:
    return ", ".join(f"{column} = s.{column}" for column in columns)


_UPDATE_TRANSACTIONS = text(
    f"""UPDATE transactions t SET {_assign(list(_TRANSACTION)[3:])} FROM staged_transactions s
    WHERE (t.tenant, t.account_id, t.transaction_id) = (s.tenant, s.account_id, s.transaction_id)"""
)
_UPDATE_REPORTS = text(
    f"""UPDATE reports r SET {_assign(c for c in list(_REPORT)[3:] if c != "residual_minor")} FROM staged_reports s
    WHERE (r.tenant, r.account_id, r.as_of) = (s.tenant, s.account_id, s.as_of)"""
)
_MOVE_RESIDUALS = text(
    """UPDATE reports r SET residual_minor = r.residual_minor + s.minor FROM staged_residuals s
    WHERE (r.tenant, r.account_id, r.as_of) = (s.tenant, s.account_id, s.as_of)"""
)


def read_transactions(
    session: Session, keys: Iterable[TransactionKey]
) -> dict[AccountKey, dict[str, StoredTransaction]]:
    """The rows that a fold needs: those of the keys, those that they replace, and those that replace any of these."""
    wanted = set(keys)
    found: dict[AccountKey, dict[str, StoredTransaction]] = {}
    rows = _by_texts(session, _READ_TRANSACTIONS, wanted)
    replaced = {(row[0], row[1], row[9]) for row in rows if row[9] is not None} - wanted
    if replaced:
        rows += _by_texts(session, _READ_TRANSACTIONS, replaced)
    rows += _by_texts(session, _READ_REPLACERS, wanted | replaced)
    for row in rows:
        found.setdefault((row[0], row[1]), {})[row[2]] = _transaction(row)
    return found


def known_transactions(session: Session, transactions: SimpleTransactions) -> set[TransactionKey]:
    """Which of these transactions are stored already."""
    return _keys_of(_by_texts(session, _KNOWN, _keys(transactions)))


def replaced_transactions(session: Session, transactions: SimpleTransactions) -> set[TransactionKey]:
    """Which of these transactions a stored one replaces."""
    return _keys_of(_by_texts(session, _REPLACED, _keys(transactions)))


def read_reports(session: Session, keys: Iterable[ReportKey]) -> dict[ReportKey, StoredReport]:
    """Reports by key; a report that is not stored is left out."""
    wanted = list(keys)
    if not wanted:
        return {}
    rows = session.execute(_READ_REPORTS, _with_times(wanted))
    return {(row[0], row[1], row[2]): _report(row) for row in rows}


def read_all_reports(session: Session, key: AccountKey) -> dict[datetime, StoredReport]:
    """Every report of one account: needed when the account's kind changes, which changes the sign of all of them."""
    rows = session.execute(_READ_ALL_REPORTS, {"tenant": key[0], "account_id": key[1]})
    return {row[2]: _report(row) for row in rows}


def read_next_reports(
    session: Session, with_sums: Mapping[ReportKey, bool]
) -> dict[AccountKey, dict[datetime, NextReport]]:
    """For each (tenant, account, moment): the first report at or after the moment.

    Where `with_sums` says True, also the sum of the transactions from the moment up to that report.
    """
    wanted = sorted(with_sums)
    answers: dict[AccountKey, dict[datetime, NextReport]] = {}
    if wanted:
        sums = {"d": [with_sums[key] for key in wanted]}
        for row in session.execute(_READ_NEXT_REPORTS, _with_times(wanted) | sums).all():
            answer = NextReport(row[3], row[4] or 0, row[5] or 0, row[6])
            answers.setdefault((row[0], row[1]), {})[row[2]] = answer
    return answers


def write_transactions(session: Session, changes: Mapping[AccountKey, Sequence[TransactionChange]]) -> None:
    """Write new and changed transactions.

    New rows are copied without a check: the account's lock keeps others from adding the same ones.
    """
    new: list[tuple[object, ...]] = []
    known: list[tuple[object, ...]] = []
    for key, of_account in changes.items():
        for change in of_account:
            (new if change.before is None else known).append(_transaction_values(key, change.after))
    if new:
        driver.copy_rows(session, "transactions", _TRANSACTION, new)
    if known:
        driver.stage(session, "staged_transactions", _TRANSACTION, known)
        session.execute(_UPDATE_TRANSACTIONS)


def add_transactions(session: Session, transactions: SimpleTransactions) -> None:
    """Write new transactions; raises IntegrityError, from a UniqueViolation, if one is stored after all."""
    new = [(tenant, True, *astuple(each)) for (tenant, _), of_account in transactions.items() for each in of_account]
    if new:
        driver.copy_rows(session, "transactions", _SIMPLE, new)


def write_reports(
    session: Session,
    new: Mapping[ReportKey, tuple[Report, int]],
    known: Mapping[ReportKey, Report],
    residuals: Mapping[ReportKey, int],
) -> None:
    """Write new reports with their residuals, rewrite changed ones, and add to the residuals of known ones."""
    if new:
        rows = (_report_values(key, report, residual) for key, (report, residual) in new.items())
        driver.copy_rows(session, "reports", _REPORT, rows)
    if known:
        driver.stage(session, "staged_reports", _REPORT, (_report_values(k, r, 0) for k, r in known.items()))
        session.execute(_UPDATE_REPORTS)
    if residuals:
        driver.stage(session, "staged_residuals", _RESIDUAL, ((*key, minor) for key, minor in residuals.items()))
        session.execute(_MOVE_RESIDUALS)


def _by_texts(session: Session, statement: Direct, keys: Iterable[TransactionKey]) -> list[Row]:
    wanted = list(keys)
    if not wanted:
        return []
    columns = {"abc"[n]: driver.joined([key[n] for key in wanted]) for n in range(3)}
    return statement.rows(session, columns)


def _keys_of(rows: Iterable[Row]) -> set[TransactionKey]:
    return {(row[0], row[1], row[2]) for row in rows}


def _keys(transactions: SimpleTransactions) -> list[TransactionKey]:
    return [(*key, each.transaction_id) for key, of_account in transactions.items() for each in of_account]


def _with_times(keys: Sequence[ReportKey]) -> dict[str, object]:
    texts = {"ab"[n]: driver.joined(str(key[n]) for key in keys) for n in range(2)}
    return texts | {"c": [key[2] for key in keys]}


def _transaction(row: Any) -> StoredTransaction:
    rank = Rank(row[12], row[7], row[13], row[14])
    return StoredTransaction(
        Transaction(row[2], rank, row[3], row[4], row[5], row[6], row[9], row[10], row[11], row[15]), counts=row[8]
    )


def _transaction_values(key: AccountKey, stored: StoredTransaction) -> tuple[object, ...]:
    t, rank = stored.transaction, stored.transaction.rank
    return (
        *key,
        t.transaction_id,
        t.amount_minor,
        t.currency,
        t.posted_at,
        t.pending,
        rank.is_removal,
        stored.counts,
        t.replaces,
        t.category,
        t.description,
        rank.time,
        rank.source,
        rank.event_id,
        t.due_at,
    )


def _report(row: Any) -> StoredReport:
    rank = Rank(row[7], False, row[8], row[9])
    return StoredReport(Report(row[2], rank, row[3], row[5], row[4]), row[6])


def _report_values(key: ReportKey, report: Report, residual_minor: int) -> tuple[object, ...]:
    rank = report.rank
    return (
        *key,
        report.current_minor,
        report.available_minor,
        report.currency,
        residual_minor,
        rank.time,
        rank.source,
        rank.event_id,
    )
