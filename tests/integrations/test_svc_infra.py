"""The goals on an application of svc-infra's, and what its middlewares and handlers do to our answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException, Request
from fastapi.testclient import TestClient
from svc_infra.api.fastapi.setup import get_version_app

from milepost import add_goals
from milepost.sync import Client, GoalManager
from tests.documented.goals import BLOCKS, assert_as_documented, exchange, literal
from tests.serving import serving

Hosted = Callable[..., TestClient]
GOAL = {"user_id": "user_123", "name": "Emergency Fund", "type": "savings", "target_amount": 10000.00}
RATE_LIMIT = 120


def send(client: TestClient, heading: str, goal_id: str = "", account_id: str = "savings_001") -> Any:
    """The answer to a documented request."""
    documented = exchange(heading)
    target = documented.target.format(goal_id=goal_id, account_id=account_id)
    headers = {"Content-Type": "application/json"} if documented.body else {}
    return client.request(documented.method, target, content=documented.body, headers=headers)


def test_the_thirteen_documented_routes_answer(hosted: Hosted) -> None:
    """Each documented request has its documented status and the documented fields."""
    client = hosted()
    goal_id = send(client, "Create Goal").json()["id"]
    last = ["Remove Account from Goal", "Delete Goal"]
    headings = [heading for section, heading in BLOCKS if section == "API Reference" and heading not in last]
    assert len(headings + last) == 13
    for heading in headings + last:
        documented = exchange(heading)
        answer = send(client, heading, goal_id)
        good = documented.responses[0]
        assert answer.status_code == good.status, (heading, answer.text)
        shown, found = good.body, answer.json() if answer.content else None
        if isinstance(shown, list):
            shown, found = shown[0], found[0]
        assert shown is None or set(shown) <= set(found), heading


def test_refusals_are_ours(hosted: Hosted) -> None:
    """A refused request has the body it has everywhere, not one of the host's making."""
    client = hosted()
    goal_id = client.post("/goals", json=GOAL).json()["id"]
    full = {"account_id": "checking_001", "allocation_percent": 100}
    assert client.post(f"/goals/{goal_id}/funding", json=full).status_code == 201
    refused = send(client, "Link Account to Goal", goal_id)
    documented = exchange("Link Account to Goal").response(400).body
    left = {"allocated_percent": 100.0, "left_percent": 0.0}
    assert (refused.status_code, refused.json()) == (400, documented | left)
    missing = client.get("/goals/goal_abc123")
    assert (missing.status_code, missing.json()) == (404, {"detail": "Goal not found"})
    wrong = client.post("/goals", json={**GOAL, "target_amount": -1})
    assert (wrong.status_code, wrong.json()["errors"][0]["loc"]) == (422, ["body", "target_amount"])
    client.patch(f"/goals/{goal_id}", json={"status": "completed"})
    final = client.patch(f"/goals/{goal_id}", json={"status": "active"})
    assert (final.status_code, final.json()) == (409, {"detail": "A goal that is completed cannot become active"})
    assert {each.headers["Content-Type"] for each in (refused, missing, wrong, final)} == {"application/json"}


def test_amounts_keep_their_digits(hosted: Hosted) -> None:
    """An amount passes the host's middlewares to the last digit, in and out."""
    client = hosted()
    body = '{"user_id": "u", "name": "n", "type": "savings", "target_amount": 9999999999999.99}'
    answer = client.post("/goals", content=body, headers={"Content-Type": "application/json"})
    assert '"target_amount":9999999999999.99,' in answer.text


def test_the_description_of_the_interface_has_our_routes(hosted: Hosted) -> None:
    """/openapi.json is made, with our thirteen routes among the host's own, whatever the host does to it."""
    description = hosted().get("/openapi.json").json()
    for section, heading in BLOCKS:
        if section == "API Reference":
            documented = exchange(heading)
            path = description["paths"][documented.target.partition("?")[0]]
            assert documented.method.lower() in path
    assert "/ping" in description["paths"]
    text = json.dumps(description)
    for name in ("GoalBody", "MilestoneBody"):
        assert name in description["components"]["schemas"] or f"schemas/{name}" not in text


def test_the_hosts_auth_rejects_in_its_own_words(hosted: Hosted) -> None:
    """What the application's dependency raises is answered by the host's handler, and nothing is done."""

    def only_me(request: Request) -> None:
        if request.headers.get("X-User") != "me":
            raise HTTPException(401, "Who are you?", headers={"WWW-Authenticate": "Bearer"})

    client = hosted(auth=only_me)
    rejected = client.post("/goals", json=GOAL)
    assert (rejected.status_code, rejected.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert rejected.headers["Content-Type"] == "application/problem+json"
    assert rejected.json()["detail"] == "Who are you?"
    assert client.get("/goals", headers={"X-User": "me"}).json() == []


def test_request_ids_and_origins_are_the_hosts(hosted: Hosted) -> None:
    """Every answer of ours bears one X-Request-Id, the one that was sent, and lets the host's origins read it."""
    client = hosted(public_cors_origins="https://app.example")
    asked = {"Origin": "https://app.example", "X-Request-Id": "abc"}
    for answer in (client.post("/goals", json=GOAL, headers=asked), client.get("/goals/nothing", headers=asked)):
        assert answer.headers.get_list("X-Request-Id") == ["abc"]
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    before = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "If-Match, Idempotency-Key"}
    assert client.options("/goals/g", headers={**asked, **before}).status_code == 200


def test_metrics_name_routes_and_not_goals(hosted: Hosted) -> None:
    """The host's Prometheus counters count our requests by route, so that their number does not grow with the goals."""
    client = hosted()
    goal_id = client.post("/goals", json=GOAL).json()["id"]
    client.get(f"/goals/{goal_id}/milestones")
    lines = client.get("/metrics").text.splitlines()
    counted = [line for line in lines if line.startswith("http_server_requests_total")]
    assert any('method="GET",route="/goals/{goal_id}/milestones"' in line for line in counted)
    assert not any(goal_id in line for line in counted)


def test_the_hosts_middleware_answers_repeated_requests(hosted: Hosted) -> None:
    """A POST sent again under its Idempotency-Key is done once; the host answers the second itself, from memory.

    It knows the key, the method and the path, but not who asks: with a key that is used already, anyone gets the first
    answer. `skip_paths=["/goals"]` leaves the keys to Milepost, which keeps them beside the goals.
    """

    def only_me(request: Request) -> None:
        if request.headers.get("X-User") != "me":
            raise HTTPException(401, "Who are you?")

    client = hosted(auth=only_me)
    key = {"Idempotency-Key": "8e03978e"}
    mine = {**key, "X-User": "me"}
    first, second = (client.post("/goals", json=GOAL, headers=mine) for _ in range(2))
    assert (first.status_code, second.status_code, second.content) == (201, 201, first.content)
    assert second.headers["Location"] == first.headers["Location"]
    assert "Idempotency-Replayed" not in second.headers
    assert len(client.get("/goals", headers=mine).json()) == 1
    assert client.post("/goals", json={**GOAL, "name": "Other"}, headers=mine).status_code == 409
    assert client.post("/goals", json=GOAL, headers=key).content == first.content

    client = hosted(auth=only_me, skip_paths=["/goals"])
    again = client.post("/goals", json=GOAL, headers=mine)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert client.post("/goals", json={**GOAL, "name": "Other"}, headers=mine).status_code == 422
    assert client.post("/goals", json=GOAL, headers=key).status_code == 401


def test_the_hosts_rate_limit_is_before_ours(hosted: Hosted) -> None:
    """What is over the host's limit is refused with Retry-After before it reaches us, and changes nothing."""
    client = hosted()
    goal_id = client.post("/goals", json=GOAL).json()["id"]
    for _ in range(RATE_LIMIT - 1):
        assert client.get(f"/goals/{goal_id}").status_code == 200
    refused = client.patch(f"/goals/{goal_id}", json={"name": "Other"})
    assert refused.status_code == 429
    assert 0 <= int(refused.headers["Retry-After"]) <= 60
    free = hosted(skip_paths=["/goals"])
    assert free.get(f"/goals/{goal_id}").json()["name"] == GOAL["name"]


def test_a_version_of_the_hosts_interface_has_goals(manager: GoalManager) -> None:
    """On the application that svc-infra mounts for a version, addresses in answers lead back through it."""
    from svc_infra.api.fastapi.ease import easy_service_app

    app = easy_service_app(name="FinanceAPI", release="1.0.0", versions=[("v1", None, None)], enable_logging=False)
    version = get_version_app("v1")
    assert isinstance(version, FastAPI)
    add_goals(version, manager=manager)
    with TestClient(app) as client:
        created = client.post("/v1/goals", json=GOAL)
        assert created.headers["Location"] == f"/v1/goals/{created.json()['id']}"
        assert client.get(created.headers["Location"]).json() == created.json()
        assert client.get("/goals").status_code == 404


def test_a_client_talks_to_the_host(manager: GoalManager) -> None:
    """milepost.Client does over HTTP, through the host's middlewares, what the manager does."""
    from svc_infra.api.fastapi.ease import easy_service_app

    app = easy_service_app(name="FinanceAPI", release="1.0.0", enable_logging=False)
    add_goals(app, manager=manager)
    with serving(app) as url, Client(url) as client:
        documented = literal(exchange("Create Goal").body)
        goal = client.create_goal(**documented)
        # The documented deadline has passed, which is said when it is given.
        assert {**goal, "note": None} == manager.get_goal(goal["id"])
        assert_as_documented(documented, goal)
        with pytest.raises(KeyError, match="Goal not found"):
            client.get_goal("goal_abc123")
        client.link_account_to_goal(goal["id"], "checking_001", allocation_percent=100)
        with pytest.raises(ValueError, match="Total allocation would exceed 100%"):
            client.link_account_to_goal(goal["id"], "savings_001", allocation_percent=60.0)
        client.delete_goal(goal["id"])
        assert manager.list_goals() == []
