"""How facts move an account's worth, and when, without reading the account's history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import NamedTuple

from msgspec import Struct

from core.events.calendar import INSTANT
from core.events.facts import Report, SimpleTransaction
from core.events.placement import Row
from core.events.transactions import TransactionChange

MOMENT = attrgetter("at")


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

    `recorded_from` and `recorded_to` are the least and the greatest time of the events. `has_dates`: whether any of
    them has only a date.
    """

    first_at: datetime
    last_at: datetime
    worth_minor: int
    inflow_minor: int
    recorded_from: datetime
    recorded_to: datetime
    has_dates: bool


def sums_of_new(transactions: Sequence[SimpleTransaction]) -> NewSums:
    """The sums of new simple transactions, at least one."""
    one = transactions[0]
    first = last = one.posted_at
    recorded_from = recorded_to = one.event_time
    if len(transactions) == 1:
        amount = one.amount_minor
        return NewSums(
            first, last, amount, amount if amount > 0 else 0, recorded_from, recorded_to, one.dated is not None
        )
    worth = inflow = 0
    has_dates = False
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
        if transaction.dated is not None:
            has_dates = True
    return NewSums(first, last, worth, inflow, recorded_from, recorded_to, has_dates)


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
    fold = WorthFold(list(movements))
    if not reports and not answers:
        return fold
    for movement in fold.movements:
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
