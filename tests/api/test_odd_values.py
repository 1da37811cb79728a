"""Values that no caller means, in every parameter of every route: each gets an answer below 500."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import MakeClient
from tests.api.openapi_text import ENDLESS

NUL, SURROGATE, NOT_UTF8 = "%00", "%ED%A0%80", "%FF%FE"
VALUES = [NUL, f"a{NUL}b", SURROGATE, NOT_UTF8, "", "a" * 3_000, "1e400", "9" * 400]


def parameters(api: TestClient) -> list[tuple[str, str, str, str]]:
    """(method, path, in, name) of each parameter in the path or in the query of each route."""
    found = []
    for path, methods in api.get("/openapi.json").json()["paths"].items():
        for method, about in methods.items():
            for each in about.get("parameters", ()):
                if each["in"] in {"path", "query"}:
                    found.append((method.upper(), path, each["in"], each["name"]))
    return found


def filled(path: str, name: str = "", value: str = "") -> str:
    """The path with a value for one of its parameters, and harmless ones for the others."""
    harmless = {"shard": "0", "day": "2026-01-01", "provider": "plaid"}
    for part in [each.split("}")[0] for each in path.split("{")[1:]]:
        known = part.split(":")[0]
        path = path.replace(f"{{{part}}}", value if known == name else harmless.get(known, "x"))
    return path


@pytest.mark.parametrize("value", VALUES)
def test_no_value_of_a_parameter_is_a_fault_of_ours(api: TestClient, value: str) -> None:
    """Alone in its place, with harmless values in all others."""
    checked, faults = 0, []
    for method, path, place, name in parameters(api):
        url = filled(path, name, value) if place == "path" else f"{filled(path)}?{name}={value}"
        status = api.request("HEAD" if path == ENDLESS else method, url).status_code
        checked += 1
        if status >= 500:
            faults.append((status, method, path, name))
    assert checked > 80
    assert not faults


def forged(tenant: str, name: list[str], position: str, filters: dict[str, str]) -> str:
    """A cursor with the seal that anybody can compute."""
    cursor = base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")
    text = json.dumps([tenant, name, filters, cursor])
    return f"{cursor}.{hashlib.sha256(text.encode()).hexdigest()[:16]}"


POSITIONS = [
    "\x00",
    "x\x00",
    "2026-01-01T00:00:00+00:00 \x00",
    "2026-01-01T00:00:00+00:00 x",
    "2026-01-01T00:00:00+00:00",
    "2026-99-99T00:00:00+00:00 x",
    "0001-01-01T00:00:00+14:00 x",
    "9999-12-31T23:59:59-14:00 x",
    "2026-01-01",
    "",
    " ",
    "-1",
    "9" * 400,
    "1e5",
    "0 0-0",
    "0 99999999999999999999-1",
    "0:1-1",
    "\ud7ff\uffff",
]
LISTS: dict[str, list[str]] = {
    "/goals": ["goals"],
    "/goals/{goal_id}/history": ["goals", "{goal_id}", "history"],
    "/goals/{goal_id}/snapshots": ["goals", "{goal_id}", "snapshots"],
    "/goals/{goal_id}/milestones": ["goals", "{goal_id}", "milestones"],
    "/goals/{goal_id}/funding": ["goals", "{goal_id}", "funding"],
    "/accounts": ["accounts"],
    "/accounts/a/reports": ["accounts", "a", "reports"],
    "/accounts/a/allocations": ["accounts", "a", "allocations"],
    "/dead-letters": ["dead-letters"],
    "/refresh-requests": ["refresh-requests"],
    "/provider-accounts": ["provider-accounts"],
    "/relinks": ["relinks"],
    "/events/unapplied": ["events", "unapplied"],
    "/endpoints/{endpoint_id}/attempts": ["attempts", "{endpoint_id}"],
}


@pytest.fixture
def api(client: MakeClient) -> TestClient:
    """A client that may do all."""
    return client("admin")


@pytest.fixture
def goal_with_account(api: TestClient, new_goal: Callable[..., str], apply_stream: Callable[[], Any]) -> str:
    """A goal to which the account `a` is linked."""
    data = {"account_id": "a", "current": 5, "currency": "USD", "as_of": "2026-01-01T00:00:00Z"}
    about = {"specversion": "1.0", "id": "1", "source": "bank", "time": "2026-01-01T00:00:00Z"}
    assert api.post("/events", json=[{**about, "type": "milepost.balance.reported", "data": data}]).status_code == 202
    apply_stream()
    goal_id = new_goal()
    assert api.post(f"/goals/{goal_id}/funding", json={"account_id": "a", "allocation_percent": 5}).status_code == 201
    return goal_id


@pytest.mark.parametrize("path", LISTS)
def test_a_forged_cursor_is_no_fault_of_ours(api: TestClient, goal_with_account: str, path: str) -> None:
    """Its seal is of public values, so anybody can make one; what is in it is checked like any other text."""
    endpoint_id = ""
    if "endpoint_id" in path:
        endpoint_id = api.post("/endpoints", json={"url": "https://app.example/"}).json()["id"]
    ids = {"goal_id": goal_with_account, "endpoint_id": endpoint_id}
    name = [part.format(**ids) for part in LISTS[path]]
    for position in POSITIONS:
        cursor = forged("default", name, position, {})
        response = api.get(path.format(**ids), params={"cursor": cursor})
        assert response.status_code in {200, 422}, (position, response.text)
        if "\x00" in position:
            assert response.json()["errors"][0]["loc"] == ["query", "cursor"]


def test_every_list_is_checked(api: TestClient) -> None:
    """Those that have a cursor."""
    assert len(LISTS) == len([name for *_, name in parameters(api) if name == "cursor"])
