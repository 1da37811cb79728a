"""Rows of transactions, read by key and written in bulk."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from msgspec.structs import astuple

from core.events.facts import Booked, Rank, SimpleTransaction, Transaction
from core.events.placement import EARLIER_DAYS
from core.events.transactions import StoredTransaction, TransactionChange
from core.store import driver
from core.store.accounts import AccountKey
from core.store.driver import Row, Session, Sql

TransactionKey = tuple[str, str, str]
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
TRANSACTION_LIST = ", ".join(f"t.{column}" for column in _TRANSACTION)
"""The columns of a transaction `t` in SQL, from which `stored_transaction` makes it."""
# The other columns of a simple transaction have their defaults.
_SIMPLE = {name: _TRANSACTION[name] for name in ("tenant", "counts", *SimpleTransaction.__struct_fields__)}
_THREE_TEXTS = driver.keys("a", "b", "c")

_READ_TRANSACTIONS = Sql(
    f"""SELECT {TRANSACTION_LIST}
    FROM {_THREE_TEXTS} AS k(tenant, account_id, transaction_id)
    JOIN transactions t USING (tenant, account_id, transaction_id)"""
)
_READ_REPLACERS = Sql(
    f"""SELECT {TRANSACTION_LIST}
    FROM {_THREE_TEXTS} AS k(tenant, account_id, replaces)
    JOIN transactions t USING (tenant, account_id, replaces)
    WHERE t.replaces IS NOT NULL"""
)
_KNOWN = Sql(
    f"""SELECT tenant, account_id, transaction_id FROM {_THREE_TEXTS} AS k(tenant, account_id, transaction_id)
    JOIN transactions t USING (tenant, account_id, transaction_id)"""
)
_REPLACED = Sql(
    f"""SELECT tenant, account_id, replaces FROM {_THREE_TEXTS} AS k(tenant, account_id, replaces)
    JOIN transactions t USING (tenant, account_id, replaces) WHERE t.replaces IS NOT NULL"""
)

_OF_ACCOUNT = "tenant = :tenant AND account_id = :account_id"
_READ_ALL_TRANSACTIONS = Sql(f"SELECT {TRANSACTION_LIST} FROM transactions t WHERE {_OF_ACCOUNT}")
_COUNT_NONE = Sql(f"UPDATE transactions SET counts = false WHERE {_OF_ACCOUNT} AND counts")
_REMOVED_DAYS = f"""{_THREE_TEXTS} AS k(tenant, account_id, day)
    JOIN transactions t ON t.tenant = k.tenant AND t.account_id = k.account_id AND t.removed
        AND t.booked_on = CAST(k.day AS date)"""
_LENDING = Sql(f"SELECT t.tenant, t.account_id, t.booked_on, t.booked_minor FROM {_REMOVED_DAYS}")
# A row with only a date is placed on its day, or after a balance of one of the next days.
_LENDING_AND_BORROWING = Sql(
    f"""SELECT {TRANSACTION_LIST} FROM {_REMOVED_DAYS}
    UNION ALL
    SELECT {TRANSACTION_LIST}
    FROM {_THREE_TEXTS} AS k(tenant, account_id, day)
    JOIN transactions t ON t.tenant = k.tenant AND t.account_id = k.account_id AND t.counts
        AND t.dated = CAST(k.day AS date)
        AND t.posted_at >= CAST(k.day AS date) - interval '2 days'
        AND t.posted_at < CAST(k.day AS date) + interval '{EARLIER_DAYS + 3} days'"""
)
_ASSIGNMENTS = ", ".join(f"{column} = s.{column}" for column in list(_TRANSACTION)[3:])
_UPDATE_TRANSACTIONS = Sql(
    f"""UPDATE transactions t SET {_ASSIGNMENTS} FROM staged_transactions s
    WHERE (t.tenant, t.account_id, t.transaction_id) = (s.tenant, s.account_id, s.transaction_id)"""
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
        found.setdefault((row[0], row[1]), {})[row[2]] = stored_transaction(row)
    return found


def known_transactions(session: Session, transactions: SimpleTransactions) -> set[TransactionKey]:
    """Which of these transactions are stored already."""
    return _keys_of(_by_texts(session, _KNOWN, _keys(transactions)))


def replaced_transactions(session: Session, transactions: SimpleTransactions) -> set[TransactionKey]:
    """Which of these transactions a stored one replaces."""
    return _keys_of(_by_texts(session, _REPLACED, _keys(transactions)))


def read_all_transactions(session: Session, key: AccountKey) -> dict[str, StoredTransaction]:
    """Every transaction of one account, by id: needed when the account's currency changes."""
    rows = _READ_ALL_TRANSACTIONS.rows(session, {"tenant": key[0], "account_id": key[1]})
    return {row[2]: stored_transaction(row) for row in rows}


def count_none(session: Session, key: AccountKey) -> None:
    """Let no transaction of a locked account count, until those that do are written again."""
    _COUNT_NONE.run(session, {"tenant": key[0], "account_id": key[1]})


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
        found.setdefault((row[0], row[1]), {})[row[2]] = stored_transaction(row)
    return found


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
        _UPDATE_TRANSACTIONS.run(session, {})


def add_transactions(session: Session, transactions: SimpleTransactions) -> None:
    """Write new transactions; raises UniqueViolation if one is stored after all."""
    if any(transactions.values()):
        # Made one by one: of thousands at once each would have left the processor's cache before it is sent.
        rows = ((key[0], True, *astuple(each)) for key, of_account in transactions.items() for each in of_account)
        driver.copy_rows(session, "transactions", _SIMPLE, rows)


def _by_texts(session: Session, statement: Sql, keys: Iterable[TransactionKey]) -> list[Row]:
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


def stored_transaction(row: Any) -> StoredTransaction:
    """The transaction of a row of `TRANSACTION_LIST`."""
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
