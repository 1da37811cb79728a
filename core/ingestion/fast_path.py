"""The fast path: accounts of which a batch brings nothing but new transactions, after all that reports have stated."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Set
from datetime import datetime

from psycopg.errors import UniqueViolation
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.events.facts import SimpleTransaction
from core.events.worth import Movement
from core.ingestion.decode import AccountSum
from core.ingestion.timeline import AccountMove, Track, track
from core.store.accounts import AccountKey, make_accounts
from core.store.driver import Savepoint
from core.store.facts import Plain, add_simple_transactions, knowing_accounts, replacing_accounts
from core.store.fast_path import SimpleWrite, Written, write_simple_accounts

_BATCHES_LEAST = 8


class DuplicateCheck:
    """How the batches of one drain went so far.

    A batch that knows one of its transactions after all is begun anew, which costs about six times what the question
    does. So it is left out only after eight batches in a row that knew none; feeds that repeat themselves always ask.
    """

    def __init__(self, batches: int = 0) -> None:
        self._batches = batches

    @classmethod
    def expected(cls) -> DuplicateCheck:
        """As after many batches of news."""
        return cls(_BATCHES_LEAST)

    @property
    def is_likely(self) -> bool:
        """Whether the next batch most likely knows none of its transactions."""
        return self._batches >= _BATCHES_LEAST

    def note(self, *, is_new: bool) -> None:
        """Note whether a batch knew none of its plain transactions."""
        self._batches = self._batches + 1 if is_new else 0


# The accounts with sums, and of those that are plain what was written.
Sums = Mapping[AccountKey, AccountSum]


def take_fast_path(
    session: Session, sums: Sums, others: Set[AccountKey], now: datetime, duplicate_check: DuplicateCheck
) -> tuple[Sums, Written]:
    """Lock the accounts of `sums` and the `others`; those that turn out to be plain, done.

    All that is not plain is `held`. What is looked up before the lock is held against what is found behind it: where
    another has added what we look at or add ourselves, or an account has to be made, all is undone (with the locks
    given back) and done anew. What is known is not looked up first where that is likely nothing.
    """
    likely, is_looked_up, is_new = sums, not duplicate_check.is_likely, True
    while True:
        if is_looked_up and (knowing := knowing_accounts(session, _parsed(likely))):
            likely, is_new = {key: of_account for key, of_account in likely.items() if key not in knowing}, False
        writes = [of_account.write for of_account in likely.values()]
        writes += [_lock_only(key) for key in (*others, *(sums.keys() - likely.keys()))]
        attempt = Savepoint(session)
        written = write_simple_accounts(session, writes, now)
        if written is None:
            attempt.undo()
            make_accounts(session, [(write.tenant, write.account_id) for write in sorted(writes)])
            continue
        plain = likely
        if written.held:
            plain = {key: of_account for key, of_account in likely.items() if key not in written.held}
        parsed = _parsed(plain)
        replacing = replacing_accounts(session, parsed)
        if not replacing and _is_added(session, parsed):
            if sums:
                duplicate_check.note(is_new=is_new)
            return plain, written
        attempt.undo()
        is_looked_up = True
        likely = {key: of_account for key, of_account in likely.items() if key not in replacing}


def _parsed(sums: Sums) -> Plain:
    return {key: of_account.parsed for key, of_account in sums.items()}


def _is_added(session: Session, plain: Plain) -> bool:
    """Add the transactions; False if one is known after all."""
    try:
        add_simple_transactions(session, plain)
    except IntegrityError as error:
        if not isinstance(error.orig, UniqueViolation):
            raise
        return False
    return True


def _lock_only(key: AccountKey) -> SimpleWrite:
    return SimpleWrite(*key, None, 0, 0, None, None, None)


class Moves(Mapping[AccountKey, AccountMove]):
    """What moved, by account: the plain ones are worked out only when they are asked for, which few are."""

    def __init__(self, folded: Mapping[AccountKey, AccountMove], plain: Sums) -> None:
        self.folded = folded
        self._plain = plain
        self._worked_out: dict[AccountKey, AccountMove] = {}
        self._tracks: dict[tuple[AccountKey, bool], Track] = {}

    def __getitem__(self, key: AccountKey) -> AccountMove:
        move = self.folded.get(key) or self._worked_out.get(key)
        if move is None:
            move = self._worked_out[key] = _move(self._plain[key].parsed)
        return move

    def track(self, key: AccountKey, measure: str) -> Track:
        """How a batch led the measure of an account that moved; as its move has it."""
        name = key, measure == "inflow"
        found = self._tracks.get(name)
        if found is None:
            move = self.folded.get(key)
            found = _track(self._plain[key].parsed, measure) if move is None else move.track(measure)
            self._tracks[name] = found
        return found

    def __contains__(self, key: object) -> bool:
        return key in self.folded or key in self._plain

    def __iter__(self) -> Iterator[AccountKey]:
        yield from self.folded
        yield from self._plain

    def __len__(self) -> int:
        return len(self.folded) + len(self._plain)


def _track(parsed: Collection[SimpleTransaction], measure: str) -> Track:
    in_order = sorted([(transaction.posted_at, transaction.amount_minor) for transaction in parsed])
    moments = [at for at, _ in in_order]
    if measure == "inflow":
        return track(moments, [amount if amount > 0 else 0 for _, amount in in_order], moments[-1])
    return track(moments, [amount for _, amount in in_order], moments[-1])


def _move(parsed: Collection[SimpleTransaction]) -> AccountMove:
    in_order = sorted([(transaction.posted_at, transaction.amount_minor) for transaction in parsed])
    movements = tuple([Movement(at, amount, amount if amount > 0 else 0) for at, amount in in_order])
    return AccountMove(0, movements, movements[-1].at)
