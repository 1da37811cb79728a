"""The demo under the supervisor: it never keeps the servers from starting."""

from __future__ import annotations

from core.goals.goal import GoalType
from core.services.goals import create_goal
from core.services.inputs import GoalDraft
from core.store.database import Sessions
from core.store.tenants import Tenant
from milepost.demo.run import DemoHost
from tests.demo.conftest import TODAY


def test_an_empty_installation_gets_a_demo(database_url: str) -> None:
    """Once its goals are made it should start, and nothing is reported."""
    said: list[str] = []
    host = DemoHost(said.append)
    host.make_goals(database_url)
    assert host.should_start()
    assert said == []


def test_other_data_is_reported(database_url: str, session_factory: Sessions) -> None:
    """Where somebody has a goal, one line says that --demo adds nothing."""
    with session_factory.begin() as session:
        create_goal(session, Tenant("default", "UTC"), GoalDraft("u", "g", GoalType.SAVINGS, "1"), TODAY)
    said: list[str] = []
    host = DemoHost(said.append)
    host.make_goals(database_url)
    assert not host.should_start()
    assert [line for line in said if "--demo adds nothing" in line] == said
    assert len(said) == 1


def test_a_demo_that_cannot_be_made_is_reported() -> None:
    """A database that does not answer, or any other error, is one line, and no error for the servers."""
    said: list[str] = []
    host = DemoHost(said.append)
    host.make_goals("postgresql+psycopg://nobody:hidden-password@127.0.0.1:1/none")
    assert not host.should_start()
    (line,) = said
    assert line.startswith("no demo: its goals could not be made: ")
    assert "hidden-password" not in line
    assert "\n" not in line
