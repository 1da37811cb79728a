"""How facts move an account's worth, without reading its history.

Worth at t is `opening` plus all movements up to t: the transactions that count, and for every report but the first a
*residual*, what the report told beyond what was known. The first report has no residual: it sets the opening. So

    worth(t) = opening + sum of counted transactions up to t + sum of residuals up to t

equals the definition (the last report at or before t plus the transactions after it; before the first report, that
report minus the transactions between; without a report the sum of the transactions). A late transaction moves worth
at its own time and takes as much from the next report's residual, or from the opening if that report is the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from core.events.calendar import INSTANT
from core.events.facts import Report
from core.events.transactions import Movement


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
        told_more = after.current_minor * new_sign - _known_at(standing, before, follower) - shift
        if first_at is None or as_of <= first_at:
            fold.opening_minor += told_more
            first_at = as_of
        else:
            fold.residual(as_of, told_more)
        shift += told_more
        if follower is not None and follower.as_of is not None:
            fold.residual(follower.as_of, -told_more)
            heappush(ahead, (follower.as_of, -told_more))
    return fold


def _known_at(standing: Standing, before: StoredReport | None, follower: NextReport | None) -> int:
    """The worth at a report's time as stored, before this batch."""
    if before is not None:
        return before.report.current_minor * standing.sign
    if follower is None:
        return standing.worth_minor
    if follower.as_of is None:
        return standing.worth_minor - follower.between_minor
    is_first = follower.as_of == standing.first_report_at
    told = follower.current_minor * standing.sign
    return told - (0 if is_first else follower.residual_minor) - follower.between_minor
