"""Every request and answer of the documented API reference, sent, and compared with what comes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from tests.documented.goals import BLOCKS, Exchange, assert_as_documented, exchange, literal

HEADINGS = [heading for section, heading in BLOCKS if section == "API Reference"]
NOT_THERE = "goal_abc123"
ACCOUNT = "savings_001"

Act = Callable[..., Response]


@pytest.fixture
def send(api: TestClient) -> Act:
    """Sends a documented request, its body as it is written, for a goal."""

    def send(documented: Exchange, goal_id: str = NOT_THERE, account_id: str = ACCOUNT) -> Response:
        return api.request(
            documented.method,
            documented.target.format(goal_id=goal_id, account_id=account_id),
            content=documented.body,
            headers={"Content-Type": "application/json"} if documented.body else {},
        )

    return send


@pytest.fixture
def goal(send: Act) -> Callable[..., str]:
    """Creates the documented goal, with the given changes, by the documented requests; returns its id."""

    def make(amount: float = 0.00, milestones: list[dict[str, Any]] | None = None) -> str:
        create = exchange("Create Goal")
        body = json.dumps({**literal(create.body), "current_amount": amount})
        goal_id: str = send(Exchange(create.method, create.target, body, [])).json()["id"]
        for milestone in milestones or []:
            add = exchange("Add Milestone")
            assert send(Exchange(add.method, add.target, json.dumps(milestone), []), goal_id).status_code == 201
        return goal_id

    return make


@pytest.fixture
def link(send: Act) -> Callable[[str, str, str, float], None]:
    """Links an account to a goal by the documented request."""

    def make(goal_id: str, account_id: str, account_name: str, percent: float) -> None:
        documented = exchange("Link Account to Goal")
        body = {"account_id": account_id, "account_name": account_name, "allocation_percent": percent}
        sent = send(Exchange(documented.method, documented.target, json.dumps(body), []), goal_id)
        assert sent.status_code == 201, sent.text

    return make


def assert_answered(documented: Exchange, status: int, answer: Response) -> None:
    """The answer has the documented status and the documented body."""
    assert answer.status_code == status, answer.text
    shown = documented.response(status).body
    if shown is None:
        assert status != 204 or answer.content == b""
    else:
        assert_as_documented(shown, answer.json())


def plan(*amounts: float) -> list[dict[str, Any]]:
    """The bodies of milestones."""
    return [{"amount": amount} for amount in amounts]


def shown_milestones(heading: str) -> list[dict[str, Any]]:
    """The bodies of the milestones that a documented answer shows."""
    body = exchange(heading).response(200).body
    found = body if isinstance(body, list) else body["milestones"]
    return [{name: each[name] for name in ("amount", "description", "target_date")} for each in found]


def test_create_goal(send: Act) -> None:
    """201, and the goal as it was sent with id, times and no milestones."""
    documented = exchange("Create Goal")
    answer = send(documented)
    assert_answered(documented, 201, answer)
    assert answer.headers["Location"] == f"/goals/{answer.json()['id']}"


def test_list_goals(send: Act, goal: Callable[..., str]) -> None:
    """200, and an array of goals."""
    goal()
    assert_answered(exchange("List Goals"), 200, send(exchange("List Goals")))


def test_get_goal(send: Act, goal: Callable[..., str]) -> None:
    """200, and the goal with its milestones, the first one reached."""
    goal_id = goal(2500.00, shown_milestones("Get Goal"))
    assert_answered(exchange("Get Goal"), 200, send(exchange("Get Goal"), goal_id))


def test_update_goal(send: Act, goal: Callable[..., str]) -> None:
    """200, and the goal with its new amount."""
    assert_answered(exchange("Update Goal"), 200, send(exchange("Update Goal"), goal()))


def test_delete_goal(send: Act, goal: Callable[..., str]) -> None:
    """204 and no body; the goal is gone, and deleting it again is 404."""
    goal_id = goal()
    documented = exchange("Delete Goal")
    assert_answered(documented, 204, send(documented, goal_id))
    assert_answered(documented, 404, send(documented, goal_id))
    assert send(exchange("Get Goal"), goal_id).status_code == 404


def test_get_goal_progress(send: Act, goal: Callable[..., str]) -> None:
    """200, and how far the goal is; before a whole month there is no projected date."""
    documented = exchange("Get Goal Progress")
    answer = send(documented, goal(6500.00))
    shown = dict(documented.response(200).body)
    del shown["projected_completion_date"]
    assert answer.status_code == 200
    assert_as_documented(shown, answer.json())
    assert answer.json()["projected_completion_date"] is None


def test_add_milestone(send: Act, goal: Callable[..., str]) -> None:
    """201, and the milestone as it was sent, not reached."""
    assert_answered(exchange("Add Milestone"), 201, send(exchange("Add Milestone"), goal()))


def test_list_milestones(send: Act, goal: Callable[..., str]) -> None:
    """200, and an array of milestones by amount."""
    goal_id = goal(2500.00, shown_milestones("List Milestones"))
    assert_answered(exchange("List Milestones"), 200, send(exchange("List Milestones"), goal_id))


def test_get_milestone_progress(send: Act, goal: Callable[..., str]) -> None:
    """200, and how many are reached and which one comes next."""
    following = shown_milestones("List Milestones")[1]
    goal_id = goal(2500.00, [*plan(1000.00, 2500.00), following, *plan(7500.00)])
    documented = exchange("Get Milestone Progress")
    assert_answered(documented, 200, send(documented, goal_id))


def test_link_account_to_goal(send: Act, goal: Callable[..., str], link: Callable[..., None]) -> None:
    """201, and the link; 400 with the documented text where the shares would exceed 100%."""
    documented = exchange("Link Account to Goal")
    assert_answered(documented, 201, send(documented, goal()))
    taken = goal()
    link(taken, "checking_001", "Primary Checking", 40.01)
    refused = send(documented, taken)
    assert_answered(documented, 400, refused)
    assert refused.json().items() >= documented.response(400).body.items()


def test_get_goal_funding(send: Act, goal: Callable[..., str], link: Callable[..., None]) -> None:
    """200, and an array of links in the order of linking."""
    goal_id = goal()
    link(goal_id, ACCOUNT, "High Yield Savings", 60.0)
    link(goal_id, "checking_001", "Primary Checking", 40.0)
    assert_answered(exchange("Get Goal Funding"), 200, send(exchange("Get Goal Funding"), goal_id))


def test_update_account_allocation(send: Act, goal: Callable[..., str], link: Callable[..., None]) -> None:
    """200, and the link with its new share; 400 where the shares would exceed 100%; 404 for an account not linked."""
    goal_id = goal()
    link(goal_id, ACCOUNT, "High Yield Savings", 60.0)
    documented = exchange("Update Account Allocation")
    assert_answered(documented, 200, send(documented, goal_id))
    link(goal_id, ACCOUNT, "High Yield Savings", 60.0)
    link(goal_id, "checking_001", "Primary Checking", 40.0)
    assert_answered(documented, 400, send(documented, goal_id))
    assert_answered(documented, 404, send(documented, goal_id, "another_account"))


def test_remove_account_from_goal(send: Act, goal: Callable[..., str], link: Callable[..., None]) -> None:
    """204 and no body; the link is gone, and removing it again is 404."""
    goal_id = goal()
    link(goal_id, ACCOUNT, "High Yield Savings", 60.0)
    documented = exchange("Remove Account from Goal")
    assert_answered(documented, 204, send(documented, goal_id))
    assert send(exchange("Get Goal Funding"), goal_id).json() == []
    assert_answered(documented, 404, send(documented, goal_id))


@pytest.mark.parametrize("heading", [name for name in HEADINGS if name not in {"Create Goal", "List Goals"}])
def test_a_goal_that_is_not_there(send: Act, heading: str) -> None:
    """404 on every endpoint below a goal, and a text that says what was not found."""
    documented = exchange(heading)
    assert "goal" in documented.response(404).when
    answer = send(documented, NOT_THERE)
    assert_answered(documented, 404, answer)
    assert answer.json() == {"detail": "Goal not found"}


def test_every_endpoint_is_tested() -> None:
    """There are thirteen, each with a test of its name."""
    assert len(HEADINGS) == 13
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {heading.lower().replace(" ", "_") for heading in HEADINGS} <= tests
