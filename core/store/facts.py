"""Rows of facts: transactions and balance reports, read by key and written in bulk."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from msgspec.structs import astuple
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.events.currency import CurrencyFact, SaidBy
from core.events.facts import Booked, Rank, Report, SimpleTransaction, Transaction, Window
from core.events.placement import EARLIER_DAYS, Balance
from core.events.placement import Row as PlacedRow
from core.events.placement_changes import BALANCES_AFTER, BALANCES_BEFORE, BalancesAround, RowsBetween
from core.events.worth import NextReport, StoredReport, StoredTransaction, TransactionChange
from core.store import driver
from core.store.accounts import AccountKey
from core.store.driver import Direct, Row

TransactionKey = tuple[str, str, str]
ReportKey = tuple[str, str, datetime]
AccountDay = tuple[str, str, date]
# The simple transactions of each account.
SimpleTransactions = Mapping[AccountKey, Sequence[SimpleTransaction]]

_TRANSACTION = {
    "tenant": driver.TEXT,
    "account_id": driver.TEXT,
    "transaction_id": driver.TEXT,
    "amount_minor": driver.INT8,
    "currency": driver.TEXT,
    "posted_at": driver.TIMESTAMPTZ,
    "dated": driver.DATE,
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
    "first_reported": driver.TIMESTAMPTZ,
    "booked_rank": driver.TEXT,
    "booked_minor": driver.INT8,
    "booked_on": driver.DATE,
    "lent_at": driver.TIMESTAMPTZ,
    "missing": driver.BOOL,
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
    "gap_minor": driver.INT8,
    "has_moved": driver.BOOL,
    "event_time": driver.TIMESTAMPTZ,
    "source": driver.TEXT,
    "event_id": driver.TEXT,
}
# What is kept of the interval that ends at a report, see core.events.placement, has writes of its own.
_KEPT = ("residual_minor", "gap_minor", "has_moved")
_REPORT_KEY = {name: _REPORT[name] for name in ("tenant", "account_id", "as_of")}
_INTERVAL = _REPORT_KEY | {name: _REPORT[name] for name in ("gap_minor", "has_moved")}
_PLACE = {name: _TRANSACTION[name] for name in ("tenant", "account_id", "transaction_id", "posted_at")}
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


_OF_ACCOUNT = "tenant = :tenant AND account_id = :account_id"
_READ_ALL_TRANSACTIONS = text(f"SELECT {_list(_TRANSACTION, 't')} FROM transactions t WHERE {_OF_ACCOUNT}")
_COUNT_NONE = text(f"UPDATE transactions SET counts = false WHERE {_OF_ACCOUNT} AND counts")
_TAKE_REPORTS = text(f"DELETE FROM reports r WHERE {_OF_ACCOUNT} RETURNING {_list(_REPORT, 'r')}")
# Reads all rows of an account that has no report, so it is asked only once what decided before does not any more.
_FIRST_FACT = text(
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
_UPDATE_TRANSACTIONS = text(
    f"""UPDATE transactions t SET {_assign(list(_TRANSACTION)[3:])} FROM staged_transactions s
    WHERE (t.tenant, t.account_id, t.transaction_id) = (s.tenant, s.account_id, s.transaction_id)"""
)
_UPDATE_REPORTS = text(
    f"""UPDATE reports r SET {_assign(c for c in list(_REPORT)[3:] if c not in _KEPT)} FROM staged_reports s
    WHERE (r.tenant, r.account_id, r.as_of) = (s.tenant, s.account_id, s.as_of)"""
)
_WRITE_INTERVALS = text(
    """UPDATE reports r SET gap_minor = s.gap_minor, has_moved = s.has_moved FROM staged_intervals s
    WHERE (r.tenant, r.account_id, r.as_of) = (s.tenant, s.account_id, s.as_of)"""
)
_WRITE_PLACES = text(
    """UPDATE transactions t SET posted_at = s.posted_at FROM staged_places s
    WHERE (t.tenant, t.account_id, t.transaction_id) = (s.tenant, s.account_id, s.transaction_id)"""
)
_BALANCES_AROUND = Direct(
    f"""SELECT k.number, r.as_of, r.current_minor, r.gap_minor, r.has_moved
    FROM unnest({driver.split("tenants")}, {driver.split("accounts")}, :firsts, :lasts)
        WITH ORDINALITY AS k(tenant, account_id, first, last, number)
    CROSS JOIN LATERAL (
        SELECT
            (SELECT as_of FROM reports WHERE tenant = k.tenant AND account_id = k.account_id AND as_of < k.first
                ORDER BY as_of DESC OFFSET {BALANCES_BEFORE - 1} LIMIT 1) AS first,
            (SELECT as_of FROM reports WHERE tenant = k.tenant AND account_id = k.account_id AND as_of >= k.last
                ORDER BY as_of OFFSET {BALANCES_AFTER - 1} LIMIT 1) AS last) AS bound
    JOIN reports r ON r.tenant = k.tenant AND r.account_id = k.account_id
        AND r.as_of >= coalesce(bound.first, '-infinity') AND r.as_of <= coalesce(bound.last, 'infinity')
    ORDER BY k.number, r.as_of"""
)
_ROWS_BETWEEN = Direct(
    f"""SELECT k.number, t.transaction_id, t.dated, coalesce(t.lent_at, t.first_reported, t.event_time), t.amount_minor,
        t.posted_at
    FROM unnest({driver.split("tenants")}, {driver.split("accounts")}, :firsts, :lasts, :with_instants)
        WITH ORDINALITY AS k(tenant, account_id, first, last, with_instants, number)
    JOIN transactions t ON t.tenant = k.tenant AND t.account_id = k.account_id
        AND t.counts AND t.posted_at BETWEEN k.first AND k.last AND (k.with_instants OR t.dated IS NOT NULL)
    ORDER BY k.number"""
)
_REMOVED_DAYS = f"""{_THREE_TEXTS} AS k(tenant, account_id, day)
    JOIN transactions t ON t.tenant = k.tenant AND t.account_id = k.account_id AND t.removed
        AND t.booked_on = CAST(k.day AS date)"""
_LENDING = Direct(f"SELECT t.tenant, t.account_id, t.booked_on, t.booked_minor FROM {_REMOVED_DAYS}")
# A row with only a date is placed on its day, or after a balance of one of the next days.
_LENDING_AND_BORROWING = Direct(
    f"""SELECT {_list(_TRANSACTION, "t")} FROM {_REMOVED_DAYS}
    UNION ALL
    SELECT {_list(_TRANSACTION, "t")}
    FROM {_THREE_TEXTS} AS k(tenant, account_id, day)
    JOIN transactions t ON t.tenant = k.tenant AND t.account_id = k.account_id AND t.counts
        AND t.dated = CAST(k.day AS date)
        AND t.posted_at >= CAST(k.day AS date) - interval '2 days'
        AND t.posted_at < CAST(k.day AS date) + interval '{EARLIER_DAYS + 3} days'"""
)
_WINDOWS = f"""unnest({driver.split("tenants")}, {driver.split("accounts")}, {driver.split("sources")}, :times, :firsts,
    :lasts)"""
_ADD_WINDOWS = Direct(
    f"""INSERT INTO windows (tenant, account_id, source, event_time, from_day, through_day) SELECT * FROM {_WINDOWS}
    ON CONFLICT DO NOTHING RETURNING tenant, account_id, source, from_day, through_day, event_time"""
)
# A row with only a date is placed on its day or after a balance of one of the next days, until the instant after that.
_OLDER_ROWS = f"""SELECT {_list(_TRANSACTION, "t")}
    FROM {_WINDOWS} AS k(tenant, account_id, source, event_time, first, last)
    JOIN transactions t ON t.tenant = k.tenant AND t.account_id = k.account_id
        AND t.posted_at BETWEEN k.first AND k.last AND t.source = k.source AND t.event_time < k.event_time"""
_BOOKED_BEFORE = Direct(
    f"""{_OLDER_ROWS} AND t.counts
    UNION ALL {_OLDER_ROWS} AND NOT t.counts AND NOT t.pending AND NOT t.removed"""
)
_LATEST_WINDOWS = Direct(
    f"""SELECT k.number, w.event_time
    FROM unnest({driver.split("tenants")}, {driver.split("accounts")}, {driver.split("sources")}, :times, :days)
        WITH ORDINALITY AS k(tenant, account_id, source, event_time, day, number)
    CROSS JOIN LATERAL (
        SELECT event_time FROM windows w
        WHERE w.tenant = k.tenant AND w.account_id = k.account_id AND w.source = k.source
          AND w.event_time > k.event_time AND w.from_day <= k.day AND w.through_day >= k.day
        ORDER BY w.event_time DESC LIMIT 1) AS w"""
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
    replaced = {(row[0], row[1], row[10]) for row in rows if row[10] is not None} - wanted
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


def read_all_transactions(session: Session, key: AccountKey) -> dict[str, StoredTransaction]:
    """Every transaction of one account, by id: needed when the account's currency changes."""
    rows = session.execute(_READ_ALL_TRANSACTIONS, {"tenant": key[0], "account_id": key[1]})
    return {row[2]: _transaction(row) for row in rows}


def count_none(session: Session, key: AccountKey) -> None:
    """Let no transaction of a locked account count, until those that do are written again."""
    session.execute(_COUNT_NONE, {"tenant": key[0], "account_id": key[1]})


def take_reports(session: Session, key: AccountKey) -> dict[datetime, StoredReport]:
    """Delete every report of a locked account, and return them."""
    return {row[2]: _report(row) for row in session.execute(_TAKE_REPORTS, {"tenant": key[0], "account_id": key[1]})}


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
    row = session.execute(_FIRST_FACT, parameters).first()
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
        sums = {"d": [with_sums[key] for key in wanted]}
        for row in session.execute(_READ_NEXT_REPORTS, _with_times(wanted) | sums).all():
            answer = NextReport(row[3], row[4] or 0, row[5] or 0, row[6])
            answers.setdefault((row[0], row[1]), {})[row[2]] = answer
    return answers


def lending_rows(session: Session, days: Collection[AccountDay]) -> set[tuple[str, str, date, int]]:
    """The (tenant, account, date, amount) of removed rows that have one of these dates."""
    rows = _by_texts(session, _LENDING, _texts_of(days))
    return {(row[0], row[1], row[2], row[3]) for row in rows}


def lending_and_borrowing_rows(
    session: Session, days: Collection[AccountDay]
) -> dict[AccountKey, dict[str, StoredTransaction]]:
    """The removed rows that have one of these dates, and the rows that count and have it."""
    found: dict[AccountKey, dict[str, StoredTransaction]] = {}
    for row in _by_texts(session, _LENDING_AND_BORROWING, _texts_of(days)):
        found.setdefault((row[0], row[1]), {})[row[2]] = _transaction(row)
    return found


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
            found.setdefault((row[0], row[1]), []).append(_transaction(row).transaction)
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


def read_balances_around(
    session: Session, questions: Mapping[AccountKey, BalancesAround], signs: Mapping[AccountKey, int]
) -> dict[AccountKey, list[list[Balance]]]:
    """For each account the stored balances that its question asks for; `signs` are those of the accounts' kinds."""
    spans = [(key, *span) for key, question in questions.items() for span in question.spans]
    around = [list[Balance]() for _ in spans]
    if spans:
        for number, as_of, current_minor, *kept in _BALANCES_AROUND.rows(session, _of_spans(spans)):
            around[number - 1].append(Balance(as_of, current_minor * signs[spans[number - 1][0]], *kept))
    found: dict[AccountKey, list[list[Balance]]] = {key: [] for key in questions}
    for (key, _, _), balances in zip(spans, around, strict=True):
        found[key].append(balances)
    return found


def read_rows_between(
    session: Session, questions: Mapping[AccountKey, RowsBetween]
) -> dict[AccountKey, list[PlacedRow]]:
    """For each account the stored rows that its question asks for."""
    found = {key: list[PlacedRow]() for key in questions}
    spans = [(key, *span, each.with_instants) for key, each in questions.items() for span in each.spans]
    if spans:
        parameters = _of_spans([span[:3] for span in spans])
        parameters["with_instants"] = driver.bools([with_instants for *_, with_instants in spans])
        for number, *row in _ROWS_BETWEEN.rows(session, parameters):
            found[spans[number - 1][0]].append(PlacedRow(*row))
    return found


def _of_spans(spans: Sequence[tuple[AccountKey, datetime, datetime]]) -> dict[str, object]:
    parameters: dict[str, object] = {**driver.key_columns("accounts", [key for key, _, _ in spans])}
    parameters["firsts"] = driver.moments([first for _, first, _ in spans])
    parameters["lasts"] = driver.moments([last for _, _, last in spans])
    return parameters


def write_places(session: Session, places: Iterable[tuple[TransactionKey, datetime]]) -> None:
    """Write where stored transactions are placed now."""
    values = [(*key, placed_at) for key, placed_at in places]
    if values:
        driver.stage(session, "staged_places", _PLACE, values)
        session.execute(_WRITE_PLACES)


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
        session.execute(_UPDATE_REPORTS)
    kept = [(*key, *interval) for key, interval in intervals.items() if key not in new]
    if kept:
        driver.stage(session, "staged_intervals", _INTERVAL, kept)
        session.execute(_WRITE_INTERVALS)
    if residuals:
        driver.stage(session, "staged_residuals", _RESIDUAL, ((*key, minor) for key, minor in residuals.items()))
        session.execute(_MOVE_RESIDUALS)


def _by_texts(session: Session, statement: Direct, keys: Iterable[TransactionKey]) -> list[Row]:
    wanted = list(keys)
    if not wanted:
        return []
    columns = {"abc"[n]: driver.joined([key[n] for key in wanted]) for n in range(3)}
    return statement.rows(session, columns)


def _texts_of(days: Iterable[AccountDay]) -> list[tuple[str, str, str]]:
    return [(tenant, account_id, day.isoformat()) for tenant, account_id, day in days]


def _keys_of(rows: Iterable[Row]) -> set[TransactionKey]:
    return {(row[0], row[1], row[2]) for row in rows}


def _keys(transactions: SimpleTransactions) -> list[TransactionKey]:
    return [(*key, each.transaction_id) for key, of_account in transactions.items() for each in of_account]


def _with_times(keys: Sequence[ReportKey]) -> dict[str, object]:
    texts = {"ab"[n]: driver.joined(str(key[n]) for key in keys) for n in range(2)}
    return texts | {"c": [key[2] for key in keys]}


def _transaction(row: Any) -> StoredTransaction:
    _, _, name, minor, currency, placed_at, dated, pending, removed, counts, *rest = row
    replaces, category, description, time, source, event_id, due_at, *rest = rest
    first_reported, booked_rank, booked_minor, booked_on, lent_at, missing = rest
    posted_at, is_missing = placed_at if dated is None else None, missing is True
    rank = Rank(time, removed and not is_missing, source, event_id)
    transaction = Transaction(
        name, rank, minor, currency, posted_at, dated, pending, replaces, category, description, due_at
    )
    booked = transaction.booked if booked_rank is None else Booked(booked_rank, booked_minor, booked_on)
    if first_reported is None and transaction.booked is not None:
        first_reported = time
    return StoredTransaction(transaction, counts, first_reported, booked, placed_at, lent_at, is_missing)


def _transaction_values(key: AccountKey, stored: StoredTransaction) -> tuple[object, ...]:
    t, rank = stored.transaction, stored.transaction.rank
    # The removed rows of a day are found by what they were booked with.
    booked = stored.booked if stored.is_missing or stored.booked != t.booked else None
    return (
        *key,
        t.transaction_id,
        t.amount_minor,
        t.currency,
        stored.placed_at,
        t.dated,
        t.pending,
        stored.is_removed,
        stored.counts,
        t.replaces,
        t.category,
        t.description,
        rank.time,
        rank.source,
        rank.event_id,
        t.due_at,
        None if t.booked is not None and stored.first_reported == rank.time else stored.first_reported,
        *((None, None, None) if booked is None else booked),
        stored.lent_at,
        True if stored.is_missing else None,
    )


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
