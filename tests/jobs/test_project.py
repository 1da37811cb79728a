"""Projections: their paces are stored nightly, and computed where closes have changed since."""

from __future__ import annotations

import threading
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from core.errors import InvalidField
from core.goals.goal import GoalStatus, GoalType, Tracking
from core.jobs.project import Projected, _paces, due_projections, project_chunk, run_project
from core.jobs.snapshot import ChunkDays, close_chunk, run_snapshot
from core.services.goals import update_goal
from core.services.inputs import GoalChanges
from core.store.database import Sessions
from core.store.days import CHUNKS, lock_snapshots
from core.store.driver import Session, Sql, plan_by_key
from core.store.goals import read_goals
from tests.acts import DEFAULT, balance, goal, goal_progress, link, paid
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
        stored = Sql("SELECT through_day, trend_minor, trend_days, projected_at FROM forecasts").one(session, {})
    assert stored == (date(2026, 3, 9), 28_000, 28, NOON)
    assert progress(session_factory, goal_id) == expected


def test_a_goal_that_moved_is_projected_with_its_present_amount(session_factory: Sessions, apply: Apply) -> None:
    """A payment of today shortens what is left; a late one changes the trend once its day is closed again."""
    goal_id = saving(session_factory, apply)
    other = goal(session_factory, NOON - timedelta(days=40))
    run_snapshot(session_factory, NOON)
    run_project(session_factory, NOON)
    apply([paid("today", 30_000, NOON)])
    assert progress(session_factory, goal_id)[0] == datetime(2026, 4, 9, tzinfo=UTC)
    apply([paid("late in", 100_000, NOON - timedelta(days=20)), paid("late out", -99_000, NOON - timedelta(hours=1))])
    assert progress(session_factory, goal_id)[0] == datetime(2026, 4, 8, tzinfo=UTC)
    run_snapshot(session_factory, NOON + timedelta(hours=1))
    assert progress(session_factory, goal_id)[0] == datetime(2026, 3, 17, tzinfo=UTC)
    with session_factory() as session:
        assert Sql("SELECT goal_id FROM forecasts").values(session, {}) == [other]
    # The next run of the hour stores it again, and of all goals it reads this one only.
    done = [project_chunk(session_factory, work, NOON).did for work in due_projections(session_factory)]
    assert sum(done, Projected()) == Projected(goals=1, dated=1)
    assert due_projections(session_factory) == []
    assert progress(session_factory, goal_id)[0] == datetime(2026, 3, 17, tzinfo=UTC)


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


def test_a_goal_without_a_stored_pace_gets_one_after_late_facts(session_factory: Sessions, apply: Apply) -> None:
    """Also from a part of the closing that was sent for an earlier day."""
    goal_id = saving(session_factory, apply)
    run_snapshot(session_factory, NOON)
    run_project(session_factory, NOON)
    with session_factory.begin() as session:
        Sql("DELETE FROM forecasts").run(session, {})
    assert due_projections(session_factory) == []
    apply([paid("late in", 100_000, NOON - timedelta(days=20)), paid("late out", -99_000, NOON - timedelta(days=19))])
    for chunk in range(CHUNKS):
        close_chunk(session_factory, ChunkDays(DEFAULT, chunk, TODAY - timedelta(days=2)), NOON)
    for work in due_projections(session_factory):
        project_chunk(session_factory, work, NOON)
    with session_factory() as session:
        assert Sql("SELECT goal_id, through_day FROM forecasts").rows(session, {}) == [
            (goal_id, TODAY - timedelta(days=1))
        ]


def test_a_run_that_goes_on_leaves_out_what_it_has_done(session_factory: Sessions, apply: Apply) -> None:
    """Only goals without a row of the day are projected, unless all are asked for."""
    ids = [saving(session_factory, apply) for _ in range(3)]
    run_snapshot(session_factory, NOON)
    run_project(session_factory, NOON)
    with session_factory.begin() as session:
        Sql("DELETE FROM forecasts WHERE goal_id = :goal_id").run(session, {"goal_id": ids[1]})
    for again, goals in ((False, 1), (False, 0), (True, 3)):
        found = due_projections(session_factory, again=True)
        assert sum(project_chunk(session_factory, work, NOON, again=again).did.goals for work in found) == goals


@pytest.mark.parametrize("changes", [{"tracking": Tracking.BALANCE}, {"days": 20}])
def test_what_closes_do_not_say_is_not_stored(session_factory: Sessions, apply: Apply, changes: dict[str, Any]) -> None:
    """A goal that waits for a balance has no row, and one without a whole month a row that says so."""
    saving(session_factory, apply, **changes)
    run_snapshot(session_factory, NOON)
    assert run_project(session_factory, NOON) == Projected(goals=1, dated=0)
    with session_factory() as session:
        rows = Sql("SELECT trend_minor, trend_days, contribution_months FROM forecasts").rows(session, {})
    assert rows == ([] if "tracking" in changes else [(None, None, 0)])


def test_a_goal_costs_a_few_rows_however_long_its_past_is(session_factory: Sessions, apply: Apply) -> None:
    """Three closes; of the account one transaction and the reports of three months, whatever came before it."""
    for days in (200, 400):
        _save_and_report(session_factory, apply, days, minor=1_000)
        expected = {"goal_snapshots": 3, "links": 1, "transactions": 1, "reports": 9}
        assert _rows_read_by_projecting(session_factory) == expected


def test_of_an_account_that_only_reports_balances_no_report_is_read(session_factory: Sessions, apply: Apply) -> None:
    """Its whole change counts as contributed, whatever its reports say."""
    _save_and_report(session_factory, apply, 200, minor=None)
    assert _rows_read_by_projecting(session_factory) == {"goal_snapshots": 3, "links": 1}


def test_of_a_goal_that_did_not_move_only_a_close_is_read(session_factory: Sessions, apply: Apply) -> None:
    """Whatever moved it more than three months ago."""
    _save_and_report(session_factory, apply, 200, minor=1_000, until=95)
    assert _rows_read_by_projecting(session_factory) == {"goal_snapshots": 1}


def _save_and_report(sessions: Sessions, apply: Apply, days: int, minor: int | None, until: int = 1) -> None:
    """Leave only a goal so old, whose account was reported every tenth day and, if it says so, got money every day."""
    began = NOON - timedelta(days=days)
    with sessions.begin() as session:
        Sql("DELETE FROM goals").run(session, {})
    goal_id = goal(sessions, began, target_amount="1000")
    account = f"a{days}"
    link(sessions, began, goal_id, account, "100", began.date())
    if minor is not None:
        apply([paid(f"t{n}", minor, NOON - timedelta(days=n), account) for n in range(days, until - 1, -1)])
    apply([balance(n, NOON - timedelta(days=n), account) for n in range(days, until - 1, -10)])
    run_snapshot(sessions, NOON)


def _rows_read_by_projecting(sessions: Sessions) -> dict[str, int]:
    """By table the rows that the job finds by index, but for those of goals and accounts, which have moved."""
    found = Sql(
        """SELECT relname, sum(pg_stat_get_xact_tuples_returned(indexrelid)), sum(seq_tup_read)
        FROM pg_stat_xact_user_tables t JOIN pg_index i ON i.indrelid = t.relid GROUP BY relname"""
    )
    with sessions.begin() as session:
        plan_by_key(session)
        goals = _keys(session)
        before = {name: (read, scanned) for name, read, scanned in found.rows(session, {})}
        _paces(session, ChunkDays(DEFAULT, 0, TODAY - timedelta(days=1)), read_goals(session, goals))
        after = found.rows(session, {})
    assert all(scanned == before[name][1] for name, _, scanned in after)
    read = {name: int(count - before[name][0]) for name, count, _ in after if name not in ("goals", "accounts")}
    return {name: count for name, count in read.items() if count}


def _keys(session: Session) -> list[tuple[str, str]]:
    return [(tenant, goal_id) for tenant, goal_id in Sql("SELECT tenant, goal_id FROM goals").rows(session, {})]


def _until(sessions: Sessions, question: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        with sessions() as session:
            if Sql(question).value(session, {}):
                return
        assert time.monotonic() < deadline, question
        time.sleep(0.02)
