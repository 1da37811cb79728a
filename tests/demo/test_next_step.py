"""The milestone that moves on: there is always one a little above the amount, and none is withdrawn."""

from __future__ import annotations

from datetime import datetime, timedelta

from core.jobs.relay import relay
from core.services.goals import get_goal, update_goal
from core.services.inputs import GoalChanges
from core.store.database import Sessions
from core.store.driver import Sql
from milepost.demo.next_step import NextStep
from tests.acts import DEFAULT, goal

_NEWS = Sql("SELECT type FROM outbox WHERE type LIKE 'milestone.%' ORDER BY message_id")


def test_each_step_is_reached_once(session_factory: Sessions, now: datetime) -> None:
    """As the amount goes up and back, each of many steps is above it, at an amount of its own, and the only one.

    So it is if the demo is started again meanwhile.
    """
    goal_id = goal(session_factory, now, name="Fund", current_amount="1000.10")
    step = NextStep("u", "Fund")
    reached = []
    for number in range(40):
        now += timedelta(seconds=1)
        if number % 10 == 9:
            step = NextStep("u", "Fund")
        with session_factory.begin() as session:
            step.set(session, DEFAULT, now)
            seen = get_goal(session, DEFAULT, goal_id)
        (milestone,) = seen.milestones
        assert not milestone.reached
        assert 0 < milestone.amount_minor - seen.amount_minor <= 50_00
        is_back = number % 4 == 3
        reached += [] if is_back else [milestone.amount_minor]
        amount = "1000.10" if is_back else str(milestone.amount_minor // 100 + 1)
        with session_factory.begin() as session:
            update_goal(session, DEFAULT, goal_id, GoalChanges(current_amount=amount), now)
        # Of two changes of a goal at one moment the second counts as a little later.
        relay(session_factory, now + timedelta(milliseconds=500))
    assert reached[:3] == [1050_00, 1100_00, 1150_00]
    assert len(set(reached)) == len(reached) == 30
    with session_factory() as session:
        assert list(_NEWS.values(session, {})) == ["milestone.reached"] * len(reached)


def test_at_the_target_there_is_none(session_factory: Sessions, now: datetime) -> None:
    """Where no amount is left below the target, or the goal is gone, nothing is done."""
    goal_id = goal(session_factory, now, name="Fund", target_amount="100", current_amount="100")
    with session_factory.begin() as session:
        NextStep("u", "Fund").set(session, DEFAULT, now)
        NextStep("u", "Another").set(session, DEFAULT, now)
        assert get_goal(session, DEFAULT, goal_id).milestones == ()
