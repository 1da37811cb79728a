"""Two spellings of one field: either will do, both may be given if they agree, and if not the second is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.api.openapi_text import body_schema

GOAL = {"user_id": "u", "name": "n", "target_amount": 100}


@pytest.fixture
def funded(api: TestClient, new_goal: Callable[..., str]) -> str:
    """The path of a funding source that has 60% of an account."""
    path = f"/goals/{new_goal()}/funding"
    assert api.post(path, json={"account_id": "a", "allocation_percent": 60}).status_code == 201
    return f"{path}/a"


@pytest.mark.parametrize(
    "spelled", [{"type": "debt"}, {"goal_type": "debt"}, {"goal_type": "debt", "type": "debt"}], ids=str
)
def test_a_goal_is_created_under_either_spelling(api: TestClient, spelled: dict[str, str]) -> None:
    """`goal_type` is what `type` is; the answer has `type`."""
    answer = api.post("/goals", json=GOAL | spelled)
    assert answer.status_code == 201
    assert answer.json()["type"] == "debt"
    assert "goal_type" not in answer.json()


@pytest.mark.parametrize(
    "spelled",
    [
        {"allocation_percent": 70},
        {"new_allocation_percent": 70},
        {"new_allocation_percent": 70.0, "allocation_percent": 70},
    ],
    ids=str,
)
def test_a_share_is_changed_under_either_spelling(api: TestClient, funded: str, spelled: dict[str, Any]) -> None:
    """`new_allocation_percent` is what `allocation_percent` is."""
    answer = api.patch(funded, json=spelled)
    assert (answer.status_code, answer.json()["allocation_percent"]) == (200, 70.0)


def test_two_spellings_that_differ_are_refused(api: TestClient, funded: str, dump: Callable[[], str]) -> None:
    """The second is named, and nothing is changed."""
    before = dump()
    refused = [
        api.post("/goals", json=GOAL | {"type": "debt", "goal_type": "savings"}),
        api.post("/goals", json=GOAL | {"type": None, "goal_type": "savings"}),
        api.patch(funded, json={"allocation_percent": 70, "new_allocation_percent": 70.01}),
        api.get("/goals?type=debt&goal_type=savings"),
    ]
    seconds = [("body", "goal_type", "type")] * 2
    seconds += [("body", "new_allocation_percent", "allocation_percent"), ("query", "goal_type", "type")]
    for answer, (place, second, first) in zip(refused, seconds, strict=True):
        assert answer.status_code == 422
        assert answer.json()["detail"] == f"{second}: differs from {first}: give one of the two"
        assert answer.json()["errors"][0]["loc"] == [place, second]
    assert dump() == before


def test_a_field_that_is_missing_is_missed_under_its_first_name(api: TestClient, funded: str) -> None:
    """Without either spelling, and with a value that cannot be, the refusal names the documented one."""
    for answer, field in (
        (api.post("/goals", json=GOAL), "type"),
        (api.post("/goals", json=GOAL | {"goal_type": "none"}), "type"),
        (api.patch(funded, json={}), "allocation_percent"),
        (api.patch(funded, json={"new_allocation_percent": 0}), "allocation_percent"),
    ):
        assert answer.status_code == 422
        assert [problem["loc"] for problem in answer.json()["errors"]] == [["body", field]]


def test_goals_are_listed_by_either_spelling(api: TestClient, new_goal: Callable[..., str]) -> None:
    """Both are the same filter, so that a page found under one can be followed under the other."""
    debts = [new_goal(type="debt") for _ in range(3)]
    new_goal(type="savings")
    first, second, both = (
        api.get(f"/goals?{asked}&limit=2") for asked in ("type=debt", "goal_type=debt", "type=debt&goal_type=debt")
    )
    assert [goal["id"] for goal in first.json()] == debts[:2]
    assert first.json() == second.json() == both.json()
    assert first.headers["Link"] == second.headers["Link"] == both.headers["Link"]
    following = second.headers["Link"].partition(">")[0].lstrip("<")
    assert "type=debt" in following
    for path in (following, following.replace("type=debt", "goal_type=debt")):
        assert [goal["id"] for goal in api.get(path).json()] == debts[2:]
    assert api.get(following.replace("type=debt", "goal_type=savings")).status_code == 422
    assert api.get("/goals?goal_type=none").status_code == 422


def test_the_documented_spelling_is_described(app: FastAPI) -> None:
    """The OpenAPI text has the documented names as before, needed as before, and tells of the others."""
    spec = app.openapi()
    for method, path, field, second in (
        ("post", "/goals", "type", "goal_type"),
        ("patch", "/goals/{goal_id}/funding/{account_id}", "allocation_percent", "new_allocation_percent"),
    ):
        schema = body_schema(spec, method, path)
        assert field in schema["required"]
        assert second in schema["properties"][field]["description"]
    assert {"type", "goal_type"} <= {parameter["name"] for parameter in spec["paths"]["/goals"]["get"]["parameters"]}
