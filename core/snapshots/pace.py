"""The pace of goals: what their closes say, less what moved them without anyone's contribution."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from core.events.calendar import day_start
from core.events.spans import NEVER
from core.goals.amounts import link_turns, moved_by_links
from core.goals.goal import follows_balances
from core.goals.money import share
from core.goals.projection import Pace, PaceDays, pace_of
from core.snapshots.amounts import DatedGoal, Funding, dated_goals
from core.snapshots.movements import counted_times, read_turns
from core.store.driver import Session
from core.store.goals import GoalKey, GoalRow
from core.store.links import FundingRow
from core.store.measures import read_measures
from core.store.reports import MarketPeriod, market_movements
from core.store.snapshots import Closes

_DAY = timedelta(days=1)


class PacedGoal(NamedTuple):
    """A goal, the days that say its pace, and its closes on these."""

    goal: GoalRow
    days: PaceDays
    closes: Closes

    @property
    def has_moved(self) -> bool:
        """Whether any close between the first and the last is another one than the first."""
        return self.closes.through.since > self.days.begin

    def span(self, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """The time between the first and the last of the closes: from a moment on, and before another one."""
        return day_start(self.days.begin + _DAY, zone), day_start(self.days.through + _DAY, zone)


class _Period(NamedTuple):
    """The part of a link's time that is within the span of its goal."""

    goal: GoalRow
    source: FundingRow
    since: datetime
    until: datetime


def compute_paces(session: Session, goals: Sequence[PacedGoal], funding: Funding, zone: ZoneInfo) -> list[Pace]:
    """The pace of each goal, in the order given; all are of one tenant.

    `funding` has the links of those that have moved. Of the others nothing more is read: what moved them within a day,
    and back, counts as nothing.
    """
    others = dict.fromkeys((each.goal.key for each in goals), 0)
    moved = [each for each in goals if each.has_moved]
    for key, minor in _moved_by_accounts(session, [*_periods(moved, funding, zone)]):
        others[key] += minor
    for key, minor in _moved_by_links(session, moved, funding, zone):
        others[key] += minor
    return [
        pace_of(
            each.days,
            each.goal.direction,
            each.closes.through.amount_minor,
            each.closes.month_begin.amount_minor,
            each.closes.begin.amount_minor,
            others[each.goal.key],
        )
        for each in goals
    ]


def _periods(goals: Sequence[PacedGoal], funding: Funding, zone: ZoneInfo) -> Iterator[_Period]:
    """The periods of the links that count and measure worth."""
    for each in goals:
        begin, end = each.span(zone)
        for source in funding[each.goal.key]:
            link = source.row.link
            since, until = max(link.from_at, begin), min(link.until_at or NEVER, end)
            if since < until and source.row.measure != "inflow" and source.counts(each.goal):
                yield _Period(each.goal, source, since, until)


def _moved_by_accounts(session: Session, periods: Sequence[_Period]) -> Iterator[tuple[GoalKey, int]]:
    """(goal, minor units towards its finish) for what the market did, and what accounts had when they began to count.

    Several links of one account to a goal, and all accounts that count for a link, are as one: a transaction of any of
    them in its time shows that differences are no contributions.
    """
    counted = [counted_times(each.source, each.since, each.until) for each in periods]
    numbers: dict[tuple[str, str, str], int] = {}
    market: list[MarketPeriod] = []
    owners: list[int] = []
    for n, (period, own) in enumerate(zip(periods, counted, strict=True)):
        together = numbers.setdefault((*period.goal.key, period.source.row.link.account_id), len(numbers))
        market += [MarketPeriod(*time, together) for time in own.times]
        owners += [n] * len(own.times)
    moved = [sum(minor for _, minor in turns) for turns in read_turns(session, counted)]
    for n, minor in zip(owners, market_movements(session, market), strict=True):
        moved[n] += minor
    for period, minor in zip(periods, moved, strict=True):
        yield period.goal.key, share(minor, period.source.row.link.ppm)


def _moved_by_links(
    session: Session, goals: Sequence[PacedGoal], funding: Funding, zone: ZoneInfo
) -> Iterator[tuple[GoalKey, int]]:
    """(goal, minor units towards its finish) for the links of goals that follow balances, which began or ended."""
    spans = {each.goal.key: each.span(zone) for each in goals if follows_balances(each.goal.tracking)}
    rows = {each.goal.key: each.goal for each in goals if each.goal.key in spans and _has_turn(each, funding, zone)}
    histories = dated_goals(session, rows, funding)
    turns = [(key, at) for key, goal in histories.items() for at in link_turns(goal.history, *spans[key])]
    measures = read_measures(
        session, {(*source.row.account_key, at) for key, at in turns for source in histories[key].sources}
    )
    for key, at in turns:
        goal = histories[key]

        def measure_before(n: int, moment: datetime, goal: DatedGoal = goal) -> int:
            return measures[*goal.sources[n].row.account_key, moment].worth_minor

        yield key, goal.history.direction * moved_by_links(goal.history, at, measure_before)


def _has_turn(paced: PacedGoal, funding: Funding, zone: ZoneInfo) -> bool:
    begin, end = paced.span(zone)
    links = [source.row.link for source in funding[paced.goal.key]]
    return any(at is not None and begin <= at < end for link in links for at in (link.from_at, link.until_at))
