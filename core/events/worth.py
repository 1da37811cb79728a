"""How facts change an account: which transactions count and how worth moves, without reading the account's history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import date, datetime
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import NamedTuple

from msgspec import Struct

from core.events.calendar import INSTANT
from core.events.facts import Booked, Report, SimpleTransaction, Transaction
from core.events.placement import Row, lent

MOMENT = attrgetter("at")


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


class Movement(Struct, frozen=True, gc=False):
    """From `at` on, worth is higher by `worth_minor` and total inflow by `inflow_minor`."""

    at: datetime
    worth_minor: int
    inflow_minor: int = 0


class WorthState(NamedTuple):
    """The state of an account's worth before or after a fold; `sign` is that of the account's kind."""

    sign: int
    opening_minor: int
    worth_minor: int
    inflow_minor: int
    first_report_at: datetime | None
    last_report_at: datetime | None
    last_transaction_at: datetime | None


class StoredReport(NamedTuple):
    """A report as stored, with its residual: what it states beyond the report before it and the transactions since."""

    report: Report
    residual_minor: int


class NextReport(NamedTuple):
    """The next stored report after a moment and, if asked for, the sum of the counted transactions up to it.

    If there is no next report, `as_of` is None and the sum is that of all later transactions.
    """

    as_of: datetime | None
    current_minor: int
    residual_minor: int
    between_minor: int


@dataclass(slots=True)
class WorthFold:
    """By how much one batch changes one account's worth, and when."""

    movements: list[Movement] = field(default_factory=list)
    opening_minor: int = 0
    residuals: dict[datetime, int] = field(default_factory=dict)

    def move(self, at: datetime, worth_minor: int, inflow_minor: int = 0) -> None:
        """Add a movement by transactions."""
        self.movements.append(Movement(at, worth_minor, inflow_minor))

    def residual(self, as_of: datetime, minor: int) -> None:
        """Add `minor` to the residual of the report at `as_of`."""
        if minor:
            self.residuals[as_of] = self.residuals.get(as_of, 0) + minor

    @property
    def all_movements(self) -> list[Movement]:
        """The movements by transactions and those by residuals, in order of time."""
        if not self.residuals:
            return self.movements
        residuals = [Movement(at, minor) for at, minor in self.residuals.items() if minor]
        return sorted(self.movements + residuals, key=MOMENT)


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


def movements_of(changes: Iterable[TransactionChange]) -> list[Movement]:
    """The movements of worth and inflow by these changes, in order of time, without movements of 0."""
    moved: dict[datetime, list[int]] = {}
    for change in changes:
        for row, sign in ((change.before, -1), (change.after, 1)):
            if row is None or not row.counts or row.placed_at is None:
                continue
            amount = row.transaction.amount_minor
            sums = moved.setdefault(row.placed_at, [0, 0])
            sums[0] += sign * amount
            sums[1] += sign * max(amount, 0)
    return [Movement(at, worth, inflow) for at, (worth, inflow) in sorted(moved.items()) if worth or inflow]


def movements_of_new(transactions: Iterable[SimpleTransaction]) -> list[Movement]:
    """The movements by simple transactions that are new, in order of time: what `movements_of` makes of their changes.

    Of two that have one moment each has its own movement.
    """
    movements = []
    for transaction in transactions:
        amount = transaction.amount_minor
        movements.append(Movement(transaction.posted_at, amount, amount if amount > 0 else 0))
    if len(movements) > 1:
        movements.sort(key=MOMENT)
    return movements


class NewSums(Struct, frozen=True, gc=False):
    """Of simple transactions that are new: the first and the last moment, and the sums of worth and of inflow.

    `recorded_from` and `recorded_to` are the least and the greatest time of the events.
    """

    first_at: datetime
    last_at: datetime
    worth_minor: int
    inflow_minor: int
    recorded_from: datetime
    recorded_to: datetime


def sums_of_new(transactions: Sequence[SimpleTransaction]) -> NewSums:
    """The sums of new simple transactions, at least one."""
    one = transactions[0]
    first = last = one.posted_at
    recorded_from = recorded_to = one.event_time
    if len(transactions) == 1:
        amount = one.amount_minor
        return NewSums(first, last, amount, amount if amount > 0 else 0, recorded_from, recorded_to)
    worth = inflow = 0
    for transaction in transactions:
        at, amount = transaction.posted_at, transaction.amount_minor
        worth += amount
        if amount > 0:
            inflow += amount
        if at < first:
            first = at
        elif at > last:
            last = at
        time = transaction.event_time
        if time < recorded_from:
            recorded_from = time
        elif time > recorded_to:
            recorded_to = time
    return NewSums(first, last, worth, inflow, recorded_from, recorded_to)


def movement_of(row: Row) -> Movement:
    """The movement by a row that is new."""
    return Movement(row.placed_at, row.amount_minor, max(row.amount_minor, 0))


def movements_of_moved(moved: Iterable[tuple[datetime, Row]]) -> list[Movement]:
    """The movements by rows that leave their places, which are given with them, for others."""
    movements = []
    for left_at, row in moved:
        amount, inflow = row.amount_minor, max(row.amount_minor, 0)
        movements += [Movement(left_at, -amount, -inflow), Movement(row.placed_at, amount, inflow)]
    return movements


def questions(before: WorthState, movements: Iterable[Movement], changed: Iterable[datetime]) -> dict[datetime, bool]:
    """The moments for which a fold must know the next stored report at or after them; none if facts come in order.

    The value says whether the sum of the transactions up to that report is needed too. Only a report needs it, to
    compute the worth at its time. `changed` are the times of the reports that are new or altered.
    """
    asked: dict[datetime, bool] = {}
    if before.last_report_at is not None:
        asked.update((m.at, False) for m in movements if m.at <= before.last_report_at)
    for as_of in changed:
        is_before_report = before.last_report_at is not None and as_of < before.last_report_at
        is_before_transaction = before.last_transaction_at is not None and as_of < before.last_transaction_at
        if is_before_report or is_before_transaction:
            asked[as_of + INSTANT] = True
    return asked


def fold_worth(
    state: WorthState,
    movements: Iterable[Movement],
    reports: Mapping[datetime, tuple[StoredReport | None, Report]],
    answers: Mapping[datetime, NextReport],
    new_sign: int,
) -> WorthFold:
    """Apply the movements of transactions, then the reports, each (stored before, new), in order of time.

    `answers` maps each moment of `questions` to what is stored at or after it. If `new_sign` differs from the state's,
    `reports` must have every stored report, since each then counts with the other sign.
    """
    if not reports and not answers:
        return WorthFold(list(movements))
    fold = WorthFold()
    for movement in movements:
        fold.move(movement.at, movement.worth_minor, movement.inflow_minor)
        follower = answers.get(movement.at)
        if follower is not None and follower.as_of is not None:
            if follower.as_of == state.first_report_at:
                fold.opening_minor -= movement.worth_minor
            else:
                fold.residual(follower.as_of, -movement.worth_minor)
    # By how much worth has moved up to a report is a running sum, since an account may have ten thousands of reports.
    upcoming = [(movement.at, movement.worth_minor) for movement in fold.movements]
    upcoming += fold.residuals.items()
    heapify(upcoming)
    shift = fold.opening_minor
    first_at = state.first_report_at
    for as_of in sorted(reports):
        while upcoming and upcoming[0][0] <= as_of:
            shift += heappop(upcoming)[1]
        before, after = reports[as_of]
        follower = answers.get(as_of + INSTANT)
        reported_more = after.current_minor * new_sign - _stored_worth_at(state, before, follower) - shift
        if first_at is None or as_of <= first_at:
            fold.opening_minor += reported_more
            first_at = as_of
        else:
            fold.residual(as_of, reported_more)
        shift += reported_more
        if follower is not None and follower.as_of is not None:
            fold.residual(follower.as_of, -reported_more)
            heappush(upcoming, (follower.as_of, -reported_more))
    return fold


def _stored_worth_at(state: WorthState, before: StoredReport | None, follower: NextReport | None) -> int:
    """The worth at a report's time as it was stored before this batch."""
    if before is not None:
        return before.report.current_minor * state.sign
    if follower is None:
        return state.worth_minor
    if follower.as_of is None:
        return state.worth_minor - follower.between_minor
    is_first = follower.as_of == state.first_report_at
    reported = follower.current_minor * state.sign
    return reported - (0 if is_first else follower.residual_minor) - follower.between_minor
