"""add_goals: the goal routes in an app of somebody else's, behind their auth, and nothing else of it touched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from fastapi.testclient import TestClient

import milepost
from milepost import Client, GoalManager, add_goals, easy_goals, sync
from tests.serving import serving

FUND = {"user_id": "user_123", "name": "Emergency Fund", "type": "savings", "target_amount": 10000.00}
DOCUMENTED = {
    ("/goals", "post"),
    ("/goals", "get"),
    ("/goals/{goal_id}", "get"),
    ("/goals/{goal_id}", "patch"),
    ("/goals/{goal_id}", "delete"),
    ("/goals/{goal_id}/progress", "get"),
    ("/goals/{goal_id}/milestones", "post"),
    ("/goals/{goal_id}/milestones", "get"),
    ("/goals/{goal_id}/milestones/progress", "get"),
    ("/goals/{goal_id}/funding", "post"),
    ("/goals/{goal_id}/funding", "get"),
    ("/goals/{goal_id}/funding/{account_id}", "patch"),
    ("/goals/{goal_id}/funding/{account_id}", "delete"),
}
BESIDE = {
    ("/goals/{goal_id}/milestones/check", "post"),
    ("/goals/{goal_id}/milestones/next", "get"),
    ("/goals/{goal_id}/milestones/{milestone_id}", "patch"),
    ("/goals/{goal_id}/milestones/{milestone_id}", "delete"),
    ("/goals/{goal_id}/reopen", "post"),
}


class OwnTrouble(Exception):
    """An error that the host answers itself."""


def bearer(credentials: Annotated[Any, Depends(HTTPBearer())]) -> str:
    """The host's own sign-in."""
    if credentials.credentials != "let-me-in":
        raise HTTPException(403, {"code": "forbidden"})
    return "user_123"


def with_own_error(x_session: Annotated[str | None, Header()] = None) -> None:
    """Another one, with an error of its own."""
    if x_session is None:
        raise OwnTrouble


def host() -> FastAPI:
    """An app with routes, handlers, a lifespan and state of its own."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.settings = "the host's own"
        yield

    app = FastAPI(title="Host", lifespan=lifespan)

    @app.get("/goalkeepers")
    def goalkeepers(limit: int = 1) -> dict[str, Any]:
        return {"limit": limit, "settings": app.state.settings}

    @app.get("/broken")
    def broken() -> None:
        raise LookupError

    @app.exception_handler(OwnTrouble)
    async def own(_request: Request, _error: OwnTrouble) -> JSONResponse:
        return JSONResponse({"code": "sign in"}, 401)

    @app.exception_handler(LookupError)
    async def lookup(_request: Request, _error: LookupError) -> JSONResponse:
        return JSONResponse({"code": "the host's"}, 418)

    return app


def operations(app: FastAPI) -> set[tuple[str, str]]:
    """What the OpenAPI text of an app has."""
    return {(path, method) for path, methods in app.openapi()["paths"].items() for method in methods}


def test_the_documented_endpoints_are_there(database_url: str) -> None:
    """The thirteen, and those that we add to them, in an app that otherwise stays as it was."""
    app = host()
    with sync.easy_goals(database_url=database_url) as manager:
        assert add_goals(app, manager=manager, prefix="/goals") is manager
        assert operations(app) == DOCUMENTED | BESIDE | {("/goalkeepers", "get"), ("/broken", "get")}
        with TestClient(app) as client:
            goal = client.post("/goals", json=FUND).json()
            assert client.get(f"/goals/{goal['id']}").json() == goal
            assert manager.get_goal(goal["id"]).name == "Emergency Fund"
            assert client.get("/goalkeepers").json() == {"limit": 1, "settings": "the host's own"}
            assert client.get("/broken").status_code == 418
            assert client.get("/goalkeepers?limit=x").json()["detail"][0]["loc"] == ["query", "limit"]
            assert client.get("/goals/goal_0").json() == {"detail": "Goal not found"}


def test_the_hosts_auth_comes_first(database_url: str) -> None:
    """Whoever it rejects gets the host's answer, whatever was asked for, and is in the host's OpenAPI text."""
    app = host()
    with sync.easy_goals(database_url=database_url) as manager:
        add_goals(app, manager=manager, prefix="/finance/goals", auth=[bearer, Depends(with_own_error)])
        with TestClient(app) as client:
            url, body = "/finance/goals", {"name": "not even a goal"}
            assert client.post(url, json=body).status_code in (401, 403)
            wrong = {"Authorization": "Bearer wrong"}
            assert client.post(url, json=body, headers=wrong).json() == {"detail": {"code": "forbidden"}}
            right = {"Authorization": "Bearer let-me-in"}
            assert client.get(f"{url}/goal_0", headers=right).json() == {"code": "sign in"}
            signed_in = {**right, "X-Session": "s"}
            assert client.post(url, json=body, headers=signed_in).status_code == 422
            made = client.post(url, json=FUND, headers=signed_in)
            assert made.headers["Location"] == f"/finance/goals/{made.json()['id']}"
            assert client.get("/goalkeepers").status_code == 200
        assert manager.list_goals()[0].id == made.json()["id"]
        operation = app.openapi()["paths"]["/finance/goals"]["post"]
        assert operation["security"] == [{"HTTPBearer": []}]
        assert set(app.openapi()["components"]["securitySchemes"]) == {"HTTPBearer"}


@pytest.mark.anyio
async def test_a_client_works_with_a_host(manager: GoalManager) -> None:
    """The client of Milepost talks to the routes of a host as to Milepost's own, with the host's headers."""
    app = host()
    add_goals(app, manager, prefix="/v1/goals", auth=bearer)
    with serving(app) as url:
        async with Client(url, prefix="/v1/goals", headers={"Authorization": "Bearer let-me-in"}) as client:
            goal = await client.create_goal(**FUND, current_amount=10)
            await client.add_milestone(goal.id, 10)
            assert len(await client.check_milestones(goal.id, idempotency_key="k")) == 1
            assert len(await client.check_milestones(goal.id, idempotency_key="k")) == 1
            assert await manager.get_goal(goal.id) == await client.get_goal(goal.id)
        async with Client(url, prefix="/v1/goals", headers={"Authorization": "Bearer wrong"}) as stranger:
            with pytest.raises(PermissionError):
                await stranger.list_goals()


def test_two_tenants_under_two_prefixes(database_url: str, new_tenant: Callable[..., str]) -> None:
    """One app may serve the goals of several tenants, and of a router of its own; none sees another's."""
    app, router = host(), APIRouter(prefix="/inner")
    names = {"/a/goals": "default", "/b/goals": new_tenant("other"), "/goals": new_tenant("third")}
    managers = [
        add_goals(
            router if prefix == "/goals" else app,
            sync.easy_goals(database_url=database_url, tenant=name),
            prefix=prefix,
        )
        for prefix, name in names.items()
    ]
    app.include_router(router)
    with TestClient(app) as client:
        for prefix in ("/a/goals", "/b/goals", "/inner/goals"):
            assert client.get(prefix).json() == []
            assert client.post(prefix, json=FUND).headers["Location"].startswith(f"{prefix}/goal_")
    assert [len(manager.list_goals()) for manager in managers] == [1, 1, 1]
    for manager in managers:
        manager.close()


def test_what_cannot_be_mounted_is_refused(database_url: str) -> None:
    """A prefix that leads nowhere and a client in the place of a manager are ValueErrors."""
    app = FastAPI()
    with sync.easy_goals(database_url=database_url) as manager:
        for prefix in ("goals", "/goals/", "", "/"):
            with pytest.raises(ValueError, match="prefix"):
                add_goals(app, manager, prefix=prefix)
    with pytest.raises(ValueError, match=r"^manager: must be one that easy_goals\(\) made$"):
        add_goals(app, Client("http://milepost.test"))  # type: ignore[type-var]
    assert operations(app) == set()


def test_the_manager_is_made_where_none_is_given(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    """`add_goals(app)` is enough; the functions then use the same manager's server config."""
    monkeypatch.setenv("MILEPOST_DATABASE_URL", database_url)
    app = FastAPI()
    manager = add_goals(app)
    with TestClient(app) as client:
        made = client.post("/goals", json=FUND).json()
    assert sync.get_goal(made["id"]).name == made["name"]
    sync_twin = sync.easy_goals()
    assert len(sync_twin.list_goals()) == 1
    sync_twin.close()
    manager.handle.end()()
    assert milepost.GoalManager is type(manager)


def test_routes_of_a_closed_manager_say_so(database_url: str) -> None:
    """They fail as a fault of the app's, rather than open what was closed."""
    app = FastAPI()
    manager = easy_goals(database_url=database_url)
    add_goals(app, manager)
    manager.handle.end()()
    with TestClient(app) as client, pytest.raises(RuntimeError, match="this manager is closed"):
        client.get("/goals")
