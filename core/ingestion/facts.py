"""New transactions, which are written as they come; only those that may be known are read by key and compared.

Most transactions of a batch are new. Whether one is known is told by the primary key when it is written, so that a
batch need not ask. What is known, or replaced by another, is left to `core.events.worth` to compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from psycopg.errors import UniqueViolation
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.store.accounts import AccountKey, Held
from core.store.facts import (
    SimpleTransactions,
    TransactionKey,
    add_transactions,
    known_transactions,
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
    session: Session, stated: SimpleTransactions, held: Mapping[AccountKey, Held], duplicate_check: DuplicateCheck
) -> SimpleTransactions:
    """Write those simple transactions of locked accounts that are new and that count, and return them.

    The others have to be compared: they are stored already, or a stored one replaces them, or they are in another
    currency than their account. Raises KnownAfterAll.
    """
    own, suspects = {}, {}
    for key, account in held.items():  # in the order of the indexes
        of_account = stated.get(key)
        if of_account is not None and of_account[0].currency == account.currency:
            own[key] = of_account
            if account.replaces:
                suspects[key] = of_account
    new = _without(own, replaced_transactions(session, suspects))
    known = known_transactions(session, new) if duplicate_check.is_needed else set()
    new = _without(new, known)
    try:
        add_transactions(session, new)
    except IntegrityError as error:
        if duplicate_check.is_needed or not isinstance(error.orig, UniqueViolation):
            raise
        duplicate_check.note(had_duplicates=True)
        raise KnownAfterAll from None
    if stated:
        duplicate_check.note(had_duplicates=bool(known))
    return new


def _without(transactions: SimpleTransactions, left_out: Set[TransactionKey]) -> SimpleTransactions:
    if not left_out:
        return transactions
    kept = {
        key: [each for each in of_account if (*key, each.transaction_id) not in left_out]
        for key, of_account in transactions.items()
    }
    return {key: of_account for key, of_account in kept.items() if of_account}
