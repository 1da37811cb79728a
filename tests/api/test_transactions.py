"""The transaction of a request: a GET reads one moment and cannot write, others leave with what they wrote."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from psycopg.errors import ReadOnlySqlTransaction

from api.auth import bind_key
from api.context import Contexts, RequestContext
from api.routing import Routes
from core.services.goals import get_goal
from core.services.inputs import MilestoneDraft
from core.services.milestones import add_milestone
from core.store.database import Sessions
from core.store.driver import Sql

Probe = Callable[..., Any]


@pytest.fixture
def probe(app: FastAPI, api: TestClient) -> Probe:
    """Runs a function in the transaction of a request of some method, and gives what it returned."""

    def run(method: str, work: Callable[[RequestContext], Any]) -> Any:
        found = []

        def route(contexts: Contexts) -> None:
            with contexts.open(None) as context:
                found.append(work(context))

        path = f"/probe/{len(app.router.routes)}"
        routes = Routes(tags=["probe"])
        getattr(routes, method.lower())(path)(route)
        app.router.routes.extend(routes.make_router("", admit=bind_key).routes)
        assert api.request(method, path).status_code == 200
        return found[0]

    return run


def _kind(context: RequestContext) -> tuple[Any, ...]:
    names = "current_setting('transaction_isolation'), current_setting('transaction_read_only'), pg_backend_pid()"
    return Sql(f"SELECT {names}").one(context.session, {})


def test_only_reading_requests_have_a_snapshot(probe: Probe) -> None:
    """A GET is repeatable read and read only; on the same connection, the next POST is neither, and so in turn."""
    kinds = [probe(method, _kind) for method in ("GET", "POST", "GET", "PATCH", "DELETE")]
    reading, writing = ("repeatable read", "on"), ("read committed", "off")
    assert [kind[:2] for kind in kinds] == [reading, writing, reading, writing, writing]
    assert len({kind[2] for kind in kinds}) == 1


def test_a_reading_request_cannot_write(probe: Probe, dump: Callable[[], str], new_goal: Callable[..., str]) -> None:
    """A statement that writes fails in the transaction of a GET, and nothing is changed."""
    new_goal()
    before = dump()

    def write(context: RequestContext) -> None:
        with pytest.raises(ReadOnlySqlTransaction, match="read-only transaction"), context.session.transaction():
            Sql("UPDATE goals SET name = 'changed'").run(context.session, {})

    probe("GET", write)
    assert dump() == before


def test_a_reading_request_sees_one_moment(
    probe: Probe, session_factory: Sessions, new_goal: Callable[..., str]
) -> None:
    """What is committed while a GET reads does not show in the rest of what it reads, but in the next GET."""
    goal_id = new_goal()

    def read(context: RequestContext) -> int:
        get_goal(context.session, context.tenant, goal_id)
        with session_factory.begin() as other:
            amount = 1 + len(get_goal(other, context.tenant, goal_id).milestones)
            add_milestone(other, context.tenant, goal_id, MilestoneDraft(amount), datetime.now(UTC))
        return len(get_goal(context.session, context.tenant, goal_id).milestones)

    assert [probe("GET", read) for _ in range(3)] == [0, 1, 2]
