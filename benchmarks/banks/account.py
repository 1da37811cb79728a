"""One account in memory: batches are placed by the rules of core, whose questions it answers as the database does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from benchmarks.banks.pulls import CURRENCY
from core.events.facts import Transaction
from core.events.placement import Balance, Row
from core.events.placement_changes import (
    BALANCES_AFTER,
    BALANCES_BEFORE,
    AccountBefore,
    Answer,
    BalancesAround,
    Placed,
    RowsBetween,
    place,
)
from core.events.transactions import (
    StoredTransaction,
    TransactionChange,
    fold_transactions,
    with_lent_times,
    with_statements,
)
from core.ingestion.placing import row_change, with_places


@dataclass
class Account:
    """An account's rows, none of which replaces another, and its balances; `read` counts the rows that placing read.

    `first` and `last`: the least and the greatest time at which any row was first reported.
    """

    zone: ZoneInfo
    rows: dict[str, StoredTransaction] = field(default_factory=dict)
    balances: dict[datetime, Balance] = field(default_factory=dict)
    read: int = 0
    first: datetime | None = None
    last: datetime | None = None
    _of_amount: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))

    @property
    def places(self) -> dict[str, datetime]:
        """Where each row is placed that counts, by its id."""
        return {name: row.placed_at for name, row in self.rows.items() if row.counts and row.placed_at is not None}

    def worth(self) -> int:
        """The worth after all rows."""
        moved = [(at, self.rows[name].transaction.amount_minor) for name, at in self.places.items()]
        return worth_at(None, self.balances, moved)

    def apply(self, statements: Sequence[Transaction], reports: Mapping[datetime, int]) -> None:
        """Apply a batch: statements about rows, and worths of balances by `as_of`."""
        changes = self._fold(statements)
        reported = [at for change in changes if (at := change.after.first_reported) is not None]
        first = min([*reported, *filter(None, [self.first])], default=None)
        changed = {
            as_of: worth
            for as_of, worth in reports.items()
            if as_of not in self.balances or self.balances[as_of].worth_minor != worth
        }
        placed = self._place(changes, changed, first)
        for change in with_places(changes, placed, self.zone):
            self.rows[change.after.transaction.transaction_id] = change.after
        for left_at, row in placed.moved:
            assert self.rows[row.transaction_id].placed_at == left_at
            self.rows[row.transaction_id] = self.rows[row.transaction_id]._replace(placed_at=row.placed_at)
        for as_of, worth in changed.items():
            self.balances[as_of] = self.balances.get(as_of, Balance(as_of, 0))._replace(worth_minor=worth)
        for as_of, (gap, has_moved) in placed.intervals.items():
            self.balances[as_of] = self.balances[as_of]._replace(gap_minor=gap, has_moved=has_moved)
        self.first = first
        self.last = max([*reported, *filter(None, [self.last])], default=None)

    def _fold(self, statements: Sequence[Transaction]) -> list[TransactionChange]:
        stated = self._stored(statement.transaction_id for statement in statements)
        changes = fold_transactions(with_statements(statements, stated), stated, CURRENCY)
        amounts = set()
        for row in (each for change in changes for each in change if each is not None):
            # Of a removed row, the booked record has the amount.
            amount = row.transaction.amount_minor if row.booked is None else row.booked.amount_minor
            self._of_amount[amount].add(row.transaction.transaction_id)
            amounts.add(amount)
        return with_lent_times(changes, self._stored(name for amount in amounts for name in self._of_amount[amount]))

    def _stored(self, names: Iterable[str]) -> dict[str, StoredTransaction]:
        return {name: self.rows[name] for name in names if name in self.rows}

    def _place(
        self, changes: Sequence[TransactionChange], reports: Mapping[datetime, int], first: datetime | None
    ) -> Placed:
        last_report_at, last_row_at = max(self.balances, default=None), max(self.places.values(), default=None)
        before = AccountBefore(self.zone, self.worth(), last_report_at, last_row_at, self.first, self.last)
        asking = place(before, [row_change(change) for change in changes], reports, first)
        try:
            question = next(asking)
            while True:
                if isinstance(question, BalancesAround):
                    question = asking.send(self._balances_around(question))
                else:
                    question = asking.send(self._rows_between(question))
        except StopIteration as end:
            placed: Placed = end.value
            return placed

    def _rows_between(self, question: RowsBetween) -> Answer:
        found = []
        for name, at in self.places.items():
            row = self.rows[name]
            dated, reported_at = row.transaction.dated, row.reported_at
            assert reported_at is not None
            reported = question.reported
            is_asked_for = reported is None or (dated is not None and reported[0] <= reported_at <= reported[1])
            if is_asked_for and any(first <= at <= last for first, last in question.spans):
                found.append(Row(name, dated, reported_at, row.transaction.amount_minor, at))
        self.read += len(found)
        return found

    def _balances_around(self, question: BalancesAround) -> Answer:
        as_ofs = sorted(self.balances)
        answer = []
        for first, last in question.spans:
            low = [each for each in as_ofs if each < first][-BALANCES_BEFORE:]
            high = [each for each in as_ofs if each >= last][:BALANCES_AFTER]
            between = [each for each in as_ofs if each in low or first <= each < last or each in high]
            answer.append([self.balances[each] for each in between])
        return answer


def worth_at(
    moment: datetime | None, balances: Mapping[datetime, Balance], rows: Iterable[tuple[datetime, int]]
) -> int:
    """The worth at a moment (None: after all rows), from balances and where rows are placed with their amounts.

    It is the last balance and the rows since; before the first balance, that without the rows in between.
    """
    before = [as_of for as_of in balances if moment is None or as_of <= moment]
    if balances and not before and moment is not None:
        first = min(balances)
        return balances[first].worth_minor - sum([amount for at, amount in rows if moment < at <= first])
    since = max(before, default=None)
    opening = 0 if since is None else balances[since].worth_minor
    return opening + sum(
        [amount for at, amount in rows if (since is None or since < at) and (moment is None or at <= moment)]
    )
