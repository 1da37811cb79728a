"""The OpenAPI text describes what the documentation promises, and what is really taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

SUMMARIES = {
    ("post", "/goals"): "Create goal",
    ("get", "/goals"): "List goals",
    ("get", "/goals/{goal_id}"): "Get goal details",
    ("patch", "/goals/{goal_id}"): "Update goal",
    ("delete", "/goals/{goal_id}"): "Delete goal",
    ("get", "/goals/{goal_id}/progress"): "Get progress",
    ("post", "/goals/{goal_id}/milestones"): "Add milestone",
    ("get", "/goals/{goal_id}/milestones"): "List milestones",
    ("get", "/goals/{goal_id}/milestones/progress"): "Milestone progress",
    ("post", "/goals/{goal_id}/funding"): "Link account",
    ("get", "/goals/{goal_id}/funding"): "List funding sources",
    ("patch", "/goals/{goal_id}/funding/{account_id}"): "Update allocation",
    ("delete", "/goals/{goal_id}/funding/{account_id}"): "Remove account",
}


@pytest.fixture
def spec(api: TestClient) -> dict[str, Any]:
    """The OpenAPI text."""
    text: dict[str, Any] = api.get("/openapi.json").json()
    return text


def test_the_thirteen_documented_operations_are_there(spec: dict[str, Any]) -> None:
    """Each documented endpoint is described under its documented purpose."""
    found = {(method, path): spec["paths"][path][method]["summary"] for method, path in SUMMARIES}
    assert found == SUMMARIES


def test_every_operation_but_liveness_needs_a_key(spec: dict[str, Any]) -> None:
    """The security schemes are declared and asked for everywhere but at /health/live."""
    schemes = set(spec["components"]["securitySchemes"])
    for path, operations in spec["paths"].items():
        for operation in operations.values():
            asked = {name for one in operation.get("security", []) for name in one}
            assert asked == (set() if path == "/health/live" else schemes), path


def test_every_writing_operation_describes_its_body(spec: dict[str, Any]) -> None:
    """POST and PATCH declare a required JSON body with properties."""
    for path, operations in spec["paths"].items():
        for method in operations.keys() & {"post", "patch"}:
            body = operations[method]["requestBody"]
            assert body["required"], path
            schema = body["content"]["application/json"]["schema"]
            assert schema.get("properties") or schema.get("anyOf"), path


def test_the_examples_are_taken(api: TestClient, spec: dict[str, Any], new_goal: Callable[..., str]) -> None:
    """The example of each body, sent as it stands, is accepted."""
    goal_id = new_goal()
    ids = {"goal_id": goal_id, "account_id": "savings_001"}
    for method, path in (*SUMMARIES, ("post", "/events")):
        operation = spec["paths"][path][method]
        if "requestBody" in operation:
            content = operation["requestBody"]["content"]["application/json"]
            example = content.get("example") or content["schema"]["example"]
            response = api.request(method, path.format(**ids), json=example)
            assert response.status_code in {200, 201, 202}, (path, response.text)
            assert str(response.status_code) in operation["responses"]


def test_answers_have_the_described_keys(api: TestClient, spec: dict[str, Any], new_goal: Callable[..., str]) -> None:
    """The keys of the real answers are the ones that the OpenAPI text gives."""
    goal_id = new_goal()
    api.post(f"/goals/{goal_id}/milestones", json={"amount": 1})
    api.post(f"/goals/{goal_id}/funding", json={"account_id": "a", "allocation_percent": 1})
    for path in ("/goals/{goal_id}", "/goals/{goal_id}/progress", "/goals/{goal_id}/milestones/progress"):
        schema = spec["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        described = spec["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"]
        assert set(api.get(path.format(goal_id=goal_id)).json()) == set(described)
    for path in ("/goals", "/goals/{goal_id}/milestones", "/goals/{goal_id}/funding"):
        schema = spec["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        described = spec["components"]["schemas"][schema["items"]["$ref"].rpartition("/")[2]]["properties"]
        assert set(api.get(path.format(goal_id=goal_id)).json()[0]) == set(described)
