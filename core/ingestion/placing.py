"""Placing: where the rows that have only a date are placed after a batch, see core.events.placement.

Each account asks for what it needs to know of its stored rows and balances; the questions that many accounts have at
the same time are answered together.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from core.events.calendar import within_day
from core.events.facts import SimpleTransaction
from core.events.placement import Row
from core.events.placement_changes import (
    AccountBefore,
    Answer,
    BalancesAround,
    Placed,
    Question,
    RowChange,
    RowsBetween,
    place,
)
from core.events.transactions import StoredTransaction, TransactionChange
from core.store.accounts import AccountKey
from core.store.driver import Session
from core.store.placing import read_balances_around, read_rows_between


class ToPlace(NamedTuple):
    """An account with rows or balances that are new or changed; `sign` is the factor from its balances to its worth.

    `reports` has the worth of each new or changed balance. `first_recorded_at` is the account's after the batch.
    """

    before: AccountBefore
    changes: Sequence[RowChange]
    reports: Mapping[datetime, int]
    first_recorded_at: datetime | None
    sign: int


def place_rows(session: Session, accounts: Mapping[AccountKey, ToPlace]) -> dict[AccountKey, Placed]:
    """Find where rows are placed, of all accounts at once."""
    placed: dict[AccountKey, Placed] = {}
    asking: dict[AccountKey, Generator[Question, Answer, Placed]] = {}
    questions: dict[AccountKey, Question] = {}

    def go_on(key: AccountKey, answer: Answer | None) -> None:
        try:
            questions[key] = next(asking[key]) if answer is None else asking[key].send(answer)
        except StopIteration as end:
            placed[key] = end.value

    for key, account in accounts.items():
        asking[key] = place(account.before, account.changes, account.reports, account.first_recorded_at)
        go_on(key, None)
    signs = {key: account.sign for key, account in accounts.items()}
    while questions:
        around = {key: each for key, each in questions.items() if isinstance(each, BalancesAround)}
        between = {key: each for key, each in questions.items() if isinstance(each, RowsBetween)}
        balances, rows = read_balances_around(session, around, signs), read_rows_between(session, between)
        questions.clear()
        for key in around:
            go_on(key, balances[key])
        for key in between:
            go_on(key, rows[key])
    return placed


def row_of_new(transaction: SimpleTransaction) -> Row:
    """A new transaction as placing sees it."""
    return Row(
        transaction.transaction_id,
        transaction.dated,
        transaction.event_time,
        transaction.amount_minor,
        transaction.posted_at,
    )


def row_change(change: TransactionChange) -> RowChange:
    """A compared transaction as placing sees it."""
    return RowChange(_row(change.before), _row(change.after))


def _row(stored: StoredTransaction | None) -> Row | None:
    if stored is None or not stored.counts or stored.reported_at is None:
        return None
    transaction, reported_at = stored.transaction, stored.reported_at
    placed_at = transaction.posted_at or stored.placed_at or reported_at
    return Row(transaction.transaction_id, transaction.dated, reported_at, transaction.amount_minor, placed_at)


def with_places(changes: Iterable[TransactionChange], placed: Placed, zone: ZoneInfo) -> list[TransactionChange]:
    """The changes with the places of their rows. A row that does not count has the place of its first report."""
    result = []
    for change in changes:
        after, transaction = change.after, change.after.transaction
        at = transaction.posted_at
        if transaction.dated is not None:
            reported_at = after.first_reported or transaction.rank.time
            at = placed.places.get(transaction.transaction_id)
            if at is None:
                at = within_day(reported_at, transaction.dated, zone)
        after = after._replace(placed_at=at)
        if after != change.before:
            result.append(TransactionChange(change.before, after))
    return result
