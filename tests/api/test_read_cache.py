"""The read cache: a second reader costs less, and no reader ever sees what is no longer so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from core.services.goals import update_goal
from core.services.inputs import GoalChanges, MilestoneDraft
from core.services.milestones import add_milestone
from core.settings import Settings
from core.store.database import Sessions
from core.store.driver import Sql
from core.store.tenants import Tenant

READS = ("", "/milestones", "/milestones/progress", "/milestones/next", "/milestones?limit=1")
DEFAULT = Tenant("default", "UTC")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With the cache on, as documented."""
    return settings.model_copy(update={"read_cache_seconds": 300})


@pytest.fixture
def goal(api: TestClient, new_goal: Callable[..., str]) -> str:
    """The path of a goal with two milestones."""
    path = f"/goals/{new_goal()}"
    for amount in (10, 20):
        assert api.post(f"{path}/milestones", json={"amount": amount}).status_code == 201
    return path


@contextmanager
def _statements() -> Iterator[list[str]]:
    """The statements that the API sends meanwhile."""
    sent: list[str] = []
    execute = psycopg.Cursor.execute

    def note(cursor: Any, statement: str, *rest: Any, **options: Any) -> Any:
        sent.append(statement)
        return execute(cursor, statement, *rest, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(psycopg.Cursor, "execute", note)
        yield sent


@pytest.mark.parametrize("rest", READS)
def test_the_second_read_takes_the_version_alone(api: TestClient, goal: str, rest: str) -> None:
    """The first read asks for the goal, the second for its version by primary key; the answers are the same."""
    with _statements() as first_statements:
        first = api.get(goal + rest)
    with _statements() as second_statements:
        second = api.get(goal + rest)
    for name in ("Content-Type", "Content-Length", "ETag", "Link"):
        assert second.headers.get(name) == first.headers.get(name)
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert first.headers["X-Request-Id"] != second.headers["X-Request-Id"]
    _authentication, version = second_statements
    assert version.startswith("SELECT version FROM goals")
    assert len(first_statements) > len(second_statements)


@pytest.mark.parametrize("rest", [rest for rest in READS if rest != "/milestones/next"])
def test_a_write_of_another_process_shows_at_once(
    api: TestClient, session_factory: Sessions, goal: str, rest: str
) -> None:
    """What is written over another connection, past this API, is in the very next answer."""
    goal_id = goal.removeprefix("/goals/")
    for amount in (1, 2, 3):
        before = api.get(goal + rest).text
        assert api.get(goal + rest).text == before
        with session_factory.begin() as session:
            now = datetime.now(UTC)
            update_goal(session, DEFAULT, goal_id, GoalChanges(current_amount=11 - amount), now)
            add_milestone(session, DEFAULT, goal_id, MilestoneDraft(10 - amount), now)
        assert api.get(goal + rest).text != before
    assert api.get(goal).json()["current_amount"] == 8


def test_the_changed_amount_and_its_marks_are_those_of_the_tables(api: TestClient, goal: str) -> None:
    """After a write through the API the four answers agree with each other."""
    for amount in (0, 10, 15, 20):
        assert api.patch(goal, json={"current_amount": amount}).status_code == 200
        reached = sum(milestone["reached"] for milestone in api.get(goal).json()["milestones"])
        assert sum(milestone["reached"] for milestone in api.get(f"{goal}/milestones").json()) == reached
        assert api.get(f"{goal}/milestones/progress").json()["reached_count"] == reached == amount // 10
        upcoming = api.get(f"{goal}/milestones/next").json()
        assert (upcoming and upcoming["amount"]) == (10, 20, None)[reached]


def test_a_deleted_goal_is_gone_at_once(api: TestClient, session_factory: Sessions, goal: str) -> None:
    """A goal that was read and then deleted elsewhere is not found."""
    for rest in READS:
        assert api.get(goal + rest).status_code == 200
    with session_factory.begin() as session:
        Sql("DELETE FROM goals").run(session, {})
    assert [api.get(goal + rest).status_code for rest in READS] == [404] * len(READS)


def test_no_tenant_reads_what_was_kept_for_another(api: TestClient, client: Any, goal: str) -> None:
    """A goal that is kept for its own tenant is not found by another."""
    assert api.get(goal).status_code == 200
    stranger = client(tenant="other")
    assert [stranger.get(goal + rest).status_code for rest in READS] == [404] * len(READS)


def test_a_key_is_checked_before_the_cache(app: FastAPI, api: TestClient, goal: str) -> None:
    """What is kept is not given to who has no key."""
    assert api.get(goal).status_code == 200
    assert TestClient(app).get(goal).status_code == 401


def test_without_the_setting_nothing_is_kept(database_url: str, redis_url: str) -> None:
    """The cache is off unless a setting turns it on."""
    assert Settings(database_url=database_url, redis_url=redis_url).read_cache_seconds == 0
