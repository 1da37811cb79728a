"""One Idempotency-Key is one key of the tenant, over our own API and through every app that hosts its goals."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient

from api.hosting import goal_router
from api.idempotency import route_of
from core.store.database import Sessions
from tests.api.conftest import SAVINGS
from tests.api.foreign import TenantHost, foreign_app

KEY = {"Idempotency-Key": "8e03978e-40d5-43e8-bc93-6894a57f9324"}
ACCOUNT = "a/goals/ü b"
CHANGES: list[tuple[str, str, Any]] = [
    ("POST", "", SAVINGS),
    ("PATCH", "/{goal_id}", {"current_amount": 70}),
    ("DELETE", "/{goal_id}", None),
    ("POST", "/{goal_id}/milestones", {"amount": 60}),
    ("POST", "/{goal_id}/milestones/check", None),
    ("PATCH", "/{goal_id}/funding/a%2Fgoals%2F%C3%BC%20b", {"allocation_percent": 7}),
    ("DELETE", "/{goal_id}/funding/a%2Fgoals%2F%C3%BC%20b", None),
]
MOUNTS = ["/v1/goals", "/goals/goals", "/outer/goals", "/users/7/goals"]


def _mount(sessions: Sessions, url: str) -> TestClient:
    """An app that has the goals at this URL: by the prefix, below another app, or below a router with a parameter."""
    host = TenantHost(sessions)
    outer = FastAPI()
    if url == "/outer/goals":
        outer.mount("/outer", foreign_app(goal_router(host, prefix="/goals")))
    elif url == "/users/7/goals":
        users = APIRouter(prefix="/users/{user}")
        users.include_router(goal_router(host, prefix="/goals"))
        outer.include_router(users)
    else:
        outer.include_router(goal_router(host, prefix=url))
    return TestClient(outer)


def test_a_key_of_our_own_api_is_known_to_a_host(session_factory: Sessions, api: TestClient) -> None:
    """The same request gets the first answer, with the addresses of the host; another request is refused."""
    clients = {mount: _mount(session_factory, mount) for mount in MOUNTS}
    for number, (method, path, body) in enumerate(CHANGES):
        key = {"Idempotency-Key": f"key {number}"}
        goal_id = api.post("/goals", json={**SAVINGS, "current_amount": 20}).json()["id"]
        link = {"account_id": ACCOUNT, "allocation_percent": 5}
        assert api.post(f"/goals/{goal_id}/funding", json=link).status_code == 201
        below = path.format(goal_id=goal_id)
        first = api.request(method, f"/goals{below}", json=body, headers=key)
        assert first.is_success, (method, path)
        other = "DELETE" if method == "PATCH" else "PATCH"
        for mount, client in clients.items():
            again = client.request(method, mount + below, json=body, headers=key)
            assert (again.status_code, again.content) == (first.status_code, first.content), (method, path, mount)
            assert again.headers["Idempotency-Replayed"] == "true", (method, path, mount)
            assert again.headers.get("ETag") == first.headers.get("ETag"), (method, path, mount)
            if path == "":
                assert again.headers["Location"] == f"{mount}/{first.json()['id']}"
            refused = client.request(other, f"{mount}/{goal_id}", json={}, headers=key)
            assert refused.status_code == 422, (method, path, mount)
        third = api.request(method, f"/goals{below}", json=body, headers=key)
        assert third.headers.get("Location") == first.headers.get("Location"), (method, path)


def test_a_key_of_a_host_is_known_to_our_own_api(session_factory: Sessions, api: TestClient) -> None:
    """Whichever came first: one goal is made."""
    first = _mount(session_factory, "/v1/goals").post("/v1/goals", json=SAVINGS, headers=KEY)
    again = api.post("/goals", json=SAVINGS, headers=KEY)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == f"/goals/{first.json()['id']}"
    assert len(api.get("/goals").json()) == 1


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/goals", "PATCH /goals"),
        ("/goals/g/funding/a/b", "PATCH /goals/g/funding/a/b"),
        ("/goals/g/funding/a%2Fb", "PATCH /goals/g/funding/a%252Fb"),
        ("/goals/\0ü", "PATCH /goals/%00%C3%BC"),
        ("/goals/\udcff", "PATCH /goals/%ED%B3%BF"),
    ],
)
def test_the_name_of_a_request(path: str, name: str) -> None:
    """It is the method and the path, encoded but for its slashes, so that two paths never have one name."""
    assert route_of("PATCH", path) == name
