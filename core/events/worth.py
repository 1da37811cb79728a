"""What facts make of an account: which transactions count, and how worth moves, without reading its history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from core.events.calendar import INSTANT
from core.events.facts import Report, Transaction


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


class Standing(NamedTuple):
    """The figures of an account that a fold starts from and ends with; `sign` is that of its kind."""

    sign: int
    opening_minor: int
    worth_minor: int
    inflow_minor: int
    first_report_at: datetime | None
    last_report_at: datetime | None
    last_transaction_at: datetime | None


class StoredReport(NamedTuple):
    """A report as kept, with its residual."""

    report: Report
    residual_minor: int


class NextReport(NamedTuple):
    """What is stored after a moment: the next report and, where asked for, the counted transactions up to it.

    Where there is no next report these are all that come after.
    """

    as_of: datetime | None
    current_minor: int
    residual_minor: int
    between_minor: int


@dataclass(slots=True)
class WorthFold:
    """What one batch does to one account's worth."""

    movements: list[Movement] = field(default_factory=list)
    opening_minor: int = 0
    residuals: dict[datetime, int] = field(default_factory=dict)

    def move(self, at: datetime, worth_minor: int, inflow_minor: int = 0) -> None:
        """Note a movement of transactions."""
        self.movements.append(Movement(at, worth_minor, inflow_minor))

    def residual(self, as_of: datetime, minor: int) -> None:
        """Note that the report at `as_of` now tells `minor` more than before."""
        if minor:
            self.residuals[as_of] = self.residuals.get(as_of, 0) + minor

    @property
    def all_movements(self) -> list[Movement]:
        """Transactions' movements and residuals together, in order of time."""
        if not self.residuals:
            return self.movements
        residuals = [Movement(at, minor) for at, minor in self.residuals.items() if minor]
        return sorted(self.movements + residuals, key=lambda movement: movement.at)

    @property
    def worth_minor(self) -> int:
        """By how much the worth at the latest moment moves."""
        moved = sum([movement.worth_minor for movement in self.movements])
        return self.opening_minor + moved + sum(self.residuals.values())

    @property
    def inflow_minor(self) -> int:
        """By how much the money that ever came in moves."""
        return sum([movement.inflow_minor for movement in self.movements])


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


def questions(standing: Standing, movements: Iterable[Movement], changed: Iterable[datetime]) -> dict[datetime, bool]:
    """The moments for which a fold must know the next stored report: empty while facts come in order.

    The value tells whether the transactions up to that report are asked for too; only a report needs them, to know
    what worth it meets. `changed` are the times of reports to be added or altered.
    """
    asked: dict[datetime, bool] = {}
    if standing.last_report_at is not None:
        asked.update((m.at, False) for m in movements if m.at <= standing.last_report_at)
    for as_of in changed:
        is_behind_report = standing.last_report_at is not None and as_of < standing.last_report_at
        is_behind_transaction = standing.last_transaction_at is not None and as_of < standing.last_transaction_at
        if is_behind_report or is_behind_transaction:
            asked[as_of + INSTANT] = True
    return asked


def fold_worth(
    standing: Standing,
    movements: Iterable[Movement],
    reports: Mapping[datetime, tuple[StoredReport | None, Report]],
    answers: Mapping[datetime, NextReport],
    new_sign: int,
) -> WorthFold:
    """Apply transactions' movements, then reports (before, after) in order of time.

    `answers` maps each of `questions` to what is stored at or after it. Where `new_sign` differs from the standing
    one, `reports` must hold every stored report, so that each is told anew.
    """
    if not reports and not answers:
        return WorthFold(list(movements))
    fold = WorthFold()
    for movement in movements:
        fold.move(movement.at, movement.worth_minor, movement.inflow_minor)
        follower = answers.get(movement.at)
        if follower is not None and follower.as_of is not None:
            if follower.as_of == standing.first_report_at:
                fold.opening_minor -= movement.worth_minor
            else:
                fold.residual(follower.as_of, -movement.worth_minor)
    # What has moved before a report, kept as one running sum: an account may have reports by the ten thousand.
    ahead = [(movement.at, movement.worth_minor) for movement in fold.movements]
    ahead += fold.residuals.items()
    heapify(ahead)
    shift = fold.opening_minor
    first_at = standing.first_report_at
    for as_of in sorted(reports):
        while ahead and ahead[0][0] <= as_of:
            shift += heappop(ahead)[1]
        before, after = reports[as_of]
        follower = answers.get(as_of + INSTANT)
        reported_more = after.current_minor * new_sign - _known_at(standing, before, follower) - shift
        if first_at is None or as_of <= first_at:
            fold.opening_minor += reported_more
            first_at = as_of
        else:
            fold.residual(as_of, reported_more)
        shift += reported_more
        if follower is not None and follower.as_of is not None:
            fold.residual(follower.as_of, -reported_more)
            heappush(ahead, (follower.as_of, -reported_more))
    return fold


def _replaced_after(winners: Mapping[str, Transaction], stored: Mapping[str, StoredTransaction]) -> set[str]:
    replaced = {t.replaces for t in winners.values() if t.replaces is not None and t.is_posted}
    for name, kept in stored.items():
        if name not in winners and kept.transaction.replaces is not None and kept.transaction.is_posted:
            replaced.add(kept.transaction.replaces)
    return replaced


def _known_at(standing: Standing, before: StoredReport | None, follower: NextReport | None) -> int:
    """The worth at a report's time as stored, before this batch."""
    if before is not None:
        return before.report.current_minor * standing.sign
    if follower is None:
        return standing.worth_minor
    if follower.as_of is None:
        return standing.worth_minor - follower.between_minor
    is_first = follower.as_of == standing.first_report_at
    reported = follower.current_minor * standing.sign
    return reported - (0 if is_first else follower.residual_minor) - follower.between_minor
