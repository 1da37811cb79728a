"""The auth of an app that hosts the goal routes: it is asked first, and its refusals are its own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import Depends
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from api.hosting import goal_router
from tests.api.conftest import SAVINGS
from tests.api.foreign import TenantHost, foreign_app, signed_in

REFUSED = [
    (None, 401, {"foreign": "who are you?"}),
    ("wrong", 403, {"foreign": "not you"}),
    ("signed-out", 419, {"foreign": "SignedOut"}),
    ("unlucky", 599, {"foreign": "DBAPIError"}),
]


def _app(engine: Engine) -> Any:
    return foreign_app(goal_router(TenantHost(engine), prefix="/goals", dependencies=[Depends(signed_in)]))


def _bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(("token", "status", "body"), REFUSED)
@pytest.mark.parametrize(
    ("method", "url"),
    [("GET", "/goals"), ("POST", "/goals"), ("GET", "/goals?limit=0"), ("DELETE", "/goals/x/funding/y")],
)
def test_the_apps_refusals_are_answered_by_the_app(
    engine: Engine, token: str | None, status: int, body: Any, method: str, url: str
) -> None:
    """HTTPException, an error that the app handles, and one of its own database reach its handlers, before our 422."""
    client = TestClient(_app(engine), headers=_bearer(token))
    answer = client.request(method, url, content=b"{" if method == "POST" else None)
    assert (answer.status_code, answer.json()) == (status, body)
    if status == 401:
        assert answer.headers["WWW-Authenticate"] == "Foreign"


def test_who_is_let_in_gets_the_goals(engine: Engine) -> None:
    """With a good token everything is as without auth; a key of ours is none."""
    client = TestClient(_app(engine), headers=_bearer("good"))
    made = client.post("/goals", json=SAVINGS)
    assert made.status_code == 201
    assert client.get(made.headers["Location"]).json() == made.json()
    assert client.get("/goals/none").json() == {"detail": "Goal not found"}
    assert TestClient(_app(engine), headers={"X-API-Key": "good"}).get("/goals").status_code == 401


@pytest.mark.parametrize(("token", "status"), [(token, status) for token, status, _ in REFUSED])
def test_the_body_of_a_refused_request_is_not_read(engine: Engine, token: str | None, status: int) -> None:
    """Not a byte of it is asked for."""
    app, sent = _app(engine), []
    headers = [(name.lower().encode(), value.encode()) for name, value in _bearer(token).items()]

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/goals",
        "raw_path": b"/goals",
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [*headers, (b"content-length", b"100")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "http_version": "1.1",
        "asgi": {"version": "3.0"},
    }
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == status


def test_openapi_shows_the_apps_auth_and_not_ours(engine: Engine) -> None:
    """Its scheme is asked for by every goal route, and is the only one."""
    text = _app(engine).openapi()
    assert set(text["components"]["securitySchemes"]) == {"ForeignToken"}
    for path, operations in text["paths"].items():
        for operation in operations.values():
            asked = [name for one in operation.get("security", []) for name in one]
            assert asked == (["ForeignToken"] if path.startswith("/goals") else []), path


def test_each_mount_has_its_own_auth(engine: Engine) -> None:
    """What guards one mount does not guard the other."""
    host = TenantHost(engine)
    guarded = goal_router(host, prefix="/guarded", dependencies=[Depends(signed_in)])
    client = TestClient(foreign_app(goal_router(host, prefix="/free"), guarded))
    assert [client.get(url).status_code for url in ("/free", "/guarded")] == [200, 401]
