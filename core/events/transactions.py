"""Which statement about a transaction wins, and which transactions count, without reading an account's history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import date, datetime
from typing import NamedTuple

from core.events.facts import Booked, Transaction
from core.events.placement import lent


class StoredTransaction(NamedTuple):
    """A transaction as stored: the statement that wins, whether it counts for worth, and where it is placed.

    `first_reported` is the least time of all statements that say it is booked, those that lost included, and `booked`
    the latest of these; None if there is none. `lent_at` is that of a removed row of which this one is the new id.
    `is_missing`: a window does not have it any more, so it counts as removed.
    """

    transaction: Transaction
    counts: bool
    first_reported: datetime | None = None
    booked: Booked | None = None
    placed_at: datetime | None = None
    lent_at: datetime | None = None
    is_missing: bool = False

    @property
    def is_live(self) -> bool:
        """Whether it may count: posted, neither removed nor missing."""
        return self.transaction.is_posted and not self.is_missing

    @property
    def is_booked(self) -> bool:
        """Whether it stands as booked, due or not: neither pending nor removed nor missing."""
        transaction = self.transaction
        return not (transaction.rank.is_removal or transaction.pending or self.is_missing)

    @property
    def is_removed(self) -> bool:
        """Whether it counts as removed, by an event that says so or by a window."""
        return self.is_missing or self.transaction.rank.is_removal

    @property
    def reported_at(self) -> datetime | None:
        """When it was first reported, or the row of which it has a new id."""
        return self.lent_at or self.first_reported

    @property
    def lending(self) -> tuple[date, int] | None:
        """The date and amount of a row that is removed; None if it has no date or was never booked."""
        booked = self.booked
        if not self.is_removed or booked is None or booked.dated is None:
            return None
        return booked.dated, booked.amount_minor

    @property
    def borrowing(self) -> tuple[date, int] | None:
        """The date and amount of a row that counts and has only a date; None for all others."""
        transaction = self.transaction
        return None if not self.counts or transaction.dated is None else (transaction.dated, transaction.amount_minor)

    def with_statement(self, statement: Transaction) -> StoredTransaction:
        """The same with one more statement about the transaction, as long as no other one replaces it."""
        known = self
        if statement.precedence > self.transaction.precedence:
            known = self._replace(transaction=statement, is_missing=False)
        known, booked = known._replace(counts=known.is_live), statement.booked
        if booked is None:
            return known
        if self.booked is not None and self.booked.precedence > booked.precedence:
            booked = self.booked
        time = statement.rank.time
        first_reported = time if self.first_reported is None else min(time, self.first_reported)
        return known._replace(first_reported=first_reported, booked=booked)

    @classmethod
    def of(cls, statement: Transaction) -> StoredTransaction:
        """A transaction about which there is one statement. It is not placed yet."""
        time = None if statement.booked is None else statement.rank.time
        return cls(statement, statement.is_posted, time, statement.booked)


class TransactionChange(NamedTuple):
    """One row to write: the row as it was (None: there was none) and as it is to be."""

    before: StoredTransaction | None
    after: StoredTransaction


def with_statements(
    statements: Iterable[Transaction], stored: Mapping[str, StoredTransaction], missing: Set[Transaction] = frozenset()
) -> dict[str, StoredTransaction]:
    """The rows that statements are about, by id, as they are after these. Whether they count is not said yet.

    `stored` has the rows of the stated ids that exist. `missing` are the statements that a window would have had; this
    matters for those that win.
    """
    after: dict[str, StoredTransaction] = {}
    for statement in statements:
        name = statement.transaction_id
        known = after.get(name) or stored.get(name)
        after[name] = StoredTransaction.of(statement) if known is None else known.with_statement(statement)
    if missing:
        for name, each in after.items():
            if each.transaction in missing:
                after[name] = each._replace(is_missing=True, counts=False)
    return after


def fold_transactions(
    after: Mapping[str, StoredTransaction], stored: Mapping[str, StoredTransaction], currency: str | None
) -> list[TransactionChange]:
    """The rows that change when those of `with_statements` take the place of `stored` ones, in no particular order.

    If they exist, `stored` must have the rows of these ids, the rows that these (stated or stored) replace, and every
    row that replaces any of them. A transaction counts if it is in the account's currency, posted, does not count as
    removed, and is not replaced by a transaction that is posted and does not count as removed.
    """
    touched = {name for name, each in after.items() if each != stored.get(name)}
    if not stored and all(each.transaction.replaces is None for each in after.values()):
        return [TransactionChange(None, _counting(each, currency, set())) for each in after.values()]
    after = {**stored, **after}
    replaced = {each.transaction.replaces for each in after.values() if each.is_live}
    for name in list(touched):
        touched.add(after[name].transaction.replaces or name)
        if name in stored:
            touched.add(stored[name].transaction.replaces or name)
    changes = []
    for name in touched & after.keys():  # a replaced transaction may not have been seen yet
        each = _counting(after[name], currency, replaced)
        if each != stored.get(name):
            changes.append(TransactionChange(stored.get(name), each))
    return changes


def _counting(row: StoredTransaction, currency: str | None, replaced: Set[str | None]) -> StoredTransaction:
    transaction = row.transaction
    counts = row.is_live and transaction.transaction_id not in replaced and transaction.currency == currency
    return row if counts == row.counts else row._replace(counts=counts)


def with_lent_times(
    changes: Sequence[TransactionChange], stored: Mapping[str, StoredTransaction]
) -> list[TransactionChange]:
    """The changes, and those of other rows, after removed rows lent the times of their first reports.

    `stored` must have all rows that lend or borrow of the dates and amounts of the changed rows, before the changes.
    """
    after = {**stored, **{change.after.transaction.transaction_id: change.after for change in changes}}
    before = {**stored, **{change.after.transaction.transaction_id: change.before for change in changes}}
    lending: dict[tuple[date, int], list[tuple[datetime, str]]] = defaultdict(list)
    borrowing: dict[tuple[date, int], list[tuple[datetime, str]]] = defaultdict(list)
    for name, row in after.items():
        if row.first_reported is not None:
            if row.lending is not None:
                lending[row.lending].append((row.first_reported, name))
            elif row.borrowing is not None:
                borrowing[row.borrowing].append((row.first_reported, name))
    times = {name: at for what, rows in lending.items() for name, at in lent(rows, borrowing[what]).items()}
    changed = {change.after.transaction.transaction_id for change in changes}
    result = []
    for name, row in after.items():
        row = row._replace(lent_at=times.get(name))
        if name in changed or row != before[name]:
            result.append(TransactionChange(before[name], row))
    return result
