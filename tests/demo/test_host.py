"""The demo beside the supervisor: it never stops a start."""

from __future__ import annotations

from sqlalchemy.orm import Session, sessionmaker

from core.goals.goal import GoalType
from core.services.goals import create_goal
from core.services.inputs import GoalDraft
from core.store.tenants import Tenant
from milepost.demo.run import DemoHost
from tests.demo.conftest import TODAY


def test_an_empty_installation_gets_a_demo(database_url: str) -> None:
    """Planted, it may begin, and nothing is said."""
    said: list[str] = []
    host = DemoHost(said.append)
    host.plant(database_url)
    assert host.may_begin()
    assert said == []


def test_other_data_is_told_of(database_url: str, session_factory: sessionmaker[Session]) -> None:
    """Where somebody has a goal, one line says that --demo adds nothing."""
    with session_factory.begin() as session:
        create_goal(session, Tenant("default", "UTC"), GoalDraft("u", "g", GoalType.SAVINGS, "1"), TODAY)
    said: list[str] = []
    host = DemoHost(said.append)
    host.plant(database_url)
    assert not host.may_begin()
    assert [line for line in said if "--demo adds nothing" in line] == said
    assert len(said) == 1


def test_a_demo_that_cannot_be_made_is_told_of() -> None:
    """A database that is away, or any other trouble, is a line, and no error for the servers."""
    said: list[str] = []
    host = DemoHost(said.append)
    host.plant("postgresql+psycopg://nobody:hidden-password@127.0.0.1:1/none")
    assert not host.may_begin()
    (line,) = said
    assert line.startswith("no demo: its goals could not be made: ")
    assert "hidden-password" not in line
    assert "\n" not in line
