"""Plain accounts: those of which a batch tells nothing but new transactions, after all that reports have told.

What such a batch does to the account is a sum. Most accounts of most batches are plain; all others go the long way of
fold_accounts, which comes to the same for plain ones too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from zoneinfo import ZoneInfo

from core.events.calendar import local_day
from core.events.facts import AccountFacts, Transaction
from core.events.transactions import Movement, standing
from core.pipeline.account_moves import AccountMove
from core.store.accounts import AccountKey, Held
from core.store.facts import DayMoves
from core.store.plain_goals import AccountWrite

DaysMoved = dict[tuple[str, str, date], DayMoves]


def news_of_plain(held: Held, facts: Sequence[AccountFacts]) -> Sequence[Transaction] | None:
    """The transactions of a plain account, each once; None if the account is not plain.

    Whether one of them is known already is still to be asked.
    """
    last_report_at = held.last_report_at
    told: list[Transaction] = []
    for stated in facts:
        transaction = stated.transaction
        if transaction is None or stated.attributes or stated.currency != held.currency:
            return None
        posted_at = transaction.posted_at
        if (
            posted_at is None
            or transaction.pending
            or transaction.replaces is not None
            or not transaction.amount_minor
            or (last_report_at is not None and posted_at <= last_report_at)
        ):
            return None
        told.append(transaction)
    return told if len(told) == 1 else list(standing(told).values())


def write_of_plain(key: AccountKey, news: Sequence[Transaction], zone: ZoneInfo, days: DaysMoved) -> AccountWrite:
    """What the news bring to the account; what they bring to its days is added to `days`."""
    tenant, account_id = key
    worth = inflow = 0
    first_day = date.max
    for transaction in news:
        assert transaction.posted_at is not None, "a tombstone is no news of a plain account"
        amount = transaction.amount_minor
        gain = amount if amount > 0 else 0
        worth += amount
        inflow += gain
        day = local_day(transaction.posted_at, zone)
        if day < first_day:
            first_day = day
        moves = days.get((tenant, account_id, day))
        if moves is None:
            days[tenant, account_id, day] = [amount, 0, gain]
        else:
            moves[0] += amount
            moves[2] += gain
    moments = [transaction.posted_at for transaction in news if transaction.posted_at is not None]
    earliest_at, latest_at = min(moments), max(moments)
    return AccountWrite(
        tenant, account_id, None, 0, worth, inflow, None, None, latest_at, first_day, None, None, True, earliest_at
    )


class Moves(Mapping[AccountKey, AccountMove]):
    """What moved, by account: the plain ones are worked out only when they are asked for, which few are."""

    def __init__(
        self, folded: Mapping[AccountKey, AccountMove], plain: Mapping[AccountKey, Sequence[Transaction]]
    ) -> None:
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


def _move(news: Collection[Transaction]) -> AccountMove:
    told = sorted([(t.posted_at, t.amount_minor) for t in news if t.posted_at is not None])
    movements = tuple([Movement(at, amount, amount if amount > 0 else 0) for at, amount in told])
    return AccountMove(0, movements, movements[-1].at)
