"""Who may ask: keys, scopes, and what answers without one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.auth import KEYS_KNOWN_S
from core.services.keys import create_key, key_hash, revoke_key
from core.store.database import Sessions
from core.store.driver import Sql

ROUTES = [
    ("GET", "/goals", "goals:read"),
    ("POST", "/goals", "goals:write"),
    ("GET", "/goals/{id}", "goals:read"),
    ("PATCH", "/goals/{id}", "goals:write"),
    ("DELETE", "/goals/{id}", "goals:write"),
    ("GET", "/goals/{id}/progress", "goals:read"),
    ("POST", "/goals/{id}/milestones", "goals:write"),
    ("GET", "/goals/{id}/milestones", "goals:read"),
    ("GET", "/goals/{id}/milestones/progress", "goals:read"),
    ("GET", "/goals/{id}/milestones/next", "goals:read"),
    ("POST", "/goals/{id}/milestones/check", "goals:write"),
    ("POST", "/goals/{id}/funding", "goals:write"),
    ("GET", "/goals/{id}/funding", "goals:read"),
    ("PATCH", "/goals/{id}/funding/acct", "goals:write"),
    ("DELETE", "/goals/{id}/funding/acct", "goals:write"),
    ("POST", "/events", "events:write"),
    ("GET", "/events/unapplied", "events:read"),
    ("GET", "/accounts", "goals:read"),
    ("GET", "/accounts/acct", "goals:read"),
    ("GET", "/accounts/acct/reports", "goals:read"),
    ("GET", "/accounts/acct/allocations", "goals:read"),
]
SCOPES = ("goals:read", "goals:write", "events:read", "events:write")


@pytest.mark.parametrize("scope", SCOPES)
def test_every_route_needs_its_scope(client: Any, scope: str) -> None:
    """A key with every scope but the one that is needed gets 403 naming it; one with only that is admitted."""
    others = client(*(other for other in SCOPES if other != scope))
    enough = [client(scope), client("admin")]
    for method, path, _ in [route for route in ROUTES if route[2] == scope]:
        refused = others.request(method, path.format(id="none"))
        answer = (method, path, refused.status_code, refused.json())
        assert answer == (method, path, 403, {"detail": f"This key lacks the scope {scope}"})
        for each in enough:
            assert each.request(method, path.format(id="none")).status_code in {200, 404, 422}, (method, path)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": "Bearer " + "x" * 10_000},
        {"X-API-Key": ""},
        {"X-API-Key": "\xff\xfe"},
        {"X-API-Key": "' OR 1=1 --"},
    ],
)
def test_no_route_answers_without_a_good_key(app: FastAPI, headers: dict[str, str]) -> None:
    """No key, or a bad one, is 401 with WWW-Authenticate, before anything else is looked at."""
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    client = TestClient(app)
    for method, path, _ in [*ROUTES, ("GET", "/health/ready", "")]:
        response = client.request(method, path.format(id="none"), headers=raw, content=b"{")
        assert response.status_code == 401, (method, path)
        assert response.headers["WWW-Authenticate"] == "Bearer", (method, path)
        assert list(response.json()) == ["detail"], (method, path)


@pytest.mark.parametrize("path", ["/health/live", "/docs", "/openapi.json"])
def test_three_things_answer_without_a_key(app: FastAPI, path: str) -> None:
    """Liveness, the documentation and the OpenAPI text need no key."""
    assert TestClient(app).get(path).status_code == 200


PATIENCE_S = 10


def test_the_key_may_come_in_its_own_header(app: FastAPI, new_key: Any) -> None:
    """X-API-Key works like Authorization: Bearer."""
    response = TestClient(app).get("/goals", headers={"X-API-Key": new_key("goals:read")})
    assert (response.status_code, response.json()) == (200, [])


def test_a_revoked_key_is_refused_after_seconds(
    app: FastAPI,
    api: TestClient,
    session_factory: Sessions,
    now: datetime,
    eventually: Callable[[Callable[[], object], float], bool],
) -> None:
    """A key that worked gets 401 once the process looks it up again, for reading and for writing."""
    with session_factory.begin() as session:
        key, secret = create_key(session, "default", ["goals:read"], "test", now)
    bearer = TestClient(app, headers={"Authorization": f"Bearer {secret}"})
    assert bearer.get("/goals").status_code == 200
    with session_factory.begin() as session:
        revoke_key(session, "default", key.key_id, datetime.now(UTC))
    assert KEYS_KNOWN_S <= 5
    assert eventually(lambda: bearer.get("/goals").status_code == 401, KEYS_KNOWN_S + PATIENCE_S)
    assert bearer.post("/goals", json={}).status_code == 401
    assert api.get("/goals").status_code == 200


def test_a_key_that_is_revoked_while_its_read_takes_long_reads_nothing(
    app: FastAPI, new_key: Any, new_goal: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is there, but it is not given any more."""
    path, secret = f"/goals/{new_goal()}", new_key("goals:read")
    bearer = TestClient(app, headers={"Authorization": f"Bearer {secret}"})
    assert bearer.get(path).status_code == 200
    get = app.state.reads.get

    async def get_late(*arguments: Any) -> object:
        found = await get(*arguments)
        app.state.known_keys.callers.clear()
        with app.state.backends.sessions.begin() as session:
            Sql("UPDATE api_keys SET revoked_at = now() WHERE key_hash = :hash").run(
                session, {"hash": key_hash(secret)}
            )
        return found

    monkeypatch.setattr(app.state.reads, "get", get_late)
    assert bearer.get(path).status_code == 401


def test_another_tenant_sees_and_changes_nothing(
    api: TestClient, client: Any, new_goal: Callable[..., str], dump: Callable[[], str]
) -> None:
    """Every route answers another tenant's key as if the goal did not exist, and leaves it as it was."""
    goal_id = new_goal()
    link = {"account_id": "acct", "allocation_percent": 10}
    assert api.post(f"/goals/{goal_id}/funding", json=link).status_code == 201
    bodies: dict[str, Any] = {
        "/goals/{id}": {"name": "mine now"},
        "/goals/{id}/milestones": {"amount": 1},
        "/goals/{id}/funding": link,
        "/goals/{id}/funding/acct": {"allocation_percent": 20},
    }
    stranger = client(tenant="other")
    before = dump()
    for method, path, _ in ROUTES:
        if "{id}" in path:
            response = stranger.request(method, path.format(id=goal_id), json=bodies.get(path, {}))
            assert (response.status_code, response.json()) == (404, {"detail": "Goal not found"}), path
    assert stranger.get("/goals").json() == []
    assert stranger.get("/goals", params={"user_id": "user_123"}).json() == []
    assert dump() == before
