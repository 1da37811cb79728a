"""The auth of an app that hosts the goal routes: it is asked first, and its refusals are its own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import APIRouter, Depends
from fastapi.testclient import TestClient

from api.hosting import goal_router
from core.errors import NotFound
from core.store.database import Sessions
from tests.api.conftest import SAVINGS
from tests.api.foreign import TenantHost, foreign_app, signed_in, with_header

REFUSED = [
    (None, 401, {"foreign": "who are you?"}),
    ("wrong", 403, {"foreign": "not you"}),
    ("signed-out", 419, {"foreign": "SignedOut"}),
    ("unlucky", 599, {"foreign": "Error"}),
]


def _app(sessions: Sessions) -> Any:
    return foreign_app(goal_router(TenantHost(sessions), prefix="/goals", dependencies=[Depends(signed_in)]))


def _bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(("token", "status", "body"), REFUSED)
def test_the_apps_refusals_are_answered_by_the_app(
    session_factory: Sessions, token: str | None, status: int, body: Any
) -> None:
    """HTTPException, an error that the app handles, and one of its own database reach its handlers, before our 422."""
    client = TestClient(_app(session_factory), headers=_bearer(token))
    for method, url in (
        ("GET", "/goals"),
        ("POST", "/goals"),
        ("GET", "/goals?limit=0"),
        ("DELETE", "/goals/x/funding/y"),
    ):
        answer = client.request(method, url, content=b"{" if method == "POST" else None)
        assert (answer.status_code, answer.json()) == (status, body), (method, url)
        if status == 401:
            assert answer.headers["WWW-Authenticate"] == "Foreign", (method, url)


def test_who_is_let_in_gets_the_goals(session_factory: Sessions) -> None:
    """With a good token everything is as without auth; a key of ours is none."""
    client = TestClient(_app(session_factory), headers=_bearer("good"))
    made = client.post("/goals", json=SAVINGS)
    assert made.status_code == 201
    assert client.get(made.headers["Location"]).json() == made.json()
    assert client.get("/goals/none").json() == {"detail": "Goal not found"}
    assert TestClient(_app(session_factory), headers={"X-API-Key": "good"}).get("/goals").status_code == 401


@pytest.mark.parametrize("is_of_the_mount", [True, False])
def test_what_does_not_validate_in_the_apps_auth_is_answered_by_the_app(
    session_factory: Sessions, is_of_the_mount: bool
) -> None:
    """A header of it that is missing or no number reaches the app's handler, alone or with what is wrong of ours."""
    if is_of_the_mount:
        app = foreign_app(
            goal_router(TenantHost(session_factory), prefix="/goals", dependencies=[Depends(with_header)])
        )
    else:
        whole = APIRouter(dependencies=[Depends(with_header)])
        whole.include_router(goal_router(TenantHost(session_factory), prefix="/goals"))
        app = foreign_app(whole)
    for headers in ({}, {"X-Token": "one"}):
        client = TestClient(app, headers=headers)
        asked = [
            ("GET", ""),
            ("GET", "?limit=x"),
            ("GET", "?type=debt&goal_type=income"),
            ("POST", ""),
            ("DELETE", "/x"),
        ]
        for method, path in asked:
            answer = client.request(method, f"/goals{path}", headers={"If-Match": "7"}, content=b"{")
            assert (answer.status_code, answer.json()) == (499, {"foreign": "RequestValidationError"}), (method, path)
    client = TestClient(app, headers={"X-Token": "1"})
    assert client.post("/goals", json=SAVINGS).status_code == 201
    assert client.get("/goals?limit=x").json()["errors"][0]["loc"] == ["query", "limit"]
    assert client.get("/goals?type=debt&goal_type=income").json()["errors"][0]["loc"] == ["query", "goal_type"]


def test_an_error_of_ours_that_the_apps_auth_raises_is_answered_by_the_app(session_factory: Sessions) -> None:
    """It is no refusal of the goal routes: the app fails with it, as it does everywhere."""

    async def broken() -> None:
        raise NotFound("Goal", "x")

    client = TestClient(
        foreign_app(goal_router(TenantHost(session_factory), prefix="/goals", dependencies=[Depends(broken)]))
    )
    with pytest.raises(NotFound):
        client.get("/goals")


@pytest.mark.parametrize(("token", "status"), [(token, status) for token, status, _ in REFUSED])
def test_the_body_of_a_refused_request_is_not_read(session_factory: Sessions, token: str | None, status: int) -> None:
    """Not a byte of it is asked for."""
    assert _status_without_body(_app(session_factory), _bearer(token)) == status


@pytest.mark.parametrize("others", [[], [Depends(signed_in)]])
def test_the_body_is_not_read_when_the_apps_auth_does_not_validate(
    session_factory: Sessions, others: list[Any]
) -> None:
    """Nor is its size looked at; the auth that comes after it has its say first, as everywhere in the app."""
    dependencies = [Depends(with_header), *others]
    app = foreign_app(goal_router(TenantHost(session_factory), prefix="/goals", dependencies=dependencies))
    assert _status_without_body(app, {}) == (401 if others else 499)
    assert _status_without_body(app, _bearer("good")) == 499


def _status_without_body(app: Any, more: dict[str, str]) -> int:
    """The answer to a POST whose body must not be asked for."""
    sent = []
    headers = [(name.lower().encode(), value.encode()) for name, value in more.items()]

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
        "headers": [*headers, (b"content-length", b"1000000")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "http_version": "1.1",
        "asgi": {"version": "3.0"},
    }
    asyncio.run(app(scope, receive, send))
    status: int = sent[0]["status"]
    return status


def test_openapi_shows_the_apps_auth_and_not_ours(session_factory: Sessions) -> None:
    """Its scheme is asked for by every goal route, and is the only one."""
    text = _app(session_factory).openapi()
    assert set(text["components"]["securitySchemes"]) == {"ForeignToken"}
    for path, operations in text["paths"].items():
        for operation in operations.values():
            asked = [name for one in operation.get("security", []) for name in one]
            assert asked == (["ForeignToken"] if path.startswith("/goals") else []), path


def test_each_mount_has_its_own_auth(session_factory: Sessions) -> None:
    """What guards one mount does not guard the other."""
    host = TenantHost(session_factory)
    guarded = goal_router(host, prefix="/guarded", dependencies=[Depends(signed_in)])
    client = TestClient(foreign_app(goal_router(host, prefix="/free"), guarded))
    assert [client.get(url).status_code for url in ("/free", "/guarded")] == [200, 401]
