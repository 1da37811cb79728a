"""The pace of goals of every kind with any history: what is defined, the same from facts, from closes and stored."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from core.goals.projection import Pace, PaceDays, pace_days
from core.jobs.due import run_due
from core.jobs.project import run_project
from core.jobs.snapshot import run_snapshot
from core.services.views import ProgressView
from core.store.database import Sessions
from core.store.driver import Sql
from tests.acts import goal_progress
from tests.budget import examples
from tests.conftest import Apply
from tests.ingestion.join_oracle import Joined
from tests.ingestion.oracle import OracleAccount, cut_share
from tests.ingestion.test_any_order import facts, shuffled_and_split
from tests.snapshots import test_closes_any_order as closes
from tests.snapshots import test_joined_in_any_order as joined
from tests.snapshots.close_oracle import OracleGoal, OraclePeriod, first_instant

DAY = timedelta(days=1)
# How many whole months after the goals began, and how many days after that: all that happens is in the first fortnight.
ends = st.tuples(st.integers(1, 3), st.integers(0, 7))


# An example takes a second, so making a failing one smaller would take minutes.
@settings(max_examples=examples(15), phases=[Phase.explicit, Phase.generate])
@given(
    st.sampled_from(closes.PLACES),
    st.lists(facts(), min_size=12, max_size=30),
    st.lists(closes.memberships, max_size=4),
    ends,
    st.integers(0, 2**32),
)
def test_a_pace_is_that_of_the_definition(
    session_factory: Sessions,
    apply: Apply,
    place: tuple[str, date],
    made: list[dict[str, Any]],
    joins: list[tuple[int, int, str]],
    end: tuple[int, int],
    seed: int,
) -> None:
    """Whatever arrived when, with links that began, changed and ended, and amounts set by hand, in between."""
    world, acts = closes.build(session_factory, place)
    acts = [act for act in acts if act[0] != world.at(days=10, hours=6)]  # or the debt would be abandoned
    events = [closes._stated_fact(world, fact) for fact in made]
    events += [closes._joined(world, number, *join) for number, join in enumerate(joins)]
    *batches, late = shuffled_and_split(events, seed)
    chance = random.Random(seed)
    while batches or acts:
        if acts and (not batches or chance.random() < 0.35):
            acts.pop(0)[1]()
        else:
            apply(batches.pop(0), tenant=world.tenant.name, at=world.at(days=closes.DAYS + 1))
    _assert_paces(world, *end, lambda at: apply(late, tenant=world.tenant.name, at=at))


@settings(max_examples=examples(8), phases=[Phase.explicit, Phase.generate])
@given(
    st.sampled_from(closes.PLACES),
    st.lists(joined._reported(), min_size=12, max_size=30),
    st.lists(joined._statements, min_size=3, max_size=9),
    ends,
    st.integers(0, 2**32),
)
def test_a_pace_of_joined_accounts_is_that_of_the_definition(
    session_factory: Sessions,
    apply: Apply,
    place: tuple[str, date],
    made: list[dict[str, Any]],
    statements: list[tuple[str, int, int | None, int | None, int]],
    end: tuple[int, int],
    seed: int,
) -> None:
    """Each account counts in its own time, and neither its first balance there nor its last one is a contribution."""
    world = joined._build(session_factory, place)
    events = [closes._stated_fact(world, fact) for fact in made]
    events += [joined._stated(world, statement) for statement in statements]
    *batches, late = shuffled_and_split(events, seed)
    for batch in batches:
        apply(batch, tenant=world.tenant.name, at=world.at(days=closes.DAYS + 1))
    _assert_paces(world, *end, lambda at: apply(late, tenant=world.tenant.name, at=at))


def _assert_paces(world: closes.World, months: int, more: int, apply_late: Callable[[datetime], object]) -> None:
    """From facts, from closes, by the job and from its row; some facts come after their days are closed."""
    sessions, start = world.sessions, world.first + DAY
    wholes = (
        days for n in range(100) if (days := pace_days(start, start + n * DAY)) is not None and days.months == months
    )
    days = pace_days(start, next(wholes).through + more * DAY)
    assert days is not None
    now = first_instant(days.through + DAY, world.tenant.time_zone) + timedelta(hours=5)
    run_snapshot(sessions, now, tenant=world.tenant.name)
    apply_late(now)
    run_due(sessions, now)
    for each in world.oracles:
        each.due_ran_at = now
    by_facts = _views(world, now)
    run_snapshot(sessions, now, tenant=world.tenant.name)
    assert _views(world, now) == by_facts
    run_project(sessions, now, tenant=world.tenant.name)
    later = now + timedelta(hours=3)
    with sessions() as session:
        rows = Sql(
            """SELECT goal_id, through_day, trend_minor, trend_days, contributed_minor, contribution_months,
                projected_at FROM forecasts"""
        ).rows(session, {})
    paces = {goal_id: (Pace(*row), projected_at) for goal_id, *row, projected_at in rows}
    for name, view in _views(world, later).items():
        goal_id, oracle = world.goals[name]
        earlier = by_facts[name]
        if view.waiting_for:
            assert goal_id not in paces
            assert (view.contribution_months, view.trend_months, view.monthly_actual_minor) == (0, 0, None)
            continue
        assert (view.projected_at, earlier.projected_at, view.calculated_at) == (now, now, later)
        assert replace(view, calculated_at=now) == earlier
        assert paces[goal_id] == (_defined(world, oracle, days), now), name
        assert (view.contribution_months, view.trend_months) == (days.months, 1)


def _views(world: closes.World, now: datetime) -> dict[str, ProgressView]:
    with world.sessions() as session:
        return {name: goal_progress(session, world.tenant, goal_id, now) for name, (goal_id, _) in world.goals.items()}


def _defined(world: closes.World, oracle: OracleGoal, days: PaceDays) -> Pace:
    """The pace by the definitions, of the oracle's amounts and worths."""
    members = world.members()
    ends = {
        day: first_instant(day + DAY, world.tenant.time_zone) for day in (days.through, days.month_begin, days.begin)
    }
    amounts = {day: oracle.direction * oracle.amount_before(at, members) for day, at in ends.items()}
    closes = oracle.closes(days.begin, days.through, world.tenant.time_zone, members)
    has_moved = len(set(closes.values())) > 1
    others = _others(oracle, ends[days.begin], ends[days.through], members) if has_moved else 0
    return Pace(
        days.through,
        amounts[days.through] - amounts[days.month_begin],
        (days.through - days.month_begin).days,
        amounts[days.through] - amounts[days.begin] - others,
        days.months,
    )


def _others(oracle: OracleGoal, begin: datetime, end: datetime, members: Sequence[OracleAccount]) -> int:
    """What moved a goal's amount towards its finish that nobody contributed."""
    if oracle.tracking == "inflow":
        return 0
    periods = [period for period in oracle.periods if period.account.fits()]
    if oracle.tracking == "net_worth":
        periods = [OraclePeriod(each, 1_000_000, datetime.min.replace(tzinfo=begin.tzinfo)) for each in members]
    within = [
        (period, max(period.begin, begin), min(period.until or end, end))
        for period in periods
        if max(period.begin, begin) < min(period.until or end, end)
    ]
    moving = {_identity(period) for period, since, until in within if _transactions(period, since, until)}
    total = 0
    for period, since, until in within:
        moved = period.account.worth(until, before=True) - period.account.worth(since, before=True)
        if _identity(period) in moving:
            own = sum(_transactions(period, since, until))
        else:
            own = sum(
                account.worth(last, before=True) - account.worth(first, before=True)
                for account, first, last in _times(period, since, until)
            )
        total += cut_share(moved - own, period.ppm)
    if oracle.tracking == "balance":
        turns = {at for period in periods for at in (period.begin, period.until) if at is not None}
        total += sum(oracle.direction * _jump(oracle, periods, at) for at in turns if begin <= at < end)
    return total


def _identity(period: OraclePeriod) -> object:
    return period.account.number if isinstance(period.account, Joined) else id(period.account)


def _times(period: OraclePeriod, since: datetime, until: datetime) -> list[tuple[OracleAccount, datetime, datetime]]:
    """The accounts that a period means, each with its time."""
    account = period.account
    if not isinstance(account, Joined):
        return [(account, since, until)]
    spans = account.household.spans
    limits = [
        (own, max(since, spans[number][0] or since), min(until, spans[number][1] or until))
        for number, own in account.members
    ]
    return [(own, first, last) for own, first, last in limits if first < last]


def _transactions(period: OraclePeriod, since: datetime, until: datetime) -> list[int]:
    return [
        minor
        for account, first, last in _times(period, since, until)
        for at, minor in account.counted()
        if first <= at < last and minor
    ]


def _jump(oracle: OracleGoal, periods: Sequence[OraclePeriod], at: datetime) -> int:
    """By how much the amount of a goal that follows balances is another one since its links are others."""
    before = [each for each in periods if each.begin < at and (each.until is None or each.until >= at)]
    after = [each for each in periods if each.begin <= at and (each.until is None or each.until > at)]
    manual = next(minor for set_at, minor in reversed(oracle.manual) if set_at is None or set_at < at)

    def amount(of: Sequence[OraclePeriod]) -> int:
        if not any(each.account.known_at() for each in of):
            return manual
        return oracle.direction * sum(cut_share(each.account.worth(at, before=True), each.ppm) for each in of)

    return amount(after) - amount(before)
