"""Closing days: what is written, what is marked by closes, and how goals are completed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from core.errors import GoalIsFinal, InvalidField
from core.goals.goal import GoalStatus, GoalType, Tracking
from core.jobs.snapshot import run_snapshot
from core.services.goals import get_goal, update_goal
from core.services.history import read_snapshots
from core.services.inputs import GoalChanges, MilestoneDraft
from core.services.milestones import add_milestone
from core.store.database import Sessions
from core.store.driver import Session, Sql
from tests.acts import DEFAULT, amount, balance, goal, link, paid
from tests.conftest import Apply
from tests.dumping import rows_by_table

TODAY = date(2026, 3, 10)


def days_ago(days: int, hour: int = 12) -> datetime:
    """An hour of a day before the tests' present day."""
    return datetime(2026, 3, 10, hour, tzinfo=UTC) - timedelta(days=days)


def a_goal(sessions: Sessions, days: int, tracking: Tracking = Tracking.CHANGE, **changes: object) -> str:
    """A goal that began, with all of account `a`, so many days ago."""
    at = days_ago(days, 0)
    goal_id = goal(sessions, at, tracking=tracking, **changes)
    link(sessions, at + timedelta(minutes=1), goal_id, "a", "100", (TODAY - timedelta(days=days)))
    return goal_id


def stored(session: Session, goal_id: str) -> list[tuple[int, int]]:
    """(days ago, amount) of the rows of closes."""
    rows = Sql("SELECT day, amount_minor FROM goal_snapshots WHERE goal_id = :g ORDER BY day").rows(
        session, {"g": goal_id}
    )
    return [((TODAY - row[0]).days, row[1]) for row in rows]


def test_days_are_closed_sparsely_and_read_densely(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """A row for each day whose close differs, an answer for every day, and a second run that writes nothing."""
    goal_id = a_goal(session_factory, 10, current_amount="5")
    apply([paid("1", 100, days_ago(8)), paid("2", 200, days_ago(5)), paid("3", 50, days_ago(0, 8))])
    assert run_snapshot(session_factory, now).closes == 3
    with session_factory() as session:
        assert stored(session, goal_id) == [(10, 500), (8, 600), (5, 800)]
        view = read_snapshots(session, DEFAULT, goal_id, from_day=None, to_day=None, now=now)
        before = rows_by_table(session)
        assert Sql("SELECT closed_through FROM tenants").value(session, {}) == TODAY - timedelta(days=1)
    assert [close.amount_minor for close in view.snapshots] == [500, 500, 600, 600, 600, 800, 800, 800, 800, 800]
    assert [close.day for close in view.snapshots] == [TODAY - timedelta(days=n) for n in range(10, 0, -1)]
    assert run_snapshot(session_factory, now).closes == 0
    with session_factory() as session:
        assert rows_by_table(session) == before
    assert run_snapshot(session_factory, now + timedelta(days=1)).closes == 1


def test_a_late_fact_changes_the_closes_up_to_the_next_report(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """What a later report takes back is written anew up to its day, and no row beyond is looked at."""
    goal_id = a_goal(session_factory, 100, Tracking.BALANCE)
    apply([balance(1_000 + number, days_ago(99 - number, 20)) for number in range(99)])
    run_snapshot(session_factory, now)
    apply([paid("late", 70, days_ago(50, 21))])
    with session_factory() as session:
        dirty_from, *late = Sql("SELECT dirty_from, late_from, late_through FROM accounts").one(session, {})
        days = TODAY - timedelta(days=50), TODAY - timedelta(days=49)
        assert tuple(late) == days
        # The report of the present day is what is marked for good.
        assert dirty_from is None or dirty_from >= TODAY
        fresh = read_snapshots(session, DEFAULT, goal_id, from_day=None, to_day=None, now=now)
        # Stands where no run is to look: were it read or written, it would not survive.
        Sql("UPDATE reports SET residual_minor = residual_minor + 1, current_minor = 7 WHERE as_of = :at").run(
            session, {"at": days_ago(20, 20)}
        )
        session.commit()
    assert run_snapshot(session_factory, now).closes == 1
    with session_factory() as session:
        assert dict(stored(session, goal_id))[50] == 1_049 + 70
        assert dict(stored(session, goal_id))[49] == 1_050
        assert {close.day: close.amount_minor for close in fresh.snapshots}[TODAY - timedelta(days=50)] == 1_049 + 70


def test_closes_mark_what_no_commit_showed(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """Facts that come newest first never lead the amount over a milestone; the closes do, each on its day."""
    goal_id = a_goal(session_factory, 30)
    with session_factory.begin() as session:
        for minor in ("10", "20", "30"):
            add_milestone(session, DEFAULT, goal_id, MilestoneDraft(minor), days_ago(29))
    apply([paid("back", -2_500, days_ago(5))])
    apply([paid("in", 2_500, days_ago(20)), paid("later", -100, days_ago(19))])
    run_snapshot(session_factory, now)
    with session_factory() as session:
        marks = [milestone.reached_at for milestone in get_goal(session, DEFAULT, goal_id).milestones]
        sent = Sql("SELECT count(*) FROM outbox WHERE type LIKE '%.reached'").value(session, {})
    assert marks == [days_ago(20), days_ago(20), None]
    assert sent == 2


def test_a_milestone_added_late_is_marked_by_an_earlier_close(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """Whether a milestone is added before or after the facts that reached it makes no difference to its mark."""
    goal_id = a_goal(session_factory, 30)
    apply([paid("in", 2_500, days_ago(20)), paid("back", -2_500, days_ago(5))])
    run_snapshot(session_factory, now)
    with session_factory.begin() as session:
        add_milestone(session, DEFAULT, goal_id, MilestoneDraft("20"), now)
    run_snapshot(session_factory, now + timedelta(hours=1))
    with session_factory() as session:
        (milestone,) = get_goal(session, DEFAULT, goal_id).milestones
    assert milestone.reached_at == days_ago(20)


def test_a_goal_is_completed_at_the_first_close_on_its_target(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """Missed days are closed in order: the goal ends at the first that stood reached, and later facts count no more."""
    goal_id = a_goal(session_factory, 30, target_amount="50", auto_complete=True)
    apply([paid("1", 6_000, days_ago(20, 9)), paid("2", -5_000, days_ago(20, 18)), paid("3", 4_500, days_ago(15))])
    apply([paid("4", 100, days_ago(10)), paid("5", -9_000, days_ago(3))])
    assert run_snapshot(session_factory, now).completed == 1
    with session_factory() as session:
        view = get_goal(session, DEFAULT, goal_id)
        assert (view.status, view.amount_minor) == (GoalStatus.COMPLETED, 5_500)
        assert stored(session, goal_id)[-1] == (15, 5_500)
        final_at, until_at = Sql("SELECT g.final_at, l.until_at FROM goals g JOIN links l USING (tenant, goal_id)").one(
            session, {}
        )
        assert final_at == until_at == datetime(2026, 2, 24, tzinfo=UTC)
        assert Sql("SELECT count(*) FROM outbox WHERE type = 'goal.reached'").value(session, {}) == 1
        ledger = Sql("SELECT before_minor, after_minor, cause FROM goal_entries ORDER BY entry").rows(session, {})
        assert [before for before, _, _ in ledger[1:]] == [after for _, after, _ in ledger[:-1]]
        assert ledger[-1][1:] == (5_500, "status")
    apply([paid("early", 11, days_ago(16)), paid("new", 10_000, days_ago(1))])
    run_snapshot(session_factory, now + timedelta(hours=1))
    assert amount(session_factory, goal_id) == 5_511
    with session_factory() as session:
        assert stored(session, goal_id)[-1] == (15, 5_511)
    with session_factory.begin() as session, pytest.raises(GoalIsFinal):
        update_goal(session, DEFAULT, goal_id, GoalChanges(target_amount=70), now)


def test_a_target_lowered_today_completes_at_no_earlier_close(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """Snapshots from before a change of target are not evaluated by it, even if late facts rewrite them."""
    goal_id = a_goal(session_factory, 30, target_amount="100", auto_complete=True)
    apply([paid("1", 6_000, days_ago(20)), paid("2", -3_000, days_ago(10))])
    run_snapshot(session_factory, now)
    with session_factory.begin() as session:
        update_goal(session, DEFAULT, goal_id, GoalChanges(target_amount=40), now)
    apply([paid("late", 100, days_ago(25))])
    assert run_snapshot(session_factory, now + timedelta(hours=1)).completed == 0
    apply([paid("3", 2_000, now + timedelta(hours=1))], at=now + timedelta(hours=2))
    assert run_snapshot(session_factory, now + timedelta(days=1)).completed == 1
    with session_factory() as session:
        assert Sql("SELECT final_at FROM goals").value(session, {}) == datetime(2026, 3, 11, tzinfo=UTC)


def test_a_paused_goal_is_closed_but_marks_and_completes_only_when_active(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """The days of a pause are closed as ever; once it is over, their closes mark milestones and complete nothing."""
    goal_id = a_goal(session_factory, 30, target_amount="50", auto_complete=True)
    with session_factory.begin() as session:
        add_milestone(session, DEFAULT, goal_id, MilestoneDraft("45"), days_ago(29))
        update_goal(session, DEFAULT, goal_id, GoalChanges(status=GoalStatus.PAUSED), days_ago(28))
    apply([paid("1", 5_000, days_ago(20)), paid("2", -2_000, days_ago(10))])
    assert run_snapshot(session_factory, days_ago(2)).milestones_reached == 0
    with session_factory.begin() as session:
        assert stored(session, goal_id) == [(30, 0), (20, 5_000), (10, 3_000)]
        update_goal(session, DEFAULT, goal_id, GoalChanges(status=GoalStatus.ACTIVE), days_ago(1))
    done = run_snapshot(session_factory, now)
    assert (done.milestones_reached, done.completed) == (1, 0)
    with session_factory() as session:
        view = get_goal(session, DEFAULT, goal_id)
        assert view.milestones[0].reached_at == days_ago(20)
        assert view.status is GoalStatus.ACTIVE


def test_a_link_made_since_keeps_earlier_closes_from_completing(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """Whoever links an account to a goal that was at its target days ago does not end it: the close of that day may."""
    goal_id = goal(session_factory, days_ago(30), target_amount="30", auto_complete=True, tracking=Tracking.BALANCE)
    link(session_factory, days_ago(30), goal_id, "a", "60", TODAY - timedelta(days=30))
    link(session_factory, days_ago(0, 9), goal_id, "b", "40")
    apply([balance(1_000, days_ago(25)), paid("1", 4_500, days_ago(20)), balance(700, days_ago(3), account="b")])
    assert run_snapshot(session_factory, now).completed == 0
    assert run_snapshot(session_factory, now + timedelta(days=1)).completed == 1
    assert amount(session_factory, goal_id) == 3_300 + 280
    with session_factory() as session:
        ends = Sql("SELECT account_id, until_at FROM links ORDER BY 1").rows(session, {})
    close = datetime(2026, 3, 11, tzinfo=UTC)
    assert ends == [("a", close), ("b", close)]


def test_a_day_that_is_not_over_is_refused(session_factory: Sessions, now: datetime) -> None:
    """Nothing is closed for today or a day to come; the refusal names the last day that can be."""
    with pytest.raises(InvalidField, match=r"2026-03-10 is not over yet .* 2026-03-09"):
        run_snapshot(session_factory, now, through=TODAY)


def test_an_income_goal_is_closed_by_what_came_in(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """Inflow counts from its day on, whatever later reports say."""
    goal_id = a_goal(session_factory, 20, Tracking.INFLOW, type=GoalType.INCOME)
    apply([balance(5_000, days_ago(2)), paid("out", -300, days_ago(12))])
    run_snapshot(session_factory, now)
    apply([paid("in", 400, days_ago(10)), paid("more", 50, days_ago(4))])
    run_snapshot(session_factory, now + timedelta(hours=1))
    with session_factory() as session:
        assert stored(session, goal_id) == [(20, 0), (10, 400), (4, 450)]
