"""What a batch makes of an account's transactions: which statement of each stands, and which of them count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from core.events.facts import Transaction


class StoredTransaction(NamedTuple):
    """A transaction as kept, with whether it counts for worth."""

    transaction: Transaction
    counts: bool


class TransactionChange(NamedTuple):
    """One row to write: what stood before (None: nothing) and what stands now."""

    before: StoredTransaction | None
    after: StoredTransaction


class Movement(NamedTuple):
    """From `at` on, worth is higher by `worth_minor` and the money that came in by `inflow_minor`."""

    at: datetime
    worth_minor: int
    inflow_minor: int = 0


def standing(statements: Iterable[Transaction]) -> dict[str, Transaction]:
    """Of several statements of one transaction the one that stands, by id."""
    winners: dict[str, Transaction] = {}
    for statement in statements:
        rival = winners.get(statement.transaction_id)
        if rival is None or statement.precedence > rival.precedence:
            winners[statement.transaction_id] = statement
    return winners


def fold_transactions(
    stated: Mapping[str, Transaction], stored: Mapping[str, StoredTransaction]
) -> list[TransactionChange]:
    """The rows that change when `stated` joins `stored`, in no particular order.

    `stored` must hold, where they exist: the rows of the stated ids, the rows that these (stated or stored) replace,
    and every row that replaces any of them. A transaction counts while it is posted, is not removed, and no posted,
    not removed transaction replaces it.
    """
    winners = {
        name: statement
        for name, statement in stated.items()
        if name not in stored or statement.precedence > stored[name].transaction.precedence
    }
    if not winners:
        return []
    if not stored and all(statement.replaces is None for statement in winners.values()):
        return [TransactionChange(None, StoredTransaction(each, each.is_posted)) for each in winners.values()]
    replaced = _replaced_after(winners, stored)
    touched = set(winners)
    for name, statement in winners.items():
        touched.add(statement.replaces or name)
        if name in stored:
            touched.add(stored[name].transaction.replaces or name)
    changes = []
    for name in touched:
        before = stored.get(name)
        if name in winners:
            statement = winners[name]
        elif before is not None:
            statement = before.transaction
        else:
            continue  # a replaced transaction that has not been seen yet
        after = StoredTransaction(statement, statement.is_posted and name not in replaced)
        if after != before:
            changes.append(TransactionChange(before, after))
    return changes


def _replaced_after(winners: Mapping[str, Transaction], stored: Mapping[str, StoredTransaction]) -> set[str]:
    replaced = {t.replaces for t in winners.values() if t.replaces is not None and t.is_posted}
    for name, kept in stored.items():
        if name not in winners and kept.transaction.replaces is not None and kept.transaction.is_posted:
            replaced.add(kept.transaction.replaces)
    return replaced


def movements_of(changes: Iterable[TransactionChange]) -> list[Movement]:
    """How worth and inflow move, in order of time; a change that moves nothing gives nothing."""
    moved: dict[datetime, list[int]] = {}
    for change in changes:
        for kept, sign in ((change.before, -1), (change.after, 1)):
            if kept is None or not kept.counts or kept.transaction.posted_at is None:
                continue
            amount = kept.transaction.amount_minor
            sums = moved.setdefault(kept.transaction.posted_at, [0, 0])
            sums[0] += sign * amount
            sums[1] += sign * max(amount, 0)
    return [Movement(at, worth, inflow) for at, (worth, inflow) in sorted(moved.items()) if worth or inflow]
