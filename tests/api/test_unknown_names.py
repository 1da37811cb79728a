"""What is misspelt or made up in a request is refused with the nearest name that exists, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import MakeClient
from tests.api.openapi_text import body_schema, operations_of

GOAL = {"user_id": "u", "name": "Fund", "type": "savings", "target_amount": 100}
# Those without a key: providers and load balancers add parameters of their own to their addresses.
LENIENT = ("/health/live", "/webhooks/")


@pytest.fixture
def api(client: MakeClient) -> TestClient:
    """A client that may do all."""
    return client("admin")


def refused(response: Any) -> list[tuple[list[str], str, str]]:
    """The problems of a 422."""
    assert response.status_code == 422, response.text
    return [(each["loc"], each["type"], each["msg"]) for each in response.json()["errors"]]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("user", "user_id"),
        ("userId", "user_id"),
        ("User-ID", "user_id"),
        ("goaltype", "goal_type"),
        ("state", "status"),
        ("LIMIT", "limit"),
        ("cursor_", "cursor"),
    ],
)
def test_a_misspelt_filter_lists_nobodys_goals(api: TestClient, given: str, meant: str) -> None:
    """Without the filter the list would have every user's."""
    assert api.post("/goals", json=GOAL).status_code == 201
    ((loc, kind, message),) = refused(api.get("/goals", params={given: "u"}))
    assert (loc, kind, message) == (["query", given], "unknown_parameter", f"is not known: did you mean {meant}?")


def test_a_name_like_no_other_gets_all_that_there_are(api: TestClient) -> None:
    """In the detail too, which is for a person."""
    response = api.get("/goals?zzz=1")
    ((_, _, message),) = refused(response)
    assert message == "is not known: there are cursor, external_id, goal_type, include, limit, status, type, user_id"
    assert response.json()["detail"] == f"zzz: {message}"


def routes_of(api: TestClient) -> list[tuple[str, str, set[str]]]:
    """Every route of the OpenAPI text: its method, its path with made-up ids, and its fields if it takes a body."""
    found = []
    spec = api.get("/openapi.json").json()
    for method, path, _ in operations_of(spec):
        fields = body_schema(spec, method, path).get("properties", ())
        address = path.replace("{shard}", "0").replace("{day}", "2026-01-01").replace("{", "").replace("}", "")
        found.append((method.upper(), address, set(fields)))
    return found


def test_every_route_with_a_key_refuses_an_unknown_parameter(api: TestClient) -> None:
    """Before it looks for what the path names."""
    checked = 0
    for method, path, _ in routes_of(api):
        if path.startswith(LENIENT):
            continue
        places = [loc for loc, _, _ in refused(api.request(method, path, params={"dry_rum": "1"}))]
        assert places == [["query", "dry_rum"]], (method, path)
        checked += 1
    assert checked > 40


def test_a_parameter_that_is_given_twice_is_refused(api: TestClient) -> None:
    """Whatever its values are, on any route: one of the two would not count. A problem of another one is told too."""
    twice, odd = "is given twice", "must not hold a NUL character"
    for query, found in (
        ("user_id=a&user_id=b", [("user_id", twice)]),
        ("user_id=a&user_id=a&user_id=", [("user_id", twice)]),
        ("limit=1&user_id=a&limit=2&user_id=b", [("limit", twice), ("user_id", twice)]),
        ("user_id=%00&limit=1&limit=1", [("user_id", odd), ("limit", twice)]),
    ):
        assert refused(api.get(f"/goals?{query}")) == [(["query", name], "value_error", text) for name, text in found]
    path = "/goals/none/funding/a?correct_from=2026-01-01&correct_from=2026-01-02"
    assert refused(api.delete(path)) == [(["query", "correct_from"], "value_error", twice)]
    assert api.get("/goals?user_id=a&limit=1").status_code == 200


def test_a_live_check_may_have_a_parameter_twice(api: TestClient) -> None:
    """Load balancers add what they like."""
    assert api.get("/health/live?a=1&a=2").status_code == 200


def test_every_body_with_named_fields_refuses_an_unknown_one(api: TestClient, new_goal: Callable[..., str]) -> None:
    """Together with all else that is wrong with it. Events and pulled bodies have no such list, and ignore unknowns."""
    goal_id, checked = new_goal(), 0
    for method, path, fields in routes_of(api):
        if not fields or path.startswith("/events"):
            continue
        response = api.request(method, path.replace("goal_id", goal_id), json={"colour_": 1})
        if response.status_code == 404:  # it is about something that the path names
            continue
        assert (["body", "colour_"], "unknown_field") in [problem[:2] for problem in refused(response)], (method, path)
        checked += 1
    assert checked >= 6


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"dead_line": "2027-01-01"}, ("dead_line", "unknown_field", "is not known: did you mean deadline?")),
        ({"currentAmount": 5}, ("currentAmount", "unknown_field", "is not known: did you mean current_amount?")),
        ({"currency": "EUR"}, ("currency", "fixed_field", "stays what it was at creation")),
        ({"user_id": "other"}, ("user_id", "fixed_field", "stays what it was at creation")),
    ],
)
def test_a_change_that_would_do_nothing_is_refused(
    api: TestClient, new_goal: Callable[..., str], body: dict[str, object], problem: tuple[str, str, str]
) -> None:
    """Whole: a good field beside it changes nothing either."""
    goal_id = new_goal()
    before = api.get(f"/goals/{goal_id}").text
    ((loc, kind, message),) = refused(api.patch(f"/goals/{goal_id}", json={**body, "name": "Other"}))
    assert (loc[1], kind, message) == problem
    assert api.get(f"/goals/{goal_id}").text == before


def test_all_problems_come_at_once_and_the_answer_stays_small(api: TestClient) -> None:
    """Thousands of unknown fields, one of them as long as a page, and a required one that is missing."""
    body = {**GOAL, **{f"x{n}": n for n in range(4_000)}, "y" * 5_000: 1}
    del body["name"]
    response = api.post("/goals", json=body)
    places = [loc[1] for loc, _, _ in refused(response)]
    assert "name" in places
    assert len(places) == 11
    assert len(response.content) < 6_000


def test_events_ignore_unknown_fields(api: TestClient) -> None:
    """A producer may send more than we know, in the envelope and in the data."""
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "bank",
        "type": "milepost.transaction.recorded",
        "time": "2026-01-01T12:00:00Z",
        "mood": "good",
        "data": {
            "account_id": "a",
            "transaction_id": "t",
            "amount": 1,
            "currency": "USD",
            "posted_at": "2026-01-01T12:00:00Z",
            "colour": "red",
        },
    }
    assert api.post("/events", json=[event]).status_code == 202
