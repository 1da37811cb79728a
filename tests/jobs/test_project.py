"""Projections: stored nightly, and made afresh where a goal or its closes have moved since."""

from __future__ import annotations

import threading
import time
from datetime import UTC, date, datetime, timedelta

import pytest

from core.errors import InvalidField
from core.goals.goal import GoalStatus, GoalType, Tracking
from core.jobs.project import Projected, due_projections, run_project
from core.jobs.snapshot import run_snapshot
from core.services.goals import update_goal
from core.services.inputs import GoalChanges
from core.services.progress import goal_progress
from core.store.database import Sessions
from core.store.days import CHUNKS, lock_snapshots
from core.store.driver import Sql
from tests.acts import DEFAULT, balance, goal, link, paid
from tests.conftest import Apply

TODAY = date(2026, 3, 10)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def saving(sessions: Sessions, apply: Apply, days: int = 40, daily: int = 1_000, **changes: object) -> str:
    """A goal of 1,000.00 that got 10.00 on each of the last days, up to yesterday."""
    began = NOON - timedelta(days=days)
    goal_id = goal(sessions, began, target_amount="1000", **changes)
    link(sessions, began, goal_id, "a", "100", began.date())
    apply([paid(f"t{n}", daily, NOON - timedelta(days=n)) for n in range(days, 0, -1)])
    return goal_id


def progress(sessions: Sessions, goal_id: str, now: datetime = NOON) -> tuple[datetime | None, str | None]:
    """The projected date and the note."""
    with sessions() as session:
        view = goal_progress(session, DEFAULT, goal_id, now)
    return view.projected_completion_date, view.projection_note


def test_the_stored_date_is_the_fresh_one(session_factory: Sessions, apply: Apply) -> None:
    """400.00 saved, 600.00 to go at 10.00 a day: 60 days from today on, before the night's run and after it."""
    goal_id = saving(session_factory, apply)
    expected = datetime(2026, 5, 9, tzinfo=UTC), None
    assert progress(session_factory, goal_id) == expected
    assert run_project(session_factory, NOON) == Projected()
    run_snapshot(session_factory, NOON)
    assert len(due_projections(session_factory)) == CHUNKS
    assert run_project(session_factory, NOON) == Projected(goals=1, dated=1)
    assert due_projections(session_factory) == []
    with session_factory() as session:
        assert Sql("SELECT projected_completion_at FROM forecasts").value(session, {}) == expected[0]
    assert progress(session_factory, goal_id) == expected


def test_a_goal_that_moved_is_projected_afresh(session_factory: Sessions, apply: Apply) -> None:
    """A payment of today shortens what is left; a late one that changes no amount changes the line."""
    goal_id = saving(session_factory, apply)
    run_snapshot(session_factory, NOON)
    run_project(session_factory, NOON)
    apply([paid("today", 30_000, NOON)])
    assert progress(session_factory, goal_id)[0] == datetime(2026, 4, 9, tzinfo=UTC)
    apply([paid("late in", 100_000, NOON - timedelta(days=20)), paid("late out", -100_000, NOON - timedelta(days=1))])
    late = progress(session_factory, goal_id)
    assert late[0] != datetime(2026, 4, 9, tzinfo=UTC)
    run_snapshot(session_factory, NOON + timedelta(hours=1))
    assert progress(session_factory, goal_id) == late
    with session_factory() as session:
        assert Sql("SELECT count(*) FROM forecasts").value(session, {}) == 0


@pytest.mark.parametrize(
    ("status", "note"), [(GoalStatus.PAUSED, "the goal is paused"), (GoalStatus.COMPLETED, "the goal is completed")]
)
def test_a_goal_that_rests_has_no_date(session_factory: Sessions, apply: Apply, status: GoalStatus, note: str) -> None:
    """What is paused or final is not on its way."""
    goal_id = saving(session_factory, apply)
    with session_factory.begin() as session:
        update_goal(session, DEFAULT, goal_id, GoalChanges(status=status), NOON)
    assert progress(session_factory, goal_id) == (None, note)
    run_snapshot(session_factory, NOON)
    assert run_project(session_factory, NOON).goals == 0


def test_a_goal_that_waits_says_for_what(session_factory: Sessions, apply: Apply) -> None:
    """Without a balance there is nothing to go on."""
    goal_id = saving(session_factory, apply, tracking=Tracking.BALANCE)
    assert progress(session_factory, goal_id) == (None, "waits for a balance of a")
    apply([balance(40_000, NOON)])
    assert progress(session_factory, goal_id)[0] == datetime(2026, 5, 9, tzinfo=UTC)


def test_a_debt_is_projected_to_its_finish(session_factory: Sessions, apply: Apply) -> None:
    """A total debt of 1,000.00, of which 400.00 are paid off at 10.00 a day, is gone in 60 days."""
    goal_id = saving(session_factory, apply, type=GoalType.DEBT)
    assert progress(session_factory, goal_id)[0] == datetime(2026, 5, 9, tzinfo=UTC)


def test_a_day_that_is_not_closed_is_refused(session_factory: Sessions, apply: Apply) -> None:
    """Projecting needs closes: for a day that has none the refusal says how to get them."""
    saving(session_factory, apply)
    run_snapshot(session_factory, NOON)
    with pytest.raises(InvalidField, match=r"2026-03-10 is not closed yet .* `milepost run snapshot`"):
        run_project(session_factory, NOON, through=TODAY)
    assert run_project(session_factory, NOON, through=TODAY - timedelta(days=1)).dated == 1


def test_closes_are_not_written_while_they_are_projected_from(session_factory: Sessions, apply: Apply) -> None:
    """Or a date from closes that are others by then would be stored, and be taken for current."""
    saving(session_factory, apply)
    closing = threading.Thread(target=run_snapshot, args=(session_factory, NOON))
    with session_factory.begin() as session:
        lock_snapshots(session, "default", alone=True)
        closing.start()
        _until(session_factory, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        with session_factory() as other:
            assert Sql("SELECT count(*) FROM goal_snapshots").value(other, {}) == 0
    closing.join()
    with session_factory() as session:
        assert Sql("SELECT count(*) FROM goal_snapshots").value(session, {}) == 40


def test_an_older_day_leaves_newer_projections_alone(session_factory: Sessions, apply: Apply) -> None:
    """Projecting from a day of last week does not take the place of what yesterday's closes say."""
    saving(session_factory, apply)
    run_snapshot(session_factory, NOON)
    run_project(session_factory, NOON)
    run_project(session_factory, NOON, through=TODAY - timedelta(days=7))
    with session_factory() as session:
        assert Sql("SELECT through_day FROM forecasts").value(session, {}) == TODAY - timedelta(days=1)


def _until(sessions: Sessions, question: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        with sessions() as session:
            if Sql(question).value(session, {}):
                return
        assert time.monotonic() < deadline, question
        time.sleep(0.02)
