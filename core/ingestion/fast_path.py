"""The fast path: accounts for which a batch has only new simple transactions, all dated after their last report."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Set
from datetime import datetime

from psycopg.errors import UniqueViolation
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.events.facts import SimpleTransaction
from core.events.worth import Movement
from core.ingestion.decode import AccountSum
from core.ingestion.timeline import AccountMove, RunningSums, running_sums
from core.store.accounts import AccountKey, make_accounts
from core.store.driver import Savepoint
from core.store.facts import SimpleTransactions, accounts_with_replaced, accounts_with_stored, add_simple_transactions
from core.store.fast_path import SimpleWrite, Written, write_simple_accounts

_BATCHES_LEAST = 8


class DuplicateCheck:
    """Says whether a drain must look up known transactions before it writes a batch.

    Without the check, a batch that turns out to have a known transaction is rolled back and started again, which costs
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


# The sums by account.
Sums = Mapping[AccountKey, AccountSum]


def take_fast_path(
    session: Session, sums: Sums, others: Set[AccountKey], now: datetime, duplicate_check: DuplicateCheck
) -> tuple[Sums, Written]:
    """Lock the accounts of `sums` and the `others`, and write the sums of those that qualify for the fast path.

    Returns the sums that were written; the accounts for which none was are locked, and `Written.held` has them. After
    locking, look again: if another transaction got there first (it added or replaced one of our transactions), or if
    an account has to be made, roll back to the savepoint, which also releases the locks, and retry. Known transactions
    are not looked up beforehand if there are most likely none.
    """
    candidates, is_check_needed, had_duplicates = sums, duplicate_check.is_needed, False
    while True:
        if is_check_needed and (knowing := accounts_with_stored(session, _transactions(candidates))):
            candidates = {key: of_account for key, of_account in candidates.items() if key not in knowing}
            had_duplicates = True
        writes = [of_account.write for of_account in candidates.values()]
        writes += [_lock_only(key) for key in (*others, *(sums.keys() - candidates.keys()))]
        attempt = Savepoint(session)
        written = write_simple_accounts(session, writes, now)
        if written is None:
            attempt.undo()
            make_accounts(session, [(write.tenant, write.account_id) for write in sorted(writes)])
            continue
        taken = candidates
        if written.locked_only:
            taken = {key: of_account for key, of_account in candidates.items() if key not in written.locked_only}
        transactions = _transactions(taken)
        replacing = accounts_with_replaced(session, transactions)
        if not replacing and _add_if_new(session, transactions):
            if sums:
                duplicate_check.note(had_duplicates=had_duplicates)
            return taken, written
        attempt.undo()
        is_check_needed = True
        candidates = {key: of_account for key, of_account in candidates.items() if key not in replacing}


def _transactions(sums: Sums) -> SimpleTransactions:
    return {key: of_account.transactions for key, of_account in sums.items()}


def _add_if_new(session: Session, transactions: SimpleTransactions) -> bool:
    """Add the transactions; False if one of them is known after all."""
    try:
        add_simple_transactions(session, transactions)
    except IntegrityError as error:
        if not isinstance(error.orig, UniqueViolation):
            raise
        return False
    return True


def _lock_only(key: AccountKey) -> SimpleWrite:
    return SimpleWrite(*key, None, 0, 0, None, None, None)


class Moves(Mapping[AccountKey, AccountMove]):
    """What a batch did to each account. For accounts of the fast path it is computed when asked for, which is rare."""

    def __init__(self, folded: Mapping[AccountKey, AccountMove], sums: Sums) -> None:
        self.folded = folded
        self._sums = sums
        self._computed: dict[AccountKey, AccountMove] = {}
        self._running: dict[tuple[AccountKey, bool], RunningSums] = {}

    def __getitem__(self, key: AccountKey) -> AccountMove:
        move = self.folded.get(key) or self._computed.get(key)
        if move is None:
            move = self._computed[key] = _move(self._sums[key].transactions)
        return move

    def running_sums(self, key: AccountKey, measure: str) -> RunningSums:
        """The running sums of an account's measure over the batch; the same as those of its AccountMove."""
        name = key, measure == "inflow"
        found = self._running.get(name)
        if found is None:
            move = self.folded.get(key)
            found = _running_sums(self._sums[key].transactions, measure) if move is None else move.running_sums(measure)
            self._running[name] = found
        return found

    def __contains__(self, key: object) -> bool:
        return key in self.folded or key in self._sums

    def __iter__(self) -> Iterator[AccountKey]:
        yield from self.folded
        yield from self._sums

    def __len__(self) -> int:
        return len(self.folded) + len(self._sums)


def _running_sums(transactions: Collection[SimpleTransaction], measure: str) -> RunningSums:
    in_order = sorted([(transaction.posted_at, transaction.amount_minor) for transaction in transactions])
    moments = [at for at, _ in in_order]
    if measure == "inflow":
        return running_sums(moments, [amount if amount > 0 else 0 for _, amount in in_order], moments[-1])
    return running_sums(moments, [amount for _, amount in in_order], moments[-1])


def _move(transactions: Collection[SimpleTransaction]) -> AccountMove:
    in_order = sorted([(transaction.posted_at, transaction.amount_minor) for transaction in transactions])
    movements = tuple([Movement(at, amount, amount if amount > 0 else 0) for at, amount in in_order])
    return AccountMove(0, movements, movements[-1].at)
