"""Snapshots stay right where dirty days are easily missed: within a day, across midnight, after a wait, under load."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.goals.goal import Tracking
from core.jobs import snapshot
from core.jobs.snapshot import ChunkDays, close_chunk, run_snapshot
from core.services.funding import unlink_account
from core.services.goals import get_goal, update_goal
from core.services.history import read_snapshots
from core.services.inputs import GoalChanges, MilestoneDraft
from core.services.milestones import add_milestone
from core.snapshots import closing
from core.store.database import Sessions
from core.store.days import CHUNKS
from core.store.driver import Session, Sql
from core.verify.verify import verify
from tests.acts import DEFAULT, amount, balance, goal, link, paid
from tests.conftest import Apply
from tests.snapshots.test_closing import TODAY, days_ago


def assert_last_close_is_the_amount(sessions: Sessions, goal_id: str, now: datetime) -> None:
    """Nothing is dated today, so yesterday's snapshot is the present amount; and the audit agrees."""
    with sessions() as session:
        view = read_snapshots(session, DEFAULT, goal_id, from_day=None, to_day=None, now=now)
    assert view.snapshots[-1].amount_minor == amount(sessions, goal_id)
    assert verify(sessions, now).is_ok


def test_a_late_fact_and_its_report_on_the_day_of_a_link(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """A movement that a report cancels on the same day changes no snapshot, but the worth at the hour of linking."""
    goal_id = goal(session_factory, days_ago(6))
    apply([balance(1_000, days_ago(8))])
    link(session_factory, days_ago(5, 12), goal_id, "a", "100")
    apply([balance(1_500, days_ago(5, 20))])
    run_snapshot(session_factory, now)
    apply([paid("late", -100, days_ago(5, 10))])
    run_snapshot(session_factory, now + timedelta(hours=1))
    assert_last_close_is_the_amount(session_factory, goal_id, now)


@pytest.mark.parametrize("act", ["linked", "manual", "unlinked"])
def test_a_corrected_hour_on_the_day_of_an_act(
    session_factory: Sessions, apply: Apply, now: datetime, act: str
) -> None:
    """A transaction that moves from before to after the moment of a request changes every snapshot since."""
    goal_id = goal(session_factory, days_ago(6, 1))
    link(session_factory, days_ago(5, 12) if act == "linked" else days_ago(6, 2), goal_id, "a", "100")
    with session_factory.begin() as session:
        if act == "manual":
            update_goal(session, DEFAULT, goal_id, GoalChanges(current_amount=7), days_ago(5, 12))
        if act == "unlinked":
            unlink_account(session, DEFAULT, goal_id, "a", days_ago(5, 12))
    apply([paid("t", 300, days_ago(5, 10))])
    run_snapshot(session_factory, now)
    before = amount(session_factory, goal_id)
    apply([paid("t", 300, days_ago(5, 14))])
    run_snapshot(session_factory, now + timedelta(hours=1))
    assert amount(session_factory, goal_id) != before
    assert_last_close_is_the_amount(session_factory, goal_id, now)


@pytest.mark.parametrize("way", ["a message from before midnight", "a clock behind"])
def test_closing_an_older_day_keeps_the_newer_one(
    session_factory: Sessions, apply: Apply, now: datetime, way: str
) -> None:
    """A part that is to close yesterday after today was closed removes nothing."""
    goal_id = goal(session_factory, days_ago(10))
    link(session_factory, days_ago(10) + timedelta(minutes=1), goal_id, "a", "50")
    link(session_factory, days_ago(10) + timedelta(minutes=2), goal_id, "b", "50")
    apply([paid("1", 1_000, days_ago(1), "b"), paid("2", 100, days_ago(6))])
    run_snapshot(session_factory, now)
    apply([paid("3", 10, days_ago(5))])
    if way == "a clock behind":
        run_snapshot(session_factory, datetime(2026, 3, 9, 23, 59, tzinfo=UTC))
    else:
        for chunk in range(CHUNKS):
            close_chunk(session_factory, ChunkDays(DEFAULT, chunk, TODAY - timedelta(days=2)), now)
    run_snapshot(session_factory, now + timedelta(hours=1))
    assert_last_close_is_the_amount(session_factory, goal_id, now)


def test_a_wait_that_ends_by_unlinking_catches_up(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """Once the goal waits for no balance, the milestones that its snapshots reached meanwhile are marked."""
    goal_id = goal(session_factory, days_ago(10), tracking=Tracking.BALANCE)
    link(session_factory, days_ago(10) + timedelta(minutes=1), goal_id, "a", "50")
    link(session_factory, days_ago(10) + timedelta(minutes=2), goal_id, "b", "50")
    with session_factory.begin() as session:
        add_milestone(session, DEFAULT, goal_id, MilestoneDraft("50"), days_ago(9))
    apply([balance(20_000, days_ago(6)), balance(1_000, days_ago(4))])
    run_snapshot(session_factory, now)
    with session_factory.begin() as session:
        unlink_account(session, DEFAULT, goal_id, "b", now)
    run_snapshot(session_factory, now + timedelta(hours=1))
    with session_factory() as session:
        (milestone,) = get_goal(session, DEFAULT, goal_id).milestones
    assert milestone.reached_at == days_ago(10) + timedelta(minutes=1)


def test_an_unchanged_target_excludes_no_earlier_close(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """A PATCH that gives the target as it is does not keep an earlier snapshot from completing the goal."""
    goal_id = goal(session_factory, days_ago(10), target_amount="50", auto_complete=True)
    link(session_factory, days_ago(10), goal_id, "a", "100")
    apply([paid("1", 6_000, days_ago(5)), paid("2", -5_000, days_ago(1))])
    with session_factory.begin() as session:
        update_goal(session, DEFAULT, goal_id, GoalChanges(target_amount="50.00"), now)
    assert run_snapshot(session_factory, now).completed == 1


def test_a_step_that_is_too_much_is_made_smaller(
    session_factory: Sessions, apply: Apply, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a transaction with many accounts runs out of time, fewer are taken, until all are closed."""
    goal_id = goal(session_factory, days_ago(5))
    accounts = [f"a{number}" for number in range(8)]
    for account in accounts:
        link(session_factory, days_ago(5), goal_id, account, "10")
    apply([paid("1", 1_000, days_ago(2), account) for account in accounts])
    sizes: list[int] = []

    def slow(session: Session, tenant: object, ids: list[str], *rest: object) -> object:
        sizes.append(len(ids))
        if len(ids) > 1:
            Sql("SET LOCAL statement_timeout = '1ms'").run(session, {})
            Sql("SELECT pg_sleep(1)").run(session, {})
        return close(session, tenant, ids, *rest)  # type: ignore[arg-type]

    close = closing.close_touched_accounts
    monkeypatch.setattr(snapshot, "close_touched_accounts", slow)
    monkeypatch.setattr(snapshot, "QUICK_S", 0.0)
    run_snapshot(session_factory, now)
    assert max(sizes) > 1
    assert sizes.count(1) >= len(accounts)
    assert_last_close_is_the_amount(session_factory, goal_id, now)
