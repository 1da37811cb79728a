"""Changing and deleting milestones: a new amount is evaluated anew, bounds are those of creation, all is audited."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

from core.errors import GoalIsFinal, GoalMoved, InvalidField, NotFound
from core.goals.goal import GoalStatus, GoalType
from core.jobs.snapshot import run_snapshot
from core.services.goals import get_goal, update_goal
from core.services.inputs import GoalChanges, MilestoneChanges, MilestoneDraft
from core.services.milestones import add_milestone, change_milestone, check_milestones, next_milestone, remove_milestone
from core.services.views import MilestoneView
from core.store.database import Sessions
from core.store.driver import Sql
from core.store.tenants import Tenant
from core.verify.verify import verify
from tests.acts import DEFAULT, goal
from tests.dumping import rows_by_table


def add(sessions: Sessions, now: datetime, goal_id: str, amount: object) -> str:
    """A new milestone's id."""
    with sessions.begin() as session:
        return add_milestone(session, DEFAULT, goal_id, MilestoneDraft(amount), now).milestone_id  # type: ignore[arg-type]


def change(sessions: Sessions, now: datetime, goal_id: str, milestone_id: str, **changes: object) -> MilestoneView:
    """Change a milestone."""
    with sessions.begin() as session:
        return change_milestone(session, DEFAULT, goal_id, milestone_id, MilestoneChanges(**changes), now)  # type: ignore[arg-type]


def remove(sessions: Sessions, now: datetime, goal_id: str, milestone_id: str) -> None:
    """Delete a milestone."""
    with sessions.begin() as session:
        remove_milestone(session, DEFAULT, goal_id, milestone_id, now)


def set_amount(sessions: Sessions, now: datetime, goal_id: str, amount: object) -> None:
    """Set a goal's amount by hand."""
    with sessions.begin() as session:
        update_goal(session, DEFAULT, goal_id, GoalChanges(current_amount=amount), now)  # type: ignore[arg-type]


def seen(sessions: Sessions, goal_id: str) -> list[tuple[int, bool]]:
    """Each milestone of a goal, by amount in units of the currency, with whether it is reached."""
    with sessions() as session:
        return [(m.amount_minor // 100, m.reached) for m in get_goal(session, DEFAULT, goal_id).milestones]


def messages(sessions: Sessions) -> list[int]:
    """The amounts of the milestones about which there is a message that was not withdrawn."""
    with sessions() as session:
        ids = set(Sql("SELECT message_id FROM outbox WHERE type LIKE 'milestone.reached%'").values(session, {}))
    reached = [each for each in ids if each.startswith("milestone_reached:")]
    left = [each for each in reached if each.replace("reached", "reached_withdrawn", 1) not in ids]
    return sorted(int(each.split(":")[2]) // 100 for each in left)


def audited(sessions: Sessions) -> list[tuple[str, str]]:
    """The action and the subject of what was audited about milestones, in order."""
    with sessions() as session:
        return [
            tuple(row)
            for row in Sql("SELECT action, subject FROM audit WHERE action LIKE 'milestone%' ORDER BY at").rows(
                session, {}
            )
        ]


def next_amount(sessions: Sessions, goal_id: str) -> int | None:
    """The amount of the next milestone, in units of the currency."""
    with sessions() as session:
        upcoming = next_milestone(get_goal(session, DEFAULT, goal_id))
    return None if upcoming is None else upcoming.amount_minor // 100


@pytest.mark.parametrize(
    ("type", "target", "amount", "first", "second", "is_reached_then"),
    [
        (GoalType.SAVINGS, "100", "50", 40, 60, False),
        (GoalType.SAVINGS, "100", "50", 60, 40, True),
        (GoalType.SAVINGS, "100", "50", 40, 50, True),
        (GoalType.DEBT, "0", "50", 60, 40, False),
        (GoalType.DEBT, "0", "50", 40, 60, True),
        (GoalType.DEBT, "0", "50", 40, 50, True),
    ],
)
def test_a_new_amount_is_evaluated_anew(
    session_factory: Sessions,
    now: datetime,
    type: GoalType,
    target: str,
    amount: str,
    first: int,
    second: int,
    is_reached_then: bool,
) -> None:
    """It is reached if the goal is there and else not, is new for the next check, and the id stays."""
    goal_id = goal(session_factory, now, type, target_amount=target, current_amount="70" if type == "debt" else "0")
    milestone_id = add(session_factory, now, goal_id, first)
    set_amount(session_factory, now, goal_id, amount)
    was_reached = seen(session_factory, goal_id)[0][1]
    with session_factory.begin() as session:
        assert len(check_milestones(session, DEFAULT, goal_id, now)[1]) == was_reached
    view = change(session_factory, now, goal_id, milestone_id, amount=second)
    assert (view.milestone_id, view.amount_minor, view.reached) == (milestone_id, second * 100, is_reached_then)
    assert seen(session_factory, goal_id) == [(second, is_reached_then)]
    assert next_amount(session_factory, goal_id) == (None if is_reached_then else second)
    with session_factory.begin() as session:
        assert len(check_milestones(session, DEFAULT, goal_id, now)[1]) == is_reached_then
    assert audited(session_factory) == [("milestone.changed", f"{goal_id} {milestone_id}")]
    assert verify(session_factory, datetime.now(UTC)).is_ok


def test_an_amount_of_an_earlier_day_reaches_it_at_the_close(session_factory: Sessions, now: datetime) -> None:
    """The goal was at 60.00 for a day and is at 10.00 now: a milestone moved to 50.00 was reached on that day."""
    began = now - timedelta(days=4)
    goal_id = goal(session_factory, began, current_amount="60")
    milestone_id = add(session_factory, began, goal_id, 70)
    set_amount(session_factory, now - timedelta(days=2), goal_id, "10")
    run_snapshot(session_factory, now)
    assert change(session_factory, now, goal_id, milestone_id, amount=50).reached is False
    run_snapshot(session_factory, now)
    assert seen(session_factory, goal_id) == [(50, True)]
    assert verify(session_factory, datetime.now(UTC)).is_ok


def test_a_reached_milestone_that_comes_back_is_notified_again(session_factory: Sessions, now: datetime) -> None:
    """Moved away, or deleted and added again, while the goal fell: it is not reached, and a new message says when."""
    goal_id = goal(session_factory, now, current_amount="50")
    milestone_id = add(session_factory, now, goal_id, 40)
    assert messages(session_factory) == [40]
    change(session_factory, now, goal_id, milestone_id, amount=60)
    set_amount(session_factory, now, goal_id, "10")
    change(session_factory, now, goal_id, milestone_id, amount=40)
    assert (seen(session_factory, goal_id), messages(session_factory)) == ([(40, False)], [])
    set_amount(session_factory, now, goal_id, "45")
    assert messages(session_factory) == [40]
    remove(session_factory, now, goal_id, milestone_id)
    assert messages(session_factory) == [40]
    set_amount(session_factory, now, goal_id, "10")
    other = add(session_factory, now, goal_id, 40)
    assert (other != milestone_id, seen(session_factory, goal_id), messages(session_factory)) == (
        True,
        [(40, False)],
        [],
    )
    assert verify(session_factory, datetime.now(UTC)).is_ok


def test_texts_and_dates_change_nothing_else(session_factory: Sessions, now: datetime) -> None:
    """What was reached stays so, null clears, and what stays as it is leaves the goal at its version."""
    goal_id = goal(session_factory, now, current_amount="50")
    milestone_id = add(session_factory, now, goal_id, 40)
    first = change(session_factory, now, goal_id, milestone_id, description="Half", target_date=date(2027, 1, 31))
    assert (first.reached, first.description, first.target_date) == (True, "Half", date(2027, 1, 31))
    with session_factory() as session:
        version = get_goal(session, DEFAULT, goal_id).version
    assert change(session_factory, now, goal_id, milestone_id, amount="40.00", description="Half") == first
    with session_factory() as session:
        assert get_goal(session, DEFAULT, goal_id).version == version
    cleared = change(session_factory, now, goal_id, milestone_id, description=None, target_date=None)
    assert (cleared.reached, cleared.description, cleared.target_date) == (True, None, None)
    with session_factory() as session:
        assert get_goal(session, DEFAULT, goal_id).version > version


def test_a_deleted_milestone_is_gone(session_factory: Sessions, now: datetime) -> None:
    """The next one follows, its amount is free again, and deleting it twice is not found."""
    goal_id = goal(session_factory, now)
    ids = {each: add(session_factory, now, goal_id, each) for each in (10, 20, 30)}
    remove(session_factory, now, goal_id, ids[10])
    assert (seen(session_factory, goal_id), next_amount(session_factory, goal_id)) == ([(20, False), (30, False)], 20)
    with pytest.raises(NotFound, match="Milestone not found"):
        remove(session_factory, now, goal_id, ids[10])
    add(session_factory, now, goal_id, 10)
    assert next_amount(session_factory, goal_id) == 10
    assert audited(session_factory) == [("milestone.deleted", f"{goal_id} {ids[10]}")]
    assert verify(session_factory, datetime.now(UTC)).is_ok


Refused = Callable[[Sessions, datetime, str, str], object]


@pytest.mark.parametrize(
    ("error", "act"),
    [
        (InvalidField, lambda s, now, goal_id, own: change(s, now, goal_id, own, amount="100.01")),
        (InvalidField, lambda s, now, goal_id, own: change(s, now, goal_id, own, amount=0)),
        (InvalidField, lambda s, now, goal_id, own: change(s, now, goal_id, own, amount="0.001")),
        (InvalidField, lambda s, now, goal_id, own: change(s, now, goal_id, own, amount=80)),
        (InvalidField, lambda s, now, goal_id, own: change(s, now, goal_id, own, amount=30, description="a\0b")),
        (NotFound, lambda s, now, goal_id, _: change(s, now, goal_id, "none", amount=30)),
        (NotFound, lambda s, now, goal_id, _: remove(s, now, goal_id, "\0")),
        (NotFound, lambda s, now, _, own: remove(s, now, "none", own)),
    ],
)
def test_a_refused_change_changes_nothing(
    session_factory: Sessions, now: datetime, error: type[Exception], act: Refused
) -> None:
    """Beyond the target, at nothing, too fine, at another one's amount, or of a milestone that is not there."""
    goal_id = goal(session_factory, now, target_amount="100")
    own = add(session_factory, now, goal_id, 40)
    add(session_factory, now, goal_id, 80)
    with session_factory() as session:
        before = rows_by_table(session)
    with pytest.raises(error):
        act(session_factory, now, goal_id, own)
    with session_factory() as session:
        assert rows_by_table(session) == before


def test_final_goals_and_goals_of_others_keep_their_milestones(session_factory: Sessions, now: datetime) -> None:
    """Neither a completed goal's can be changed, nor one by another tenant, nor at another version than was seen."""
    goal_id = goal(session_factory, now)
    own = add(session_factory, now, goal_id, 40)
    for tenant, versions, error in ((Tenant("other", "UTC"), None, NotFound), (DEFAULT, frozenset({99}), GoalMoved)):
        with session_factory() as session, pytest.raises(error):
            change_milestone(session, tenant, goal_id, own, MilestoneChanges(amount=5), now, seen=versions)
        with session_factory() as session, pytest.raises(error):
            remove_milestone(session, tenant, goal_id, own, now, seen=versions)
    with session_factory.begin() as session:
        update_goal(session, DEFAULT, goal_id, GoalChanges(status=GoalStatus.COMPLETED), now)
    with pytest.raises(GoalIsFinal):
        change(session_factory, now, goal_id, own, amount=5)
    with pytest.raises(GoalIsFinal):
        remove(session_factory, now, goal_id, own)
    assert seen(session_factory, goal_id) == [(40, False)]
