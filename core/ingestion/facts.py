"""New transactions, which are written as they come; only those that may be known are read by key and compared.

Most transactions of a batch are new. Whether one is known is told by the primary key when it is written, so that a
batch need not ask. What is known, or replaced by another, is left to `core.events.transactions` to compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from datetime import date, datetime
from zoneinfo import ZoneInfo

from msgspec.structs import replace
from psycopg.errors import UniqueViolation

from core.events.calendar import within_day
from core.events.facts import SimpleTransaction
from core.events.placement import TOGETHER
from core.store.accounts import AccountKey, Held
from core.store.driver import Session
from core.store.transactions import (
    AccountDay,
    SimpleTransactions,
    TransactionKey,
    add_transactions,
    known_transactions,
    lending_rows,
    replaced_transactions,
)

_BATCHES_LEAST = 8


class DuplicateCheck:
    """Says whether a drain must look up known transactions before it writes those of a batch.

    Without the check, a batch that turns out to have a known transaction is rolled back and begun again, which costs
    about six times what the check does. So the check is left out only after eight batches in a row without duplicates;
    for feeds that repeat themselves it is always made.
    """

    def __init__(self, batches: int = 0) -> None:
        self._batches_without = batches

    @classmethod
    def left_out(cls) -> DuplicateCheck:
        """The state after many batches without duplicates."""
        return cls(_BATCHES_LEAST)

    @property
    def is_needed(self) -> bool:
        """Whether the next batch may well have duplicates."""
        return self._batches_without < _BATCHES_LEAST

    def note(self, *, had_duplicates: bool) -> None:
        """Note whether any of a batch's simple transactions was known."""
        self._batches_without = 0 if had_duplicates else self._batches_without + 1


class KnownAfterAll(Exception):
    """A transaction is stored already, and nobody had looked: the transaction has to be rolled back."""


def add_new(
    session: Session,
    stated: SimpleTransactions,
    held: Mapping[AccountKey, Held],
    zones: Mapping[str, ZoneInfo],
    duplicate_check: DuplicateCheck,
) -> SimpleTransactions:
    """Write those simple transactions of locked accounts that are new and that count, and return them.

    The others have to be compared: they are stored already, or a stored one replaces them, or they are in another
    currency than their account or decide it from now on, or they were reported before its last balance or its last
    window, or they may be new ids of removed ones. Raises KnownAfterAll.
    """
    own: dict[AccountKey, Sequence[SimpleTransaction]] = {}
    suspects, days = set[AccountKey](), set[AccountDay]()
    for key, account in held.items():  # in the order of the indexes
        of_account = stated.get(key)
        if of_account is not None and of_account[0].currency == account.currency:
            if account.last_window_at is not None and any(
                each.event_time < account.last_window_at for each in of_account
            ):
                continue
            event = account.currency_event
            if (
                event is not None
                and any(each.event_time <= event[0] for each in of_account)
                and any((each.event_time, each.source, each.event_id) < event for each in of_account)
            ):
                continue
            if account.last_report_at is not None:
                of_account = _with_last_balance(of_account, account.last_report_at, zones[key[0]])
                if of_account is None:
                    continue
            if account.lends:
                days.update([(*key, each.dated) for each in of_account if each.dated is not None])
            own[key] = of_account
            if account.replaces:
                suspects.add(key)
    for key in _borrowing(own, lending_rows(session, days)):
        del own[key]
    new = _without(own, replaced_transactions(session, {key: own[key] for key in suspects & own.keys()}))
    known = known_transactions(session, new) if duplicate_check.is_needed else set()
    new = _without(new, known)
    try:
        add_transactions(session, new)
    except UniqueViolation:
        if duplicate_check.is_needed:
            raise
        duplicate_check.note(had_duplicates=True)
        raise KnownAfterAll from None
    if stated:
        duplicate_check.note(had_duplicates=bool(known))
    return new


def _with_last_balance(
    transactions: Sequence[SimpleTransaction], last_report_at: datetime, zone: ZoneInfo
) -> Sequence[SimpleTransaction] | None:
    """The transactions, those with the last balance that were reported together with it.

    None if one has only a date and was reported before that balance: it may belong to an earlier one.
    """
    for each in transactions:
        if each.dated is not None:
            break
    else:
        return transactions
    placed = []
    for each in transactions:
        if each.dated is not None:
            if each.event_time < last_report_at:
                return None
            if each.event_time - last_report_at <= TOGETHER:
                each = replace(each, posted_at=within_day(last_report_at, each.dated, zone))
        placed.append(each)
    return placed


def _borrowing(transactions: SimpleTransactions, lending: Set[tuple[str, str, date, int]]) -> set[AccountKey]:
    """The accounts with a transaction that has the date and the amount of a removed one, and may be its new id."""
    if not lending:
        return set()
    return {
        key
        for key, of_account in transactions.items()
        if any((*key, each.dated, each.amount_minor) in lending for each in of_account)
    }


def _without(transactions: SimpleTransactions, left_out: Set[TransactionKey]) -> SimpleTransactions:
    if not left_out:
        return transactions
    kept = {
        key: [each for each in of_account if (*key, each.transaction_id) not in left_out]
        for key, of_account in transactions.items()
    }
    return {key: of_account for key, of_account in kept.items() if of_account}
