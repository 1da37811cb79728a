"""Reopening a completed or abandoned goal: all is as if it had never ended, but for `auto_complete`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.errors import GoalMoved, NotFinal, NotFound, StatusMoveRefused
from core.goals.goal import GoalStatus, GoalType, Tracking
from core.jobs.snapshot import run_snapshot
from core.services.funding import change_allocation, unlink_account
from core.services.goals import get_goal, reopen_goal, update_goal
from core.services.inputs import GoalChanges, MilestoneDraft
from core.services.milestones import add_milestone
from core.services.views import GoalView
from core.store.database import Sessions
from core.store.driver import Sql
from core.store.tenants import Tenant
from core.verify.verify import verify
from tests.acts import DEFAULT, amount, balance, goal, link, paid
from tests.conftest import Apply
from tests.dumping import rows_by_table

DAY = timedelta(days=1)


def set_status(sessions: Sessions, now: datetime, goal_id: str, status: GoalStatus) -> None:
    """Change the status of a goal."""
    with sessions.begin() as session:
        update_goal(session, DEFAULT, goal_id, GoalChanges(status=status), now)


def reopen(sessions: Sessions, now: datetime, goal_id: str) -> GoalView:
    """Reopen a goal."""
    with sessions.begin() as session:
        return reopen_goal(session, DEFAULT, goal_id, now)


def closes(sessions: Sessions, goal_id: str) -> list[tuple[Any, ...]]:
    """The rows of a goal's snapshots."""
    with sessions() as session:
        question = Sql("SELECT day, amount_minor FROM goal_snapshots WHERE goal_id = :g ORDER BY day")
        return question.rows(session, {"g": goal_id})


def periods(sessions: Sessions, goal_id: str) -> list[tuple[Any, ...]]:
    """What the links of a goal are, apart from the moments at which requests ended and began them."""
    with sessions() as session:
        question = Sql(
            """SELECT account_id, ppm, until_at IS NULL, until_at IS NOT DISTINCT FROM unlinked_at, base_minor,
                end_minor
            FROM links WHERE goal_id = :g ORDER BY account_id, from_at, linked_at"""
        )
        return question.rows(session, {"g": goal_id})


@pytest.mark.parametrize("status", [GoalStatus.COMPLETED, GoalStatus.ABANDONED])
@pytest.mark.parametrize(
    ("type", "tracking"),
    [
        (GoalType.SAVINGS, Tracking.CHANGE),
        (GoalType.SAVINGS, Tracking.INFLOW),
        (GoalType.SAVINGS, Tracking.BALANCE),
        (GoalType.DEBT, Tracking.CHANGE),
        (GoalType.NET_WORTH, Tracking.NET_WORTH),
    ],
)
@pytest.mark.parametrize("closed_between", [False, True])
def test_a_reopened_goal_is_as_one_that_never_ended(
    session_factory: Sessions,
    apply: Apply,
    now: datetime,
    status: GoalStatus,
    type: GoalType,
    tracking: Tracking,
    closed_between: bool,
) -> None:
    """Beside a twin that stays active: amount, links and closes are the same, whatever came before and meanwhile."""
    began, ended = now - 8 * DAY, now - 4 * DAY
    twins = [goal(session_factory, began, type, tracking=tracking, current_amount="90", user_id="u0") for _ in range(2)]
    for goal_id in twins if tracking is not Tracking.NET_WORTH else []:
        link(session_factory, began, goal_id, "a", "60")
        link(session_factory, began, goal_id, "b", "30")
        link(session_factory, began, goal_id, "c", "10")
        with session_factory.begin() as session:
            change_allocation(session, DEFAULT, goal_id, "a", 50, began + DAY)
            unlink_account(session, DEFAULT, goal_id, "c", began + DAY)
    owners = {"user_id": "u0"}
    apply([balance(1_000, began, account, **owners) for account in "abc"])
    apply([paid("1", 200, began + 2 * DAY, account) for account in "abc"])
    run_snapshot(session_factory, ended)
    set_status(session_factory, ended, twins[0], status)
    late = [paid("2", -70, ended - DAY, "a"), paid("3", 500, ended + DAY, "a"), paid("4", -40, ended + DAY, "b")]
    apply([*late, balance(1_600, ended + 2 * DAY, "b", **owners)])
    if closed_between:
        run_snapshot(session_factory, now)
        assert closes(session_factory, twins[0]) != closes(session_factory, twins[1])
    assert amount(session_factory, twins[0]) != amount(session_factory, twins[1])
    view = reopen(session_factory, now, twins[0])
    assert (view.status, view.amount_minor) == (GoalStatus.ACTIVE, amount(session_factory, twins[1]))
    assert periods(session_factory, twins[0]) == periods(session_factory, twins[1])
    run_snapshot(session_factory, now + DAY)
    assert closes(session_factory, twins[0]) == closes(session_factory, twins[1])
    apply([paid("5", 11, now + timedelta(minutes=5), account) for account in "abc"], at=now + timedelta(minutes=6))
    assert amount(session_factory, twins[0]) == amount(session_factory, twins[1])
    assert verify(session_factory, datetime.now(UTC)).is_ok


def test_what_was_unlinked_after_the_day_that_completed_stays_unlinked(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """A close completes the goal after a link was ended: the links come back as they were."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    began = midnight - 2 * DAY
    goal_id = goal(session_factory, began, target_amount="5", auto_complete=True)
    link(session_factory, began, goal_id, "a", "50")
    link(session_factory, began, goal_id, "b", "50")
    apply([paid("1", 1_000, midnight - timedelta(hours=1))], at=now)
    with session_factory.begin() as session:
        unlink_account(session, DEFAULT, goal_id, "a", midnight + timedelta(minutes=1))
    before = periods(session_factory, goal_id)
    assert run_snapshot(session_factory, now).completed == 1
    assert periods(session_factory, goal_id) != before
    assert verify(session_factory, datetime.now(UTC)).is_ok
    view = reopen(session_factory, now, goal_id)
    assert (view.status, view.auto_complete) == (GoalStatus.ACTIVE, False)
    assert periods(session_factory, goal_id) == before
    assert run_snapshot(session_factory, now + 3 * DAY).completed == 0
    assert verify(session_factory, datetime.now(UTC)).is_ok


def test_closes_of_the_time_between_reach_milestones(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """While the goal was abandoned its accounts passed a milestone and fell back: once reopened, it has reached it."""
    began = now - 6 * DAY
    goal_id = goal(session_factory, began)
    link(session_factory, began, goal_id, "a", "100")
    with session_factory.begin() as session:
        add_milestone(session, DEFAULT, goal_id, MilestoneDraft(5), began)
    set_status(session_factory, began + DAY, goal_id, GoalStatus.ABANDONED)
    apply([paid("1", 700, began + 2 * DAY), paid("2", -600, began + 4 * DAY)])
    run_snapshot(session_factory, now)
    assert reopen(session_factory, now, goal_id).amount_minor == 100
    run_snapshot(session_factory, now)
    with session_factory() as session:
        assert [milestone.reached for milestone in get_goal(session, DEFAULT, goal_id).milestones] == [True]
    assert verify(session_factory, datetime.now(UTC)).is_ok


@pytest.mark.parametrize("status", [GoalStatus.ACTIVE, GoalStatus.PAUSED])
def test_only_what_has_ended_is_reopened(session_factory: Sessions, now: datetime, status: GoalStatus) -> None:
    """A goal that is active or paused is refused with the reason, and so is one that is not there; nothing changes."""
    goal_id = goal(session_factory, now, status=status)
    with session_factory() as session:
        before = rows_by_table(session)
    with pytest.raises(NotFinal, match=f"The goal is {status}: only one that is completed or abandoned"):
        reopen(session_factory, now, goal_id)
    for tenant, name, seen, error in (
        (DEFAULT, "none", None, NotFound),
        (Tenant("other", "UTC"), goal_id, None, NotFound),
        (DEFAULT, goal_id, frozenset({99}), GoalMoved),
    ):
        with pytest.raises(error), session_factory.begin() as session:
            reopen_goal(session, tenant, name, now, seen=seen)
    with session_factory() as session:
        assert rows_by_table(session) == before


def test_a_change_of_status_does_not_reopen_and_reopening_is_audited(session_factory: Sessions, now: datetime) -> None:
    """PATCH keeps final goals final; reopening says in the audit what it undid, and the goal can end again."""
    goal_id = goal(session_factory, now)
    for status in (GoalStatus.COMPLETED, GoalStatus.ABANDONED):
        set_status(session_factory, now, goal_id, status)
        with pytest.raises(StatusMoveRefused):
            set_status(session_factory, now, goal_id, GoalStatus.ACTIVE)
        reopen(session_factory, now, goal_id)
    with session_factory() as session:
        acts = Sql("SELECT action, subject, detail FROM audit WHERE action LIKE 'goal%' ORDER BY at").rows(session, {})
    assert acts == [("goal.reopened", goal_id, "was completed"), ("goal.reopened", goal_id, "was abandoned")]
