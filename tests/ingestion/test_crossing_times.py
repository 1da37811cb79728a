"""When a batch brought a goal to a threshold: the same as going through the movements one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.events.facts import SimpleTransaction
from core.events.worth import Movement, NewSums, movements_of_new, sums_of_new
from core.goals.goal import GoalType, Tracking
from core.goals.links import Link
from core.goals.money import share
from core.ingestion.account_moves import AccountMove, AccountMoves, rise_of
from core.ingestion.crossings import crossing_of
from core.store.crossed import CrossedGoal
from core.store.links import FundingRow, LinkRow
from tests.budget import examples

START = datetime(2026, 5, 1, tzinfo=UTC)
hours = st.integers(0, 9).map(lambda hour: START + timedelta(hours=hour))
minors = st.integers(-50_00, 50_00)
movements = st.lists(st.builds(Movement, hours, minors, st.integers(0, 50_00)), max_size=6).map(
    lambda each: sorted(each, key=lambda movement: movement.at)
)
# Of each account: the share, the measure after the batch, what is measured, when its link and its reports began, and
# its movements; None if it did not move.
reports = st.one_of(st.none(), hours)
account = st.tuples(
    st.integers(1, 1_000_000),
    st.integers(-200_00, 200_00),
    st.sampled_from(["worth", "inflow"]),
    st.one_of(st.none(), hours),
    st.one_of(st.none(), movements),
)


def amounts(accounts: list[Any], amount: int, direction: int, began_at: datetime | None) -> list[tuple[datetime, int]]:
    """The goal's amount after all movements of each moment, by definition."""
    steps = [
        (at if began_at is None else max(at, began_at), n, m.inflow_minor if measure == "inflow" else m.worth_minor)
        for n, (_, _, measure, begin_at, moved) in enumerate(accounts)
        for m in moved or ()
        for at in [m.at]
        if begin_at is None or at >= begin_at
    ]
    moments = sorted({at for at, _, _ in steps} | ({began_at} if began_at else set()))
    found = []
    for moment in moments:
        later = [sum(minor for at, k, minor in steps if k == n and at > moment) for n in range(len(accounts))]
        missing = sum(
            share(after, ppm) - share(after - more, ppm) for (ppm, after, *_), more in zip(accounts, later, strict=True)
        )
        found.append((moment, amount - direction * missing))
    return found


@settings(max_examples=examples(300))
@given(
    st.lists(account, min_size=1, max_size=3),
    st.sampled_from([GoalType.SAVINGS, GoalType.DEBT]),
    st.sampled_from([Tracking.CHANGE, Tracking.BALANCE]),
    st.integers(-100_00, 100_00),
    hours,
    reports,
    st.integers(-100_00, 100_00),
)
def test_the_moment_is_that_of_the_first_amount_there(
    accounts: list[Any],
    type: GoalType,
    tracking: Tracking,
    amount: int,
    linked_at: datetime,
    reported_at: datetime | None,
    threshold: int,
) -> None:
    """Of a single link and of several, with movements of one moment, before a link, and before the amount began."""
    goal = CrossedGoal("t", "g", "u", "n", "USD", type, tracking, None, 10**9, 0, -(10**9), amount, START, None, START)
    moves, sources = AccountMoves(), []
    for n, (ppm, after, measure, begin_at, moved) in enumerate(accounts):
        link = Link(str(n), ppm, linked_at, None, begin_at, 0, None)
        row = LinkRow("t", "g", linked_at, measure, False, None, link)
        sources.append(FundingRow(row, "USD", "liability", True, after, after, reported_at, None, None))
        if moved is not None:
            moves.add(("t", str(n)), AccountMove(0, moved, START + timedelta(days=1)))
    found = crossing_of(goal, sources, moves, START).milestone_at(threshold)
    if goal.direction * amount < goal.direction * threshold:
        assert found is None
        return
    is_moved = any(moved is not None for *_, moved in accounts)
    began_at = max(linked_at, reported_at or linked_at) if is_moved and tracking is Tracking.BALANCE else None
    by_moment = amounts(accounts, amount, goal.direction, began_at) if is_moved else []
    reached = [at for at, minor in by_moment if goal.direction * minor >= goal.direction * threshold]
    assert found == (reached[0] if reached else START + timedelta(days=1) if is_moved else START)


@given(st.lists(st.tuples(hours, minors.filter(bool)), min_size=1, max_size=8))
def test_sums_of_new_transactions_are_those_of_their_movements(stated: list[tuple[datetime, int]]) -> None:
    """First and last moment, what worth and inflow rise by, and the times of the events."""
    new = [
        SimpleTransaction("a", str(n), minor, "USD", at, None, None, None, at, "s", str(n))
        for n, (at, minor) in enumerate(stated)
    ]
    each = movements_of_new(new)
    worth, inflow = sum(m.worth_minor for m in each), sum(m.inflow_minor for m in each)
    assert sums_of_new(new) == NewSums(each[0].at, each[-1].at, worth, inflow, each[0].at, each[-1].at, False)


def test_a_rise_has_one_sum_for_each_moment() -> None:
    """What was higher between two movements of one moment is not its highest sum."""
    second = START + timedelta(hours=1)
    assert rise_of([(START, 5), (START, -3), (second, 1)]) == ([START, second], [2, 3], [2, 3])
