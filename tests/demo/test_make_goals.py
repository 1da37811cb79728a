"""The demo's goals, and what they come to, in a real database."""

from __future__ import annotations

from datetime import timedelta

from core.goals.goal import GoalStatus, GoalType, Tracking
from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.services.goals import create_goal
from core.services.inputs import GoalDraft
from core.services.views import GoalView
from core.store.database import Sessions
from core.store.tenants import Tenant
from milepost.demo.fill import first_day, goals_of, make_goals
from milepost.demo.life import Life, TimedEvent
from milepost.demo.people import PEOPLE
from tests.acts import goal_progress
from tests.demo.conftest import BEGIN, TODAY

DEFAULT = Tenant("default", "UTC")
DAYS = (TODAY.date() - BEGIN).days


def all_goals(sessions: Sessions) -> list[GoalView]:
    with sessions() as session:
        return [goal for person in PEOPLE for goal in goals_of(session, DEFAULT, person.user_id).values()]


def test_a_second_start_makes_no_second_demo(session_factory: Sessions) -> None:
    """A second call, days later, finds the demo, its first day and its goals, and makes nothing."""
    with session_factory.begin() as session:
        assert first_day(session) is None
        assert make_goals(session, PEOPLE, TODAY, DAYS)
    made = all_goals(session_factory)
    with session_factory.begin() as session:
        assert make_goals(session, PEOPLE, TODAY + timedelta(days=3), DAYS)
        assert first_day(session) == BEGIN
    assert all_goals(session_factory) == made
    assert len(made) == sum(len(person.goals) for person in PEOPLE)


def test_other_peoples_data_is_left_alone(session_factory: Sessions) -> None:
    """If any user has a goal already, nothing is made."""
    with session_factory.begin() as session:
        create_goal(session, DEFAULT, GoalDraft("u", "g", GoalType.SAVINGS, "1"), TODAY)
    with session_factory.begin() as session:
        assert not make_goals(session, PEOPLE, TODAY, DAYS)
        assert first_day(session) is None
    assert all_goals(session_factory) == []


def test_two_years_end_in_goals_on_their_way(session_factory: Sessions, timed_events: list[TimedEvent]) -> None:
    """All events apply, none is a dead letter, and amounts that follow accounts are those of the lives."""
    with session_factory.begin() as session:
        make_goals(session, PEOPLE, TODAY, DAYS)
    entries = [StreamEntry(0, f"1-{n}", TODAY, "default", each.body) for n, each in enumerate(timed_events)]
    with session_factory.begin() as session:
        # Three batches: the demo's own are smaller, and any split leaves the same.
        done = [apply_events(session, entries[part::3], TODAY) for part in range(3)]
    assert [batch.dead_letters for batch in done] == [0, 0, 0]
    goals = {goal.name: goal for goal in all_goals(session_factory)}
    assert [goal.name for goal in goals.values() if goal.waiting_for] == []
    life = Life(PEOPLE, BEGIN)
    life.through(TODAY)
    assert goals["Own half of our house"].amount_minor == sum(
        life.worths[f"demo-ben-{x}"] for x in ("house", "mortgage")
    )
    assert goals["Mortgage below 290,000"].amount_minor == -life.worths["demo-ben-mortgage"]
    assert {goal.tracking for goal in goals.values()} == set(Tracking)
    assert goals["Sailing boat"].status is GoalStatus.PAUSED
    assert goals["New kitchen"].amount_minor > goals["New kitchen"].target_minor
    with session_factory() as session:
        percents = {
            name: goal_progress(session, DEFAULT, g.goal_id, TODAY).percent_complete for name, g in goals.items()
        }
    assert all(percent > 10 for percent in percents.values()), percents
    assert sum(percent < 100 for percent in percents.values()) >= len(percents) * 2 / 3, percents
