"""Refusals over REST name the field, change nothing, and never show a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from core.errors import AmountFollowsAccounts

GOAL: dict[str, Any] = {"user_id": "u", "name": "n", "type": "savings", "target_amount": 100}
NAN, INFINITE, MINUS_INFINITE = float("nan"), float("inf"), float("-inf")
NO_AMOUNTS: list[Any] = [NAN, INFINITE, MINUS_INFINITE, True, None, "", "abc", "1,000", "NaN", [], {}]
TOO_FINE_OR_TOO_MUCH: list[Any] = [0.001, "0.001", 1e13 * 2, "9" * 400, 10**400]
NO_TEXTS: list[Any] = [None, 12.0, True, [], "", "   ", "x" * 201, "a\0b", "\ud800", "a\nb"]
NO_TIMES: list[Any] = [20260101, True, "", "tomorrow", "2026-02-30", "2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z"]

BAD_GOALS: list[tuple[str, dict[str, Any]]] = [
    *(("user_id", {"user_id": value}) for value in NO_TEXTS),
    *(("name", {"name": value}) for value in NO_TEXTS),
    *(("type", {"type": value}) for value in (None, "gold", "SAVINGS", 1, [])),
    *(("target_amount", {"target_amount": value}) for value in NO_AMOUNTS + TOO_FINE_OR_TOO_MUCH + [0, -1]),
    *(("target_amount", {"type": "income", "target_amount": value}) for value in (0, -1)),
    ("target_amount", {"type": "debt", "target_amount": -1, "current_amount": 5}),
    *(
        ("current_amount", {"current_amount": value})
        for value in NO_AMOUNTS + TOO_FINE_OR_TOO_MUCH + [-1]
        if value is not None
    ),
    ("target_amount", {"currency": "JPY", "target_amount": 10.5}),
    *(("currency", {"currency": value}) for value in ("usd", "XXX", "", "DOLLAR", 840, None)),
    *(("deadline", {"deadline": value}) for value in [*NO_TIMES, "0001-01-01T00:00:00+14:00"]),
    *(("description", {"description": value}) for value in (1, "x" * 2001, "a\0b", "\udfff")),
    *(("status", {"status": value}) for value in ("done", "completed", "abandoned", None, 1)),
    *(("tracking", {"tracking": value}) for value in ("magic", 1, True)),
    *(("start_date", {"start_date": value}) for value in [*NO_TIMES, "2026-01-01T00:00:00Z"]),
    *(("auto_complete", {"auto_complete": value}) for value in ("yes", 1, None)),
    ("target_amount", {"type": "debt", "target_amount": 0, "current_amount": 0}),
]
BAD_CHANGES: list[tuple[str, dict[str, Any]]] = [
    *(("name", {"name": value}) for value in NO_TEXTS),
    *(("target_amount", {"target_amount": value}) for value in NO_AMOUNTS + TOO_FINE_OR_TOO_MUCH + [0]),
    *(("current_amount", {"current_amount": value}) for value in NO_AMOUNTS + TOO_FINE_OR_TOO_MUCH),
    *(("deadline", {"deadline": value}) for value in NO_TIMES),
    *(("description", {"description": value}) for value in (1, "x" * 2001, "a\0b")),
    *(("status", {"status": value}) for value in ("done", None, 1)),
    ("status", {"name": "A good name", "current_amount": 1, "status": "done"}),
]
BAD_MILESTONES: list[tuple[str, dict[str, Any]]] = [
    *(("amount", {"amount": value}) for value in NO_AMOUNTS + TOO_FINE_OR_TOO_MUCH),
    ("amount", {}),
    *(("amount", {"amount": value}) for value in (10000.01, 0, -0.01)),  # beyond the target, nothing and below
    ("amount", {"amount": 5000}),  # is there already
    *(("target_date", {"amount": 1, "target_date": value}) for value in NO_TIMES),
    *(("description", {"amount": 1, "description": value}) for value in (1, "x" * 2001, "a\0b")),
]
LINK: dict[str, Any] = {"account_id": "other", "allocation_percent": 10}
BAD_SHARES: list[Any] = [*NO_AMOUNTS, 0, -1, "-0.5", 1.00001, "33.33333"]
BAD_LINKS: list[tuple[str, dict[str, Any]]] = [
    *(("account_id", {"account_id": value}) for value in NO_TEXTS),
    *(("account_id", {"account_id": value}) for value in (".", "..", "a/..", "../a", "a/./b", "/..", "./")),
    *(("account_name", {"account_name": value}) for value in (1, "x" * 201, "a\0b")),
    *(("allocation_percent", {"allocation_percent": value}) for value in BAD_SHARES),
    *(("from", {"from": value}) for value in [*NO_TIMES, "9999-12-31", "9999-12-31T23:59:59Z"]),
    *(("whole", {"whole": value}) for value in ("yes", 1, None)),
]


@pytest.fixture
def goal_id(api: TestClient, new_goal: Callable[..., str]) -> str:
    """A goal with a milestone and a funding source, which the refused requests are to leave alone."""
    goal_id = new_goal(current_amount=2500, description="d", deadline="2027-01-01")
    assert api.post(f"/goals/{goal_id}/milestones", json={"amount": 5000}).status_code == 201
    link = {"account_id": "savings_001", "allocation_percent": 60}
    assert api.post(f"/goals/{goal_id}/funding", json=link).status_code == 201
    return goal_id


class Refuses:
    """Sends bad requests; each must be refused by name, and leave the tables as they were."""

    def __init__(self, api: TestClient, dump: Callable[[], str]) -> None:
        self.api = api
        self.dump = dump

    def naming(self, method: str, url: str, cases: list[tuple[str, dict[str, Any]]]) -> None:
        before = self.dump()
        for field, body in cases:
            response = self._send(method, url, body)
            assert response.status_code == 422, (body, response.text)
            problems = response.json()["errors"]
            assert [problem["loc"] for problem in problems] == [["body", field]], (body, problems)
            assert all(set(problem) == {"loc", "msg", "type"} for problem in problems)
        assert self.dump() == before

    def saying(self, status: int, detail: str, method: str, url: str, body: dict[str, Any]) -> None:
        before = self.dump()
        response = self._send(method, url, body)
        assert (response.status_code, response.json()["detail"]) == (status, detail)
        assert self.dump() == before

    def _send(self, method: str, url: str, body: dict[str, Any]) -> Any:
        response = self.api.request(method, url, content=_json(body))
        assert "Traceback" not in response.text
        assert ".py" not in response.text
        return response


def _json(body: dict[str, Any]) -> bytes:
    """As Python writes it, NaN included, which httpx would not."""
    return json.dumps(body).encode()


@pytest.fixture
def refuses(api: TestClient, dump: Callable[[], str]) -> Refuses:
    """Sends bad requests with the default tenant's key."""
    return Refuses(api, dump)


def test_a_bad_goal_is_refused(refuses: Refuses) -> None:
    """POST /goals names the field that is missing, does not parse or cannot be."""
    refuses.naming("POST", "/goals", [(field, {**GOAL, **change}) for field, change in BAD_GOALS])
    missing = [(name, {other: GOAL[other] for other in GOAL if other != name}) for name in GOAL]
    refuses.naming("POST", "/goals", missing)


def test_a_bad_change_is_refused(refuses: Refuses, goal_id: str) -> None:
    """PATCH /goals/{goal_id} names the field, and changes none of the good fields beside it."""
    refuses.naming("PATCH", f"/goals/{goal_id}", BAD_CHANGES)


def test_a_bad_milestone_is_refused(refuses: Refuses, goal_id: str) -> None:
    """A milestone beyond the span, a second one of the same amount, and what is no amount are refused."""
    refuses.naming("POST", f"/goals/{goal_id}/milestones", BAD_MILESTONES)


def test_a_milestone_outside_a_debt_is_refused(refuses: Refuses, new_goal: Callable[..., str]) -> None:
    """A debt from 8,500 to 1,000 takes milestones from 8,500 down to 1,000."""
    goal_id = new_goal(type="debt", target_amount=1000, current_amount=8500)
    cases: list[tuple[str, dict[str, Any]]] = [("amount", {"amount": amount}) for amount in (8500.01, 999.99)]
    refuses.naming("POST", f"/goals/{goal_id}/milestones", cases)


def test_a_bad_link_is_refused(refuses: Refuses, goal_id: str) -> None:
    """A share of nothing, an account id that is none, or a `from` in the future are refused by name."""
    cases = [(field, {**LINK, **change}) for field, change in BAD_LINKS]
    refuses.naming("POST", f"/goals/{goal_id}/funding", [*cases, ("allocation_percent", {"account_id": "a"})])


def test_a_bad_share_is_refused(refuses: Refuses, goal_id: str) -> None:
    """PATCH of an allocation takes what linking takes."""
    cases = [("allocation_percent", {"allocation_percent": value}) for value in BAD_SHARES]
    refuses.naming("PATCH", f"/goals/{goal_id}/funding/savings_001", [*cases, ("allocation_percent", {})])


@pytest.mark.parametrize("percent", [40.0001, 100.01, "1000000", 1e30])
def test_more_than_a_hundred_percent_is_the_documented_refusal(refuses: Refuses, goal_id: str, percent: Any) -> None:
    """Beyond 100% in total, or in one share, is 400 with the documented text."""
    text = "Total allocation would exceed 100%"
    body = {"account_id": "other", "allocation_percent": percent}
    refuses.saying(400, text, "POST", f"/goals/{goal_id}/funding", body)
    if percent != 40.0001:
        url = f"/goals/{goal_id}/funding/savings_001"
        refuses.saying(400, text, "PATCH", url, {"allocation_percent": percent})


def test_a_final_goal_takes_no_changes(api: TestClient, refuses: Refuses, goal_id: str) -> None:
    """Amounts, milestones and links of a completed goal can't be changed: 409, and nothing changes."""
    assert api.patch(f"/goals/{goal_id}", json={"status": "completed"}).status_code == 200
    text = "The goal is completed, which is final; reopen it first"
    refuses.saying(409, text, "PATCH", f"/goals/{goal_id}", {"current_amount": 1})
    refuses.saying(409, text, "PATCH", f"/goals/{goal_id}", {"target_amount": 1})
    refuses.saying(409, text, "POST", f"/goals/{goal_id}/milestones", {"amount": 1})
    refuses.saying(409, text, "POST", f"/goals/{goal_id}/funding", LINK)


def test_a_goal_that_follows_balances_takes_no_manual_amount(
    api: TestClient, refuses: Refuses, new_goal: Callable[..., str], apply_stream: Callable[[], Any]
) -> None:
    """Once a linked account has a balance, setting the amount of a balance goal is 409, and nothing changes."""
    goal_id = new_goal(tracking="balance")
    assert api.post(f"/goals/{goal_id}/funding", json=LINK).status_code == 201
    moment = "2026-01-31T12:00:00Z"
    data = {"account_id": LINK["account_id"], "current": 5000, "currency": "USD", "as_of": moment}
    envelope = {"specversion": "1.0", "id": "e", "source": "bank", "type": "milepost.balance.reported", "time": moment}
    assert api.post("/events", json={**envelope, "data": data}).status_code == 202
    assert apply_stream().dead_letters == 0
    text = AmountFollowsAccounts().args[0]
    refuses.saying(409, text, "PATCH", f"/goals/{goal_id}", {"current_amount": 1})
    assert api.get(f"/goals/{goal_id}").json()["current_amount"] == 500.00


def test_a_refused_status_move_takes_the_other_changes_with_it(
    api: TestClient, refuses: Refuses, new_goal: Callable[..., str]
) -> None:
    """A PATCH whose status move is not allowed is 409, and its good fields are not kept."""
    goal_id = new_goal(status="paused")
    body = {"name": "Changed", "current_amount": 5, "status": "completed"}
    refuses.saying(409, "A goal that is paused cannot become completed", "PATCH", f"/goals/{goal_id}", body)
    assert api.get(f"/goals/{goal_id}").json()["name"] == "Emergency Fund"


def test_every_problem_of_a_body_is_named_at_once(api: TestClient) -> None:
    """A body with four bad fields gets four problems."""
    body = {"user_id": 1, "name": True, "type": "x", "target_amount": None}
    problems = api.post("/goals", json=body).json()["errors"]
    assert {problem["loc"][1] for problem in problems} == set(body)
