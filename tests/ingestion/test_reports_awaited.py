"""Accounts without a balance report: goals that follow balances wait seven days for it, then the rows suffice."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import permutations

import pytest

from core.goals.goal import GoalType, Tracking
from core.jobs.due import run_due
from core.jobs.snapshot import run_snapshot
from core.services.goals import get_goal
from core.services.history import read_snapshots
from core.services.inputs import MilestoneDraft
from core.services.milestones import add_milestone
from core.store.database import Sessions
from core.store.driver import Sql
from core.verify.verify import verify
from tests.acts import DEFAULT, balance, event, goal, link, paid
from tests.conftest import NOW, Apply

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
TYPED = 250_000
FIRST = NOW - 12 * DAY
KNOWN = FIRST + 7 * DAY


def following(sessions: Sessions) -> str:
    """A goal with 2,500.00 typed at its creation twenty days ago that follows the balance of account `a`."""
    made_at = NOW - 20 * DAY
    goal_id = goal(sessions, made_at, current_amount="2500", target_amount="10000", tracking=Tracking.BALANCE)
    link(sessions, made_at, goal_id, "a", "100")
    return goal_id


def shown(sessions: Sessions, goal_id: str) -> tuple[int, tuple[str, ...]]:
    """The amount, and the accounts that are waited for."""
    with sessions() as session:
        view = get_goal(session, DEFAULT, goal_id)
    return view.amount_minor, tuple(view.waiting_for)


def closes(sessions: Sessions, goal_id: str) -> dict[date, int]:
    """Every close."""
    with sessions() as session:
        view = read_snapshots(session, DEFAULT, goal_id, from_day=None, to_day=None, now=NOW)
    return {close.day: close.amount_minor for close in view.snapshots}


def test_after_seven_days_of_rows_no_report_is_waited_for(session_factory: Sessions, apply: Apply) -> None:
    """Not a second before; then the rows count, in all closes too, and what they reached is marked with its date."""
    goal_id = following(session_factory)
    with session_factory.begin() as session:
        add_milestone(session, DEFAULT, goal_id, MilestoneDraft("3000"), NOW - 20 * DAY)
    apply([paid("t1", 310_000, FIRST)])
    run_due(session_factory, KNOWN - SECOND)
    assert shown(session_factory, goal_id) == (TYPED, ("a",))
    run_due(session_factory, KNOWN)
    assert shown(session_factory, goal_id) == (310_000, ())
    run_snapshot(session_factory, NOW)
    found = closes(session_factory, goal_id)
    assert {amount for day, amount in found.items() if day < FIRST.date()} == {0}
    assert {amount for day, amount in found.items() if day >= FIRST.date()} == {310_000}
    with session_factory() as session:
        (milestone,) = get_goal(session, DEFAULT, goal_id).milestones
    assert milestone.reached_at == FIRST
    assert verify(session_factory, NOW).first == ()


def test_a_report_that_comes_in_time_says_what_there_was_before(session_factory: Sessions, apply: Apply) -> None:
    """Once it is there, the rows alone say nothing, and closes before it show what it carries back."""
    goal_id = following(session_factory)
    apply([paid("t1", 100_00, FIRST), balance(900_00, KNOWN)])
    run_due(session_factory, NOW)
    assert shown(session_factory, goal_id) == (900_00, ())
    run_snapshot(session_factory, NOW)
    found = closes(session_factory, goal_id)
    assert {amount for day, amount in found.items() if day < FIRST.date()} == {800_00}
    assert {amount for day, amount in found.items() if day >= FIRST.date()} == {900_00}
    with session_factory() as session:
        assert Sql("SELECT known_by_rows_at FROM accounts").value(session, {}) is None
    assert verify(session_factory, NOW).first == ()


# The first row two days before FIRST, another one, and a report nine days after FIRST that says 900.00.
FACTS = [paid("t0", 10_00, FIRST - 2 * DAY), paid("t1", 100_00, FIRST), balance(900_00, FIRST + 9 * DAY)]


@pytest.mark.parametrize("facts", list(permutations(FACTS)))
def test_the_order_of_rows_and_a_late_report_changes_nothing(
    session_factory: Sessions, apply: Apply, facts: tuple[bytes, ...]
) -> None:
    """The balance is known seven days after the first row, whether that came last, or the report before the job ran."""
    goal_id = following(session_factory)
    for fact in facts:
        apply([fact])
        run_due(session_factory, NOW)
        run_snapshot(session_factory, NOW)
    assert shown(session_factory, goal_id) == (900_00, ())
    found, second = closes(session_factory, goal_id), (FIRST - 2 * DAY).date()
    assert {amount for day, amount in found.items() if day < second} == {790_00}
    assert {amount for day, amount in found.items() if second <= day < FIRST.date()} == {800_00}
    assert {amount for day, amount in found.items() if day >= FIRST.date()} == {900_00}
    with session_factory() as session:
        assert Sql("SELECT known_by_rows_at FROM accounts").value(session, {}) == FIRST + 5 * DAY
    assert verify(session_factory, NOW).first == ()


def test_a_debt_starts_at_what_its_rows_say_after_seven_days(session_factory: Sessions, apply: Apply) -> None:
    """A card without a balance that was charged 500.00 and then 80.00: it started at 500.00 and owes 580.00."""
    changes = {"type": GoalType.DEBT, "tracking": Tracking.BALANCE, "target_amount": "0"}
    goal_id = goal(session_factory, NOW - 20 * DAY, **changes)  # type: ignore[arg-type]
    link(session_factory, NOW - 20 * DAY, goal_id, "card", "100")
    is_card = event("account.changed", FIRST, "card", {"account_id": "card", "kind": "liability"})
    apply([is_card, paid("t1", -500_00, FIRST, "card"), paid("t2", -80_00, NOW - DAY, "card")])
    run_due(session_factory, NOW)
    with session_factory() as session:
        view = get_goal(session, DEFAULT, goal_id)
        assert Sql("SELECT start_minor FROM goals").value(session, {}) == 500_00
    assert view.amount_minor == 580_00
    assert verify(session_factory, NOW).first == ()


@pytest.mark.parametrize("late", [FIRST + DAY, KNOWN, KNOWN + SECOND])
def test_what_a_debt_starts_at_follows_from_rows_that_come_late(
    session_factory: Sessions, apply: Apply, late: datetime
) -> None:
    """A charge from before the moment at which the rows sufficed belongs to the start, though it arrives after it."""
    changes = {"type": GoalType.DEBT, "tracking": Tracking.BALANCE, "target_amount": "0"}
    goal_id = goal(session_factory, NOW - 20 * DAY, **changes)  # type: ignore[arg-type]
    link(session_factory, NOW - 20 * DAY, goal_id, "card", "100")
    is_card = event("account.changed", FIRST, "card", {"account_id": "card", "kind": "liability"})
    apply([is_card, paid("t1", -500_00, FIRST, "card")])
    run_due(session_factory, NOW)
    run_snapshot(session_factory, NOW)
    apply([paid("late", -80_00, late, "card")])
    run_snapshot(session_factory, NOW)
    start = 580_00 if late <= KNOWN else 500_00
    with session_factory() as session:
        assert Sql("SELECT start_minor FROM goals").value(session, {}) == start
    assert shown(session_factory, goal_id) == (580_00, ())
    found = closes(session_factory, goal_id)
    assert {amount for day, amount in found.items() if FIRST.date() <= day < late.date()} == {500_00}
    assert {amount for day, amount in found.items() if day >= late.date()} == {580_00}
    assert verify(session_factory, NOW).first == ()


def test_verify_finds_an_account_that_counted_too_early(session_factory: Sessions, apply: Apply) -> None:
    """The moment is seven days after the first row was first reported; without it closes would be others."""
    following(session_factory)
    apply([paid("t1", 100_00, FIRST)])
    run_due(session_factory, NOW)
    run_snapshot(session_factory, NOW)
    for change, found in (("known_by_rows_at - interval '1 day'", "accounts"), ("NULL", "goals")):
        with session_factory.begin() as session:
            Sql(f"UPDATE accounts SET known_by_rows_at = {change}").run(session, {})
        assert found in {violation.check for violation in verify(session_factory, NOW).first}


@pytest.mark.parametrize("is_overdue_first", [True, False])
def test_a_debt_has_no_start_from_an_account_that_counts_nothing(
    session_factory: Sessions, apply: Apply, *, is_overdue_first: bool
) -> None:
    """A report without a kind says that the account is no card: whether the rows sufficed before decides nothing."""
    changes = {"type": GoalType.DEBT, "tracking": Tracking.BALANCE, "target_amount": "700"}
    goal_id = goal(session_factory, NOW - 20 * DAY, **changes)  # type: ignore[arg-type]
    link(session_factory, NOW - 20 * DAY, goal_id, "a", "100")
    apply([paid("t1", -500_00, FIRST)])
    if is_overdue_first:
        run_due(session_factory, KNOWN)
        assert shown(session_factory, goal_id) == (500_00, ())
    apply([balance(40_00, KNOWN + DAY)])
    run_due(session_factory, NOW)
    run_snapshot(session_factory, NOW)
    with session_factory() as session:
        assert Sql("SELECT start_minor, amount_minor FROM goals").one(session, {}) == (None, 700_00)
    assert set(closes(session_factory, goal_id).values()) == {700_00}
    assert verify(session_factory, NOW).first == ()
