"""Every refusal has one shape: a text for a person, and for a 422 what is wrong place by place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

EVENT = {"specversion": "1.0", "id": "e", "source": "s", "type": "t", "time": "2026-01-31T12:00:00Z", "data": {}}


def test_every_refusal_but_422_and_500_is_a_detail_alone(
    app: FastAPI, api: TestClient, client: Callable[..., TestClient], new_goal: Callable[..., str]
) -> None:
    """400, 401, 403, 404, 405, 409, 412 and 413 are {"detail": "<text>"} and nothing else."""
    goal = f"/goals/{new_goal(status='paused')}"
    share = {"account_id": "a", "allocation_percent": 101}
    answers = {
        400: api.post(f"{goal}/funding", json=share),
        401: TestClient(app).get(goal),
        403: client("events:write").get(goal),
        404: api.get("/goals/none"),
        405: api.put(goal),
        409: api.patch(goal, json={"status": "completed"}),
        412: api.patch(goal, json={"version": 99}),
        413: api.post("/goals", content=b" " * 2_000_001),
    }
    assert {code: answer.status_code for code, answer in answers.items()} == {code: code for code in answers}
    for answer in answers.values():
        assert answer.headers["Content-Type"] == "application/json"
        assert next(iter(answer.json())) == "detail"
        assert isinstance(answer.json()["detail"], str)
    refused = {"detail": "Total allocation would exceed 100%", "allocated_percent": 0.0, "left_percent": 100.0}
    assert answers[400].json() == refused
    assert all(list(answer.json()) == ["detail"] for status, answer in answers.items() if status != 400)


@pytest.mark.parametrize(
    ("method", "url", "arguments", "locs", "detail"),
    [
        ("POST", "/goals", {"content": b""}, [["body"]], "The body is missing"),
        (
            "POST",
            "/goals",
            {"content": b'{"a"'},
            [["body"]],
            "The body is not JSON: Expecting ':' delimiter: line 1 column 5 (char 4)",
        ),
        (
            "POST",
            "/goals",
            {"json": {"user_id": "u", "name": "n", "type": "savings", "target_amount": True}},
            [["body", "target_amount"]],
            "target_amount: must be a number or a decimal string",
        ),
        (
            "POST",
            "/goals",
            {"json": {"user_id": "u", "name": " ", "type": "savings", "target_amount": 1}},
            [["body", "name"]],
            "name: must not be blank",
        ),
        (
            "POST",
            "/goals",
            {"json": {"user_id": 1, "type": "savings", "target_amount": 1}},
            [["body", "user_id"], ["body", "name"]],
            "user_id: Input should be a valid string; name: Field required",
        ),
        ("POST", "/events", {"json": [EVENT, {**EVENT, "source": None}]}, [["body", 1]], "event 1: source is missing"),
        ("GET", "/goals?limit=0", {}, [["query", "limit"]], "limit: Input should be greater than or equal to 1"),
        (
            "GET",
            "/goals?cursor=x",
            {},
            [["query", "cursor"]],
            "cursor: is not one that a Link header gave for this list and these filters",
        ),
        (
            "GET",
            "/goals?type=debt&goal_type=savings",
            {},
            [["query", "goal_type"]],
            "goal_type: differs from type: give one of the two",
        ),
        (
            "POST",
            "/goals",
            {"json": {"user_id": "u", "name": "n", "type": "savings", "target_amount": 1, "status": None}},
            [["body", "status"]],
            "status: Input should be 'active' or 'paused'",
        ),
        (
            "POST",
            "/goals",
            {"json": {"user_id": "u", "name": "n", "type": "savings", "target_amount": 1, "status": "done"}},
            [["body", "status"]],
            "status: Input should be 'active' or 'paused'",
        ),
        (
            "POST",
            "/goals",
            {"json": {"user_id": "u", "name": "n", "type": "savings", "target_amount": 1, "status": "completed"}},
            [["body", "status"]],
            "status: a goal is created active or paused",
        ),
        (
            "PUT",
            "/provider-accounts/plaid/%00",
            {"json": {}},
            [["path", "provider_account_id"]],
            "provider_account_id: holds a control character",
        ),
        (
            "DELETE",
            "/goals/none",
            {"headers": {"If-Match": "7"}},
            [["header", "If-Match"]],
            "If-Match: must be * or ETags as they were given, in quotes, with commas between",
        ),
    ],
)
def test_a_422_names_its_fields_for_people_and_for_programs(
    api: TestClient, method: str, url: str, arguments: dict[str, Any], locs: list[Any], detail: str
) -> None:
    """`detail` is one text that names every field; `errors` has each with its place, its text and its type."""
    answer = api.request(method, url, **arguments)
    assert answer.status_code == 422
    body = answer.json()
    assert set(body) == {"detail", "errors"}
    assert body["detail"] == detail
    assert [problem["loc"] for problem in body["errors"]] == locs
    assert all(set(problem) == {"loc", "msg", "type"} for problem in body["errors"])
    assert all(problem["msg"] in detail for problem in body["errors"])
