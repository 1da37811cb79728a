"""A debt that follows balances and was given no amount starts at the first balance of its accounts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from core.errors import InvalidField
from core.goals.goal import GoalStatus, GoalType, Tracking
from core.jobs.project import run_project
from core.jobs.snapshot import run_snapshot
from core.services.funding import change_allocation, unlink_account
from core.services.goals import get_goal, reopen_goal, update_goal
from core.services.inputs import GoalChanges, MilestoneDraft
from core.services.milestones import add_milestone
from core.store.database import Sessions
from core.store.driver import Sql
from core.verify.verify import verify
from tests.acts import DEFAULT, balance, goal, goal_progress, link, paid
from tests.conftest import Apply

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def card_debt(sessions: Sessions, at: datetime, target: str = "0", **changes: object) -> str:
    """A debt that follows balances and is given no amount."""
    return goal(sessions, at, GoalType.DEBT, **{"tracking": Tracking.BALANCE, "target_amount": target, **changes})


def owed(minor: int, at: datetime, account: str = "card") -> bytes:
    """A report of a card."""
    return balance(minor, at, account, kind="liability")


def percent(sessions: Sessions, goal_id: str, now: datetime) -> str | None:
    """How much of a goal is done."""
    with sessions() as session:
        done: Decimal | None = goal_progress(session, DEFAULT, goal_id, now).percent_complete
    return None if done is None else str(done)


def is_reached(sessions: Sessions, goal_id: str) -> tuple[bool, list[bool]]:
    """Whether a message says that the goal is reached, and of each milestone, by amount, whether it is."""
    with sessions() as session:
        sent = Sql("SELECT count(*) FROM outbox WHERE type = 'goal.reached'").value(session, {})
        return bool(sent), [milestone.reached for milestone in get_goal(session, DEFAULT, goal_id).milestones]


@pytest.mark.parametrize("target", ["0", "85", "20"])
def test_it_starts_at_the_first_balance_and_has_no_percentage_until_then(
    session_factory: Sessions, apply: Apply, now: datetime, target: str
) -> None:
    """Nothing without accounts and while they wait, 0.0 at the first balance, and then what is paid off of it."""
    goal_id = card_debt(session_factory, now, target)
    with session_factory.begin() as session:
        add_milestone(session, DEFAULT, goal_id, MilestoneDraft(40), now)
    assert percent(session_factory, goal_id, now) is None
    link(session_factory, now, goal_id, "card", "100")
    apply([paid("p", -5, now, "card")])
    assert percent(session_factory, goal_id, now) is None
    assert is_reached(session_factory, goal_id) == (False, [False])
    apply([owed(8_500, now + HOUR)])
    assert percent(session_factory, goal_id, now) == "0.0"
    apply([owed(6_375, now + 2 * HOUR)])
    assert percent(session_factory, goal_id, now) == "25.0"
    apply([paid("q", 2_375, now + 3 * HOUR, "card")])
    assert is_reached(session_factory, goal_id) == (False, [True])
    apply([owed(0, now + 4 * HOUR)])
    assert (percent(session_factory, goal_id, now), is_reached(session_factory, goal_id)) == ("100.0", (True, [True]))
    assert verify(session_factory, datetime.now(UTC)).is_ok


def test_nothing_is_reached_before_the_first_balance(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """A target of 0 is not reached by a debt that owes nothing yet, neither at once nor by closes, which follow it."""
    began = now - 5 * DAY
    goal_id = card_debt(session_factory, now, start_date=began.date(), auto_complete=True)
    with session_factory.begin() as session:
        add_milestone(session, DEFAULT, goal_id, MilestoneDraft(60), now)
    run_snapshot(session_factory, now)
    run_project(session_factory, now)
    with session_factory() as session:
        view = goal_progress(session, DEFAULT, goal_id, now)
        assert (view.projection_note, view.is_on_track) == ("waits for a first balance", None)
        assert get_goal(session, DEFAULT, goal_id).status is GoalStatus.ACTIVE
    assert is_reached(session_factory, goal_id) == (False, [False])
    link(session_factory, now, goal_id, "card", "100", now - 2 * DAY)
    apply([owed(8_500, now - 3 * DAY), owed(7_000, now - DAY)])
    assert percent(session_factory, goal_id, now) == "17.647"
    run_snapshot(session_factory, now + HOUR)
    with session_factory() as session:
        closes = Sql("SELECT amount_minor FROM goal_snapshots ORDER BY day").values(session, {})
        assert get_goal(session, DEFAULT, goal_id).status is GoalStatus.ACTIVE
    assert closes == [8_500, 7_000]
    assert is_reached(session_factory, goal_id) == (False, [False])
    assert verify(session_factory, datetime.now(UTC)).is_ok


FACTS: list[Callable[[datetime], bytes]] = [
    lambda at: owed(8_500, at - 2 * DAY),
    lambda at: owed(7_000, at - DAY),
    lambda at: paid("a", 100, at - 3 * DAY - HOUR, "card"),
    lambda at: paid("b", 250, at - DAY - HOUR, "card"),
    lambda at: owed(1_000, at - 4 * DAY, "other"),
    lambda at: paid("c", -40, at - 3 * DAY + HOUR, "other"),
]


# Eleven of 720: of any two facts each comes before the other in some of them.
@pytest.mark.parametrize("order", list(itertools.permutations(range(6)))[::71])
def test_the_start_follows_from_the_facts_in_any_order(
    session_factory: Sessions, apply: Apply, now: datetime, order: tuple[int, ...]
) -> None:
    """One fact after the other, in any order, or all at once: the same start, amount and closes."""
    whole, stepwise = (card_debt(session_factory, now - 5 * DAY, user_id=user) for user in ("whole", "steps"))
    for goal_id in (whole, stepwise):
        link(session_factory, now - 3 * DAY, goal_id, "card", "60")
        link(session_factory, now - 3 * DAY, goal_id, "other", "40")
    for number in order:
        apply([FACTS[number](now)])
    run_snapshot(session_factory, now)
    with session_factory() as session:
        found = Sql("SELECT start_minor, manual_minor, amount_minor FROM goals").rows(session, {})
        closes = Sql("SELECT goal_id, day, amount_minor FROM goal_snapshots").rows(session, {})
    # 60% of what the card owed by its first report, and 40% of what the other owed when it was linked.
    assert set(found) == {(5_500, 5_500, 4_616)}
    rows = {each: sorted(row[1:] for row in closes if row[0] == each) for each in (whole, stepwise)}
    assert rows[whole] == rows[stepwise]
    assert verify(session_factory, datetime.now(UTC)).is_ok


def test_each_account_counts_with_its_own_first_balance(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """A second card adds what it owed when it was linked; another share of one scales both; without cards it stays."""
    goal_id = card_debt(session_factory, now - 3 * DAY)
    link(session_factory, now - 3 * DAY, goal_id, "card", "50")
    apply([owed(1_000, now - 2 * DAY), owed(2_000, now - 2 * DAY, "other"), owed(800, now - DAY)])
    assert percent(session_factory, goal_id, now) == "20.0"
    link(session_factory, now - HOUR, goal_id, "other", "50")
    apply([owed(1_000, now, "other")])
    assert _start(session_factory, goal_id) == 1_500
    assert percent(session_factory, goal_id, now) == "40.0"
    with session_factory.begin() as session:
        change_allocation(session, DEFAULT, goal_id, "card", 25, now)
    assert _start(session_factory, goal_id) == 1_250
    for account in ("card", "other"):
        with session_factory.begin() as session:
            unlink_account(session, DEFAULT, goal_id, account, now + HOUR)
    assert (_start(session_factory, goal_id), percent(session_factory, goal_id, now)) == (1_000, "0.0")
    run_snapshot(session_factory, now + DAY)
    assert verify(session_factory, datetime.now(UTC)).is_ok


def test_a_final_goal_keeps_the_start_that_its_facts_give(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """An earlier first report that arrives after the completion corrects it, and reopening changes nothing in it."""
    goal_id = card_debt(session_factory, now - 5 * DAY)
    link(session_factory, now - 5 * DAY, goal_id, "card", "100")
    apply([owed(800, now - 2 * DAY)])
    with session_factory.begin() as session:
        update_goal(session, DEFAULT, goal_id, GoalChanges(status=GoalStatus.COMPLETED), now)
    apply([owed(1_000, now - 3 * DAY)])
    assert (_start(session_factory, goal_id), percent(session_factory, goal_id, now)) == (1_000, "20.0")
    run_snapshot(session_factory, now + DAY)
    assert verify(session_factory, datetime.now(UTC)).is_ok
    with session_factory.begin() as session:
        reopen_goal(session, DEFAULT, goal_id, now)
    assert _start(session_factory, goal_id) == 1_000


def test_bounds_and_targets(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """A milestone has no upper bound while the start is unknown; a change of the target does not move the start."""
    total, down = card_debt(session_factory, now, "85"), card_debt(session_factory, now)
    for goal_id in (total, down):
        with session_factory.begin() as session:
            add_milestone(session, DEFAULT, goal_id, MilestoneDraft(5_000), now)
        link(session_factory, now, goal_id, "card", "100")
    apply([owed(10_000, now + HOUR)])
    for goal_id in (total, down):
        with session_factory() as session, pytest.raises(InvalidField, match="must lie between"):
            add_milestone(session, DEFAULT, goal_id, MilestoneDraft("100.01"), now)
        with session_factory.begin() as session:
            update_goal(session, DEFAULT, goal_id, GoalChanges(target_amount=20), now)
    apply([owed(6_000, now + 2 * HOUR)])
    assert [percent(session_factory, each, now) for each in (total, down)] == ["40.0", "50.0"]
    with session_factory() as session, pytest.raises(InvalidField, match="must be below"):
        update_goal(session, DEFAULT, down, GoalChanges(target_amount=101), now)
    assert verify(session_factory, datetime.now(UTC)).is_ok


@pytest.mark.parametrize(("first", "then"), [((0, "100.0"), (50, "0.0")), ((-10, "100.0"), (0, "100.0"))])
def test_a_card_that_owes_nothing_at_first(
    session_factory: Sessions, apply: Apply, now: datetime, first: tuple[int, str], then: tuple[int, str]
) -> None:
    """It is all or nothing: there is no way from the start to the finish."""
    goal_id = card_debt(session_factory, now)
    link(session_factory, now, goal_id, "card", "100")
    for hours, (minor, expected) in enumerate((first, then), 1):
        apply([owed(minor, now + hours * HOUR)])
        assert percent(session_factory, goal_id, now) == expected


@pytest.mark.parametrize("given", [{"tracking": Tracking.CHANGE}, {"current_amount": "0"}, {"tracking": None}])
def test_other_debts_still_need_something_to_pay_off(
    session_factory: Sessions, now: datetime, given: dict[str, Any]
) -> None:
    """A target of 0 is where a debt of 0 starts: refused, unless the accounts are to say what is owed."""
    with pytest.raises(InvalidField, match="leaves nothing to pay off"):
        card_debt(session_factory, now, **given)


def test_verify_finds_a_start_that_was_altered(session_factory: Sessions, apply: Apply, now: datetime) -> None:
    """The start is recomputed from the facts by the second way."""
    goal_id = card_debt(session_factory, now)
    link(session_factory, now, goal_id, "card", "100")
    apply([owed(8_500, now + HOUR)])
    with session_factory.begin() as session:
        Sql("UPDATE goals SET start_minor = start_minor + 1").run(session, {})
    wrong = verify(session_factory, datetime.now(UTC)).first
    assert [(each.check, each.key, each.what, each.stored, each.expected) for each in wrong] == [
        ("goals", {"goal_id": goal_id}, "start_minor", "8501", "8500")
    ]


def _start(sessions: Sessions, goal_id: str) -> int | None:
    with sessions() as session:
        return get_goal(session, DEFAULT, goal_id).start_minor


def test_it_has_no_start_again_while_another_card_is_waited_for(
    session_factory: Sessions, apply: Apply, now: datetime
) -> None:
    """A second card makes the percentage unknown until its balance comes; then both owed what there is to pay off."""
    goal_id = card_debt(session_factory, now)
    link(session_factory, now, goal_id, "card", "50")
    apply([owed(8_000, now + HOUR), owed(4_000, now + 2 * HOUR)])
    assert percent(session_factory, goal_id, now) == "50.0"
    link(session_factory, now + 3 * HOUR, goal_id, "other", "50")
    assert percent(session_factory, goal_id, now) is None
    apply([owed(2_000, now + 4 * HOUR, "other")])
    assert percent(session_factory, goal_id, now) == "40.0"
    assert verify(session_factory, now + DAY).first == ()
