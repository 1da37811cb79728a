"""Asking for the milestones reached since the last time: each is given once, to whoever asks, at whatever time."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from core.errors import GoalMoved, NotFound
from core.goals.goal import GoalStatus, GoalType
from core.services.goals import get_goal, update_goal
from core.services.inputs import GoalChanges, MilestoneDraft
from core.services.milestones import add_milestone, check_milestones, next_milestone
from core.store.database import Sessions
from core.store.driver import Sql
from core.store.tenants import Tenant
from tests.acts import DEFAULT, goal, link, paid
from tests.conftest import Apply
from tests.dumping import rows_by_table


def milestones(sessions: Sessions, now: datetime, goal_id: str, amounts: Sequence[int]) -> None:
    """Add milestones."""
    with sessions.begin() as session:
        for amount in amounts:
            add_milestone(session, DEFAULT, goal_id, MilestoneDraft(amount), now)


def change(sessions: Sessions, now: datetime, goal_id: str, **changes: object) -> None:
    """Change a goal."""
    with sessions.begin() as session:
        update_goal(session, DEFAULT, goal_id, GoalChanges(**changes), now)  # type: ignore[arg-type]


def check(sessions: Sessions, now: datetime, goal_id: str) -> list[int]:
    """The amounts, in units of the currency, of the milestones that are new."""
    with sessions.begin() as session:
        currency, reached = check_milestones(session, DEFAULT, goal_id, now)
    assert currency == "USD"
    assert all(milestone.reached and milestone.celebration for milestone in reached)
    return [milestone.amount_minor // 100 for milestone in reached]


def test_the_documented_check_gives_two(session_factory: Sessions, now: datetime) -> None:
    """At 2,500 with milestones at 2,500, 5,000 and 7,500, then 5,500: two are new, then none, then the third."""
    goal_id = goal(session_factory, now, current_amount="2500")
    milestones(session_factory, now, goal_id, [2500, 5000, 7500])
    change(session_factory, now, goal_id, current_amount="5500")
    assert check(session_factory, now, goal_id) == [2500, 5000]
    assert check(session_factory, now, goal_id) == []
    change(session_factory, now, goal_id, current_amount="0")
    change(session_factory, now, goal_id, current_amount="8000")
    assert check(session_factory, now, goal_id) == [7500]


def test_a_debt_gives_them_on_its_way_down(session_factory: Sessions, now: datetime) -> None:
    """8,500 paid down to 3,000 crosses 6,000 and then 4,000; the sentence says what is left to pay."""
    goal_id = goal(session_factory, now, type=GoalType.DEBT, target_amount="0", current_amount="8500")
    milestones(session_factory, now, goal_id, [2000, 4000, 6000])
    change(session_factory, now, goal_id, current_amount="3000")
    with session_factory.begin() as session:
        _, reached = check_milestones(session, DEFAULT, goal_id, now)
    assert [milestone.celebration for milestone in reached] == [
        "Milestone reached: down to 6,000.00 USD.",
        "Milestone reached: down to 4,000.00 USD.",
    ]


def test_what_events_reached_is_new_too(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """A milestone that a batch marked comes with the time of what reached it."""
    goal_id = goal(session_factory, now - timedelta(days=3))
    link(session_factory, now - timedelta(days=3), goal_id, "a", "100")
    milestones(session_factory, now - timedelta(days=3), goal_id, [10])
    apply([paid("t", 1000, now - timedelta(days=1))])
    with session_factory.begin() as session:
        _, reached = check_milestones(session, DEFAULT, goal_id, now)
    assert [milestone.reached_at for milestone in reached] == [now - timedelta(days=1)]


def test_a_check_changes_nothing_else(session_factory: Sessions, now: datetime) -> None:
    """Version, ledger, outbox and all other rows stay as they are, but for when the milestone was checked."""
    goal_id = goal(session_factory, now, current_amount="50")
    milestones(session_factory, now, goal_id, [10, 100])
    with session_factory() as session:
        before = rows_by_table(session)
        version = get_goal(session, DEFAULT, goal_id).version
    assert check(session_factory, now, goal_id) == [10]
    with session_factory() as session:
        after = rows_by_table(session)
        assert get_goal(session, DEFAULT, goal_id).version == version
        kept = Sql("SELECT amount_minor, checked_at FROM milestones ORDER BY 1").rows(session, {})
    assert kept == [(1_000, now), (10_000, None)]
    del before["milestones"], after["milestones"]
    assert after == before


@pytest.mark.parametrize("status", [GoalStatus.PAUSED, GoalStatus.COMPLETED, GoalStatus.ABANDONED])
def test_goals_that_rest_can_be_checked(session_factory: Sessions, now: datetime, status: GoalStatus) -> None:
    """What was reached before a pause or the end is given, once."""
    goal_id = goal(session_factory, now)
    milestones(session_factory, now, goal_id, [10, 20])
    change(session_factory, now, goal_id, current_amount="10", status=status)
    assert check(session_factory, now, goal_id) == [10]
    assert check(session_factory, now, goal_id) == []


def test_who_has_not_seen_the_goal_checks_nothing(session_factory: Sessions, now: datetime) -> None:
    """At another version than those seen, or in another tenant, nothing is given and nothing is marked."""
    goal_id = goal(session_factory, now, current_amount="50")
    milestones(session_factory, now, goal_id, [10])
    with pytest.raises(GoalMoved), session_factory.begin() as session:
        check_milestones(session, DEFAULT, goal_id, now, seen=frozenset({1}))
    for tenant, name in ((Tenant("other", "UTC"), goal_id), (DEFAULT, "none"), (DEFAULT, "\x00")):
        with pytest.raises(NotFound), session_factory.begin() as session:
            check_milestones(session, tenant, name, now)
    assert check(session_factory, now, goal_id) == [10]


@pytest.mark.parametrize("first_commits", [True, False])
def test_the_second_of_two_waits_for_the_first(
    engine: Engine, session_factory: Sessions, now: datetime, first_commits: bool
) -> None:
    """While one connection checks, another waits: it gets nothing if the first commits, and all if that rolls back."""
    goal_id = goal(session_factory, now, current_amount="50")
    milestones(session_factory, now, goal_id, [10, 20])
    with ThreadPoolExecutor(1) as thread:
        with session_factory() as first:
            assert len(check_milestones(first, DEFAULT, goal_id, now)[1]) == 2
            second = thread.submit(check, session_factory, now, goal_id)
            _until_one_waits(engine)
            if first_commits:
                first.commit()
            else:
                first.rollback()
        assert second.result(30) == ([] if first_commits else [10, 20])
    assert check(session_factory, now, goal_id) == []


def test_many_at_once_get_each_milestone_once(session_factory: Sessions, now: datetime) -> None:
    """While the amount passes forty milestones, four callers ask all the time: each is given to one of them."""
    amounts = list(range(1, 41))
    goal_id = goal(session_factory, now)
    milestones(session_factory, now, goal_id, amounts)
    is_over = threading.Event()

    def ask(_: int) -> list[int]:
        found: list[int] = []
        while not is_over.is_set():
            found += check(session_factory, datetime.now(UTC), goal_id)
        return found + check(session_factory, datetime.now(UTC), goal_id)

    with ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(ask, number) for number in range(4)]
        try:
            for amount in amounts:
                change(session_factory, datetime.now(UTC), goal_id, current_amount=amount)
        finally:
            is_over.set()
        found = [each.result(60) for each in asking]
    assert sorted(amount for one in found for amount in one) == amounts


def test_the_next_milestone_is_the_nearest_on_the_way(session_factory: Sessions, now: datetime) -> None:
    """Of those not reached the lowest, a debt's highest; none when all are reached or there are none."""
    goal_id = goal(session_factory, now)
    with session_factory() as session:
        assert next_milestone(get_goal(session, DEFAULT, goal_id)) is None
    milestones(session_factory, now, goal_id, [30, 10, 20])
    debt = goal(session_factory, now, type=GoalType.DEBT, target_amount="0", current_amount="100")
    milestones(session_factory, now, debt, [30, 10, 20])
    for each, manual, expected in ((goal_id, 15, 2_000), (debt, 25, 2_000), (goal_id, 30, None)):
        change(session_factory, now, each, current_amount=manual)
        with session_factory() as session:
            upcoming = next_milestone(get_goal(session, DEFAULT, each))
        assert (upcoming and upcoming.amount_minor) == expected
        assert upcoming is None or upcoming.celebration is None
    with pytest.raises(NotFound), session_factory() as session:
        get_goal(session, DEFAULT, "none")


def _until_one_waits(engine: Engine) -> None:
    question = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    deadline = time.monotonic() + 4
    with engine.connect() as connection:
        while not connection.scalar(question):
            connection.rollback()
            assert time.monotonic() < deadline, "no one waits"
            time.sleep(0.01)
