"""Milestones and completions follow the closes: corrected facts withdraw them, move them, and bring them back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.goals.goal import GoalStatus, GoalType, Tracking
from core.jobs.snapshot import run_snapshot
from core.services.funding import unlink_account
from core.services.goals import get_goal, update_goal
from core.services.inputs import GoalChanges, MilestoneDraft
from core.services.milestones import add_milestone
from core.store.database import Sessions
from core.store.driver import Sql
from core.verify.verify import verify
from tests.acts import DEFAULT, balance, event, goal, link, money, paid
from tests.conftest import Apply
from tests.snapshots.test_closing import TODAY, a_goal, days_ago

HOUR = timedelta(hours=1)


def marks(sessions: Sessions, goal_id: str) -> list[datetime | None]:
    with sessions() as session:
        return [milestone.reached_at for milestone in get_goal(session, DEFAULT, goal_id).milestones]


def removed(name: str, at: datetime) -> bytes:
    return event("transaction.removed", at, f"no {name}", {"account_id": "a", "transaction_id": name})


def restated(minor: int, as_of: datetime, at: datetime) -> bytes:
    """A report that says anew what was the balance at a moment."""
    data = {"account_id": "a", "current": money(minor), "currency": "USD", "as_of": as_of.isoformat()}
    return event("balance.reported", at, f"again {at}", data)


def milestone(sessions: Sessions, goal_id: str, amount: str, at: datetime) -> None:
    with sessions.begin() as session:
        add_milestone(session, DEFAULT, goal_id, MilestoneDraft(amount), at)


def messages(sessions: Sessions) -> list[str]:
    with sessions() as session:
        return Sql("SELECT type FROM outbox WHERE type LIKE '%.reached%' ORDER BY type").values(session, {})


def state(sessions: Sessions, goal_id: str) -> tuple[Any, ...]:
    """Status, amount and the time at which the target was reached."""
    with sessions() as session:
        return Sql("SELECT status, amount_minor, reached_at FROM goals WHERE goal_id = :g").one(session, {"g": goal_id})


@pytest.mark.parametrize("milestone_first", [True, False])
def test_an_imported_past_has_its_true_dates(
    session_factory: Sessions, apply: Apply, now: datetime, milestone_first: bool
) -> None:
    """The date is the first moment of the first day whose close is there, whatever was made first."""
    goal_id = a_goal(session_factory, 10)
    if milestone_first:
        milestone(session_factory, goal_id, "10", days_ago(9))
    apply([paid("4", 2_000, days_ago(2)), paid("1", 1_500, days_ago(6, 9)), paid("2", -900, days_ago(6, 18))])
    apply([paid("3", 700, days_ago(4, 7)), paid("5", 1, days_ago(4, 8))])
    if not milestone_first:
        milestone(session_factory, goal_id, "10", now)
    run_snapshot(session_factory, now + HOUR)
    assert marks(session_factory, goal_id) == [days_ago(4, 7)]
    assert verify(session_factory, datetime.now(UTC)).is_ok


def test_a_goal_reaches_nothing_before_its_first_day(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """What was there before the goal began is reached at the first instant of its first day."""
    goal_id = goal(session_factory, now, start_date=TODAY - timedelta(days=3))
    link(session_factory, now, goal_id, "a", "100", TODAY - timedelta(days=9))
    milestone(session_factory, goal_id, "10", now)
    apply([paid("1", 1_500, days_ago(6)), paid("2", -100, days_ago(2))])
    assert marks(session_factory, goal_id) == [days_ago(6)]
    run_snapshot(session_factory, now + HOUR)
    assert marks(session_factory, goal_id) == [days_ago(3, 0)]
    assert verify(session_factory, datetime.now(UTC)).is_ok


def test_what_the_close_does_not_bear_out_is_withdrawn(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """A deposit of the day marks at once. It is gone by the evening: the close withdraws mark and message."""
    goal_id = a_goal(session_factory, 3, target_amount="20")
    milestone(session_factory, goal_id, "10", days_ago(2))
    apply([paid("in", 2_500, days_ago(0, 9)), paid("in2", 1, days_ago(0, 10))])
    assert marks(session_factory, goal_id) == [days_ago(0, 9)]
    assert messages(session_factory) == ["goal.reached", "milestone.reached"]
    apply([paid("out", -2_000, days_ago(0, 11))])
    run_snapshot(session_factory, now)
    assert marks(session_factory, goal_id) == [days_ago(0, 9)]
    run_snapshot(session_factory, now + timedelta(days=1))
    assert marks(session_factory, goal_id) == [None]
    assert (messages(session_factory), state(session_factory, goal_id)) == ([], ("active", 501, None))
    apply([paid("again", 1_000, days_ago(-1, 9))], at=days_ago(-1, 10))
    assert marks(session_factory, goal_id) == [days_ago(-1, 9)]
    assert messages(session_factory) == ["milestone.reached"]
    run_snapshot(session_factory, now + timedelta(days=2))
    assert marks(session_factory, goal_id) == [days_ago(-1, 9)]
    assert verify(session_factory, datetime.now(UTC)).is_ok


def test_what_an_account_brought_that_has_left_again_is_withdrawn(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """An account joins a net worth and leaves it on the same day, on which nothing else happens."""
    goal_id = goal(session_factory, days_ago(9), GoalType.NET_WORTH, user_id="u")
    milestone(session_factory, goal_id, "10", days_ago(8))
    apply([balance(500, days_ago(6), "b", user_id="u"), balance(2_000, days_ago(5), user_id="v")])
    run_snapshot(session_factory, now - HOUR)
    for number, user in enumerate("uv"):
        apply([event("account.changed", now, f"to {user} {number}", {"account_id": "a", "user_id": user})])
        assert (marks(session_factory, goal_id) == [None]) is False
    run_snapshot(session_factory, now + HOUR)
    run_snapshot(session_factory, now + timedelta(days=1))
    assert marks(session_factory, goal_id) == [None]
    assert verify(session_factory, datetime.now(UTC)).is_ok


def test_what_was_withdrawn_and_is_there_again_has_the_later_moment(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """Reached yesterday, lost by the close, back this morning before the job runs: reached this morning."""
    goal_id = a_goal(session_factory, 3)
    milestone(session_factory, goal_id, "10", days_ago(2))
    apply([paid("1", 1_000, days_ago(1, 9))])
    apply([paid("2", -400, days_ago(1, 20)), paid("3", 600, days_ago(0, 8)), paid("4", 5, days_ago(0, 9))])
    assert marks(session_factory, goal_id) == [days_ago(1, 9)]
    run_snapshot(session_factory, now)
    assert marks(session_factory, goal_id) == [days_ago(0, 8)]
    assert messages(session_factory) == ["milestone.reached"]


def test_a_moment_before_a_report_that_cancels_the_rest_is_found_anew(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """What came in that morning is removed and an earlier row added: only the report, at noon, brings the amount."""
    goal_id = a_goal(session_factory, 9)
    milestone(session_factory, goal_id, "10", days_ago(8))
    apply([balance(0, days_ago(9)), paid("morning", 1_000, days_ago(5, 9)), balance(1_500, days_ago(5))])
    run_snapshot(session_factory, now)
    assert marks(session_factory, goal_id) == [days_ago(5, 9)]
    apply([removed("morning", now), paid("earlier", 300, days_ago(7))])
    run_snapshot(session_factory, now + HOUR)
    assert marks(session_factory, goal_id) == [days_ago(5)]
    assert verify(session_factory, datetime.now(UTC)).is_ok


def test_money_spent_on_a_later_day_undoes_nothing(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """A mark stays when the amount falls after the close that bears it out."""
    goal_id = a_goal(session_factory, 9)
    milestone(session_factory, goal_id, "10", days_ago(8))
    apply([paid("1", 1_000, days_ago(6))])
    run_snapshot(session_factory, now)
    apply([paid("2", -1_000, days_ago(5))])
    run_snapshot(session_factory, now + HOUR)
    assert marks(session_factory, goal_id) == [days_ago(6)]


def test_a_correction_withdraws_moves_and_restores_a_mark(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """A deposit that is taken back takes its mark along, or leaves it to a later day, also before a report."""
    goal_id = a_goal(session_factory, 20)
    milestone(session_factory, goal_id, "10", days_ago(19))
    apply([balance(0, days_ago(17)), paid("ok", 100, days_ago(15)), paid("oops", 5_000, days_ago(12))])
    apply([balance(5_100, days_ago(9))])
    run_snapshot(session_factory, now)
    assert marks(session_factory, goal_id) == [days_ago(12)]
    # The report holds what came before it, so only the days until then are other ones now.
    apply([removed("oops", now - HOUR)])
    run_snapshot(session_factory, now + HOUR)
    assert marks(session_factory, goal_id) == [days_ago(9)]
    apply([restated(100, days_ago(9), now)])
    run_snapshot(session_factory, now + 2 * HOUR)
    assert marks(session_factory, goal_id) == [None]
    assert messages(session_factory) == []
    apply([paid("late", 950, days_ago(14))])
    apply([restated(1_050, days_ago(9), now + HOUR)])
    run_snapshot(session_factory, now + 3 * HOUR)
    assert marks(session_factory, goal_id) == [days_ago(14)]
    assert verify(session_factory, datetime.now(UTC)).is_ok


def test_a_completion_by_a_close_is_taken_back_with_it(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """The wrong deposit is removed: the goal is active again, its links go on, and another close may complete it."""
    goal_id = a_goal(session_factory, 9, target_amount="10", auto_complete=True)
    milestone(session_factory, goal_id, "5", days_ago(8))
    apply([paid("ok", 100, days_ago(8)), paid("oops", 5_000, days_ago(5)), paid("more", 450, days_ago(3))])
    assert run_snapshot(session_factory, now).completed == 1
    assert state(session_factory, goal_id) == ("completed", 5_100, days_ago(5))
    apply([removed("oops", now)])
    run_snapshot(session_factory, now + HOUR)
    assert state(session_factory, goal_id) == ("active", 550, None)
    assert marks(session_factory, goal_id) == [days_ago(3)]
    assert verify(session_factory, datetime.now(UTC)).is_ok
    apply([paid("late", 500, days_ago(2))])
    assert run_snapshot(session_factory, now + 2 * HOUR).completed == 1
    assert state(session_factory, goal_id) == ("completed", 1_050, days_ago(2))
    # Now an earlier day turns out to be the first.
    apply([paid("earlier", 900, days_ago(7))])
    run_snapshot(session_factory, now + 3 * HOUR)
    assert state(session_factory, goal_id) == ("completed", 1_000, days_ago(7))
    assert verify(session_factory, datetime.now(UTC)).is_ok
    # What comes after its last day changes nothing, and what leaves it at its target only the amount.
    apply([paid("after", -9_000, days_ago(1)), paid("before", 30, days_ago(8))])
    run_snapshot(session_factory, now + 4 * HOUR)
    assert state(session_factory, goal_id) == ("completed", 1_030, days_ago(7))
    assert verify(session_factory, datetime.now(UTC)).is_ok


def test_a_completed_goal_stays_so_if_a_report_takes_back_what_came_late(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """A late fact whose days end before the completing day does not touch that day."""
    goal_id = a_goal(session_factory, 20, target_amount="10", auto_complete=True, tracking=Tracking.BALANCE)
    apply([balance(100, days_ago(15)), balance(200, days_ago(10)), balance(1_500, days_ago(5))])
    assert run_snapshot(session_factory, now).completed == 1
    apply([paid("late", 50, days_ago(13))])
    run_snapshot(session_factory, now + HOUR)
    assert state(session_factory, goal_id) == ("completed", 1_500, days_ago(5))
    apply([paid("later", 5_000, days_ago(12))])
    run_snapshot(session_factory, now + 2 * HOUR)
    assert state(session_factory, goal_id)[:2] == ("completed", 5_150)
    assert verify(session_factory, datetime.now(UTC)).is_ok


def test_an_account_that_was_unlinked_before_its_first_balance_delays_no_completion(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """No close from while it was waited for completes the goal; what it reports after it was unlinked moves nothing."""
    goal_id = goal(session_factory, days_ago(30), target_amount="10", auto_complete=True, tracking=Tracking.BALANCE)
    link(session_factory, days_ago(30), goal_id, "a", "50")
    link(session_factory, days_ago(30), goal_id, "b", "50")
    apply([balance(2_400, days_ago(25)), balance(2_600, days_ago(15)), balance(100, days_ago(12))])
    with session_factory.begin() as session:
        unlink_account(session, DEFAULT, goal_id, "b", days_ago(20))
    assert run_snapshot(session_factory, now).completed == 1
    for at in (days_ago(18), days_ago(3)):
        apply([balance(900, at, account="b")])
        run_snapshot(session_factory, now)
        with session_factory() as session:
            (final_at,) = Sql("SELECT final_at FROM goals").values(session, {})
        assert final_at.date() == days_ago(19).date()
        assert state(session_factory, goal_id)[:2] == ("completed", 1_200)
        assert verify(session_factory, datetime.now(UTC)).is_ok


def test_what_a_person_completed_stays_completed(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """A correction changes amount and marks of a goal that somebody completed, not its status."""
    goal_id = a_goal(session_factory, 9, target_amount="10", auto_complete=True)
    milestone(session_factory, goal_id, "5", days_ago(8))
    apply([paid("in", 5_000, days_ago(0, 9))])
    with session_factory.begin() as session:
        update_goal(session, DEFAULT, goal_id, GoalChanges(status=GoalStatus.COMPLETED), days_ago(0, 10))
    assert marks(session_factory, goal_id) == [days_ago(0, 9)]
    apply([removed("in", days_ago(0, 11))])
    run_snapshot(session_factory, now + timedelta(days=1))
    assert state(session_factory, goal_id) == ("completed", 0, None)
    assert marks(session_factory, goal_id) == [None]
    assert verify(session_factory, datetime.now(UTC)).is_ok
