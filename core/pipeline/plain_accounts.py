"""Plain accounts: those of which a batch tells nothing but new plain transactions, after all that reports have told.

What such a batch does to the account is a sum. Most accounts of most batches are plain; all others go the long way of
fold_accounts, which comes to the same for plain ones too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from datetime import datetime
from zoneinfo import ZoneInfo

from psycopg.errors import UniqueViolation
from sqlalchemy.orm import Session

from core.events.calendar import local_day
from core.events.plain import PlainTransaction
from core.events.transactions import Movement
from core.pipeline.account_moves import AccountMove
from core.store.accounts import AccountKey, make_accounts
from core.store.facts import (
    DaysMoved,
    Plain,
    add_plain_transactions,
    knowing_accounts,
    replacing_accounts,
)
from core.store.plain_goals import PlainWrite, Written, write_plain_accounts

Zones = Mapping[str, ZoneInfo]


def take_plain(
    session: Session, by_account: Plain, others: Set[AccountKey], zones: Zones, now: datetime
) -> tuple[Plain, Written]:
    """Lock the accounts of `by_account` and the `others`; those that turn out to be plain, done but for their days.

    All that is not plain is `held`. What is looked up before the lock is held against what is found behind it: where
    another has added what we look at or add ourselves, or an account has to be made, all is undone (with the locks
    given back) and done anew.
    """
    barred = set(others)
    likely = {key: told for key, told in by_account.items() if key not in others and _is_a_sum(told)}
    while True:
        barred |= knowing_accounts(session, likely)
        likely = {key: told for key, told in likely.items() if key not in barred}
        writes = _writes_of(likely, zones) + [_hold(key) for key in barred | by_account.keys() - likely.keys()]
        attempt = session.begin_nested()
        written = write_plain_accounts(session, writes, now)
        if written is None:
            attempt.rollback()
            make_accounts(session, [(write.tenant, write.account_id) for write in sorted(writes)])
            continue
        plain = {key: told for key, told in likely.items() if key not in written.held}
        replacing = replacing_accounts(session, plain)
        if not replacing and _is_added(session, plain):
            attempt.commit()
            return plain, written
        attempt.rollback()
        barred |= replacing


def _is_added(session: Session, plain: Plain) -> bool:
    """Add the transactions; False if one is known after all."""
    try:
        add_plain_transactions(session, plain)
    except UniqueViolation:
        return False
    return True


def _hold(key: AccountKey) -> PlainWrite:
    return PlainWrite(*key, None, 0, 0, None, None, None)


def _is_a_sum(told: Sequence[PlainTransaction]) -> bool:
    """Whether no transaction is told twice, and all are in one currency."""
    if len(told) == 1:
        return True
    currency = told[0].currency
    return len({each.transaction_id for each in told if each.currency == currency}) == len(told)


def _writes_of(plain: Plain, zones: Zones) -> list[PlainWrite]:
    """What the transactions bring to their accounts, if these are plain."""
    writes = []
    for (tenant, account_id), told in plain.items():
        worth = inflow = 0
        earliest_at = latest_at = told[0].posted_at
        for transaction in told:
            amount, posted_at = transaction.amount_minor, transaction.posted_at
            worth += amount
            if amount > 0:
                inflow += amount
            if posted_at < earliest_at:
                earliest_at = posted_at
            elif posted_at > latest_at:
                latest_at = posted_at
        currency, first_day = told[0].currency, local_day(earliest_at, zones[tenant])
        writes.append(PlainWrite(tenant, account_id, currency, worth, inflow, latest_at, first_day, earliest_at))
    return writes


def add_days_of(plain: Plain, zones: Zones, days: DaysMoved) -> None:
    """Add what the transactions bring to the days of their accounts."""
    for (tenant, account_id), told in plain.items():
        zone = zones[tenant]
        for transaction in told:
            amount = transaction.amount_minor
            key = tenant, account_id, local_day(transaction.posted_at, zone)
            moves = days.get(key)
            if moves is None:
                days[key] = [amount, 0, amount if amount > 0 else 0]
            else:
                moves[0] += amount
                if amount > 0:
                    moves[2] += amount


class Moves(Mapping[AccountKey, AccountMove]):
    """What moved, by account: the plain ones are worked out only when they are asked for, which few are."""

    def __init__(self, folded: Mapping[AccountKey, AccountMove], plain: Plain) -> None:
        self.folded = folded
        self._plain = plain
        self._worked_out: dict[AccountKey, AccountMove] = {}

    def __getitem__(self, key: AccountKey) -> AccountMove:
        move = self.folded.get(key) or self._worked_out.get(key)
        if move is None:
            move = self._worked_out[key] = _move(self._plain[key])
        return move

    def __contains__(self, key: object) -> bool:
        return key in self.folded or key in self._plain

    def __iter__(self) -> Iterator[AccountKey]:
        yield from self.folded
        yield from self._plain

    def __len__(self) -> int:
        return len(self.folded) + len(self._plain)


def _move(told: Collection[PlainTransaction]) -> AccountMove:
    in_order = sorted([(transaction.posted_at, transaction.amount_minor) for transaction in told])
    movements = tuple([Movement(at, amount, amount if amount > 0 else 0) for at, amount in in_order])
    return AccountMove(0, movements, movements[-1].at)
