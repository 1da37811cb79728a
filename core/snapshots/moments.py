"""The amount of a goal after each moment of a short span, such as one day, computed from facts."""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate
from typing import NamedTuple

from core.events.calendar import INSTANT
from core.goals.amounts import amount_before
from core.snapshots.amounts import DatedGoal, Funding, dated_goals
from core.snapshots.movements import read_counted_movements
from core.store.driver import Session
from core.store.goals import GoalRow
from core.store.measures import AccountMoment, MeasuresBefore, read_measures


class GoalSpan(NamedTuple):
    """The time of a goal from `since` on and before `until`; None: without an end."""

    goal: GoalRow
    since: datetime
    until: datetime | None


class _Measures:
    """The measures of one account in a span, before any moment of it."""

    def __init__(self, before: MeasuresBefore, movements: Sequence[tuple[datetime, int, int]]) -> None:
        self._moments = [at for at, _, _ in movements]
        worths = list(accumulate([minor for _, minor, _ in movements], initial=before.worth_minor))
        inflows = list(accumulate([minor for _, _, minor in movements], initial=before.inflow_minor))
        self._measures = [MeasuresBefore(*pair) for pair in zip(worths, inflows, strict=True)]

    def before(self, moment: datetime) -> MeasuresBefore:
        return self._measures[bisect_left(self._moments, moment)]


def amounts_within(session: Session, spans: Sequence[GoalSpan], funding: Funding) -> list[list[tuple[datetime, int]]]:
    """For each span (moment, amount): at its begin, from the facts before it, then after each moment that has facts.

    All goals are of one tenant, and locked. The cost is that of the facts in the spans and of those after them.
    """
    goals = dated_goals(session, {span.goal.key: span.goal for span in spans}, funding)
    asked = {
        (source.row.account_key, span.since, span.until): source
        for span in spans
        for source in goals[span.goal.key].sources
    }
    movements_of = read_counted_movements(session, [(source, *key[1:]) for key, source in asked.items()])
    found = dict(zip(asked, movements_of, strict=True))
    before = read_measures(session, {(*key, since) for key, since, _ in asked})
    result = []
    for span in spans:
        goal = goals[span.goal.key]
        movements = [found[source.row.account_key, span.since, span.until] for source in goal.sources]
        measures = [
            _Measures(before[*source.row.account_key, span.since], moved)
            for source, moved in zip(goal.sources, movements, strict=True)
        ]
        moments = {at for moved in movements for at, _, _ in moved}
        turns = goal.history.turns()
        moments.update(at for at in turns if span.since <= at and (span.until is None or at < span.until))
        ends = [(span.since, span.since), *((at, at + INSTANT) for at in sorted(moments))]
        result.append([(at, _amount_before(session, end, goal, span, measures)) for at, end in ends])
    return result


def _amount_before(
    session: Session, end: datetime, goal: DatedGoal, span: GoalSpan, measures: Sequence[_Measures]
) -> int:
    def measure_before(n: int, moment: datetime) -> int:
        row = goal.sources[n].row
        kept = row.link.kept_measure(moment)
        if kept is not None:
            return kept
        if moment >= span.since:
            return measures[n].before(moment).of(row.measure)
        key: AccountMoment = (*row.account_key, moment)
        return read_measures(session, [key])[key].of(row.measure)

    return amount_before(goal.history, end, measure_before)
