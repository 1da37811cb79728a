"""Idempotency-Key: a change that is sent again with its key does nothing and gets its first answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from redis import Redis

from api.errors import refusal_of
from core.errors import KeyBusy
from core.store.database import Sessions
from core.store.driver import Sql
from core.store.goals import lock_goal
from core.stream.entries import stream_key

GOAL = {"user_id": "u", "name": "n", "type": "savings", "target_amount": 100}
MILESTONE = {"amount": 50}
LINK = {"account_id": "savings_001", "allocation_percent": 60}
EVENT = {
    "specversion": "1.0",
    "id": "e1",
    "source": "test",
    "type": "milepost.transaction.recorded",
    "time": "2026-01-31T12:00:00Z",
    "data": {"account_id": "a", "transaction_id": "t1", "amount": 1, "currency": "USD", "posted_at": "2026-01-31"},
}
CHANGES: list[tuple[str, str, Any]] = [
    ("POST", "/goals", GOAL),
    ("PATCH", "/goals/{goal_id}", {"current_amount": 70}),
    ("DELETE", "/goals/{goal_id}", None),
    ("POST", "/goals/{goal_id}/milestones", MILESTONE),
    ("POST", "/goals/{goal_id}/milestones/check", None),
    ("POST", "/goals/{goal_id}/funding", LINK),
    ("PATCH", "/goals/{goal_id}/funding/a%2Fb", {"allocation_percent": 7}),
    ("DELETE", "/goals/{goal_id}/funding/a%2Fb", None),
    ("POST", "/events", EVENT),
]
WITH_BODY = [change for change in CHANGES if change[2] is not None]
KEY = {"Idempotency-Key": "8e03978e-40d5-43e8-bc93-6894a57f9324"}


@pytest.fixture
def state(dump: Callable[[], str], redis_url: str, session_factory: Sessions) -> Callable[[], Any]:
    """All that a change could have touched: the tables, the keys and the stream."""

    def take() -> tuple[str, int, int]:
        with Redis.from_url(redis_url) as redis, session_factory.begin() as session:
            on_stream: Any = sum(redis.xlen(stream_key(shard)) for shard in range(2))
            kept = Sql("SELECT count(*) FROM idempotency_keys").value(session, {})
        return dump(), kept, on_stream

    return take


@pytest.fixture
def goal(api: TestClient, new_goal: Callable[..., str]) -> str:
    """A goal with a funding source, a milestone that is reached and one that is not."""
    goal_id = new_goal(current_amount=20)
    source = {"account_id": "a/b", "allocation_percent": 5}
    assert api.post(f"/goals/{goal_id}/funding", json=source).status_code == 201
    for amount in (10, 60):
        assert api.post(f"/goals/{goal_id}/milestones", json={"amount": amount}).status_code == 201
    return goal_id


def _same_but_replayed(first: Any, again: Any) -> None:
    assert (again.status_code, again.content) == (first.status_code, first.content)
    for header in ("Content-Type", "Location", "ETag"):
        assert again.headers.get(header) == first.headers.get(header)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_the_second_of_two_does_nothing_and_gets_the_answer_of_the_first(
    api: TestClient, state: Callable[[], Any], goal: str, method: str, path: str, body: Any
) -> None:
    """Status, body, Location and ETag are the first ones to the byte, and no table and no stream has changed."""
    url, untouched = path.format(goal_id=goal), state()
    first = api.request(method, url, json=body, headers=KEY)
    assert first.status_code in {200, 201, 202, 204}
    before = state()
    assert before != untouched
    _same_but_replayed(first, api.request(method, url, json=body, headers=KEY))
    assert state() == before


@pytest.mark.parametrize(("method", "path", "body"), WITH_BODY)
def test_a_key_with_another_body_is_refused(
    api: TestClient, state: Callable[[], Any], goal: str, method: str, path: str, body: Any
) -> None:
    """The same key with other bytes is 422 naming the header, nothing changes, and the first answer stays."""
    url = path.format(goal_id=goal)
    first = api.request(method, url, json=body, headers=KEY)
    before = state()
    refused = api.request(method, url, content=json.dumps(body, indent=1), headers=KEY)
    assert refused.status_code == 422
    text = "was used for another request in the last 24 hours; give each request a key of its own"
    assert refused.json()["detail"] == f"Idempotency-Key: {text}"
    assert refused.json()["errors"][0]["loc"] == ["header", "Idempotency-Key"]
    assert state() == before
    _same_but_replayed(first, api.request(method, url, json=body, headers=KEY))


@pytest.mark.parametrize(
    ("path", "change"),
    [("/goals/{goal_id}", {"name": "Other"}), ("/goals/{goal_id}/funding/a%2Fb", {"allocation_percent": 7})],
)
def test_a_key_with_another_method_is_refused(
    api: TestClient, state: Callable[[], Any], goal: str, path: str, change: dict[str, object]
) -> None:
    """A key that changed something does not delete it."""
    url = path.format(goal_id=goal)
    assert api.patch(url, json=change, headers=KEY).status_code == 200
    before = state()
    assert api.delete(url, headers=KEY).status_code == 422
    assert state() == before


def test_a_retried_amount_does_not_swallow_an_event(
    api: TestClient, apply_stream: Callable[[], Any], goal: str
) -> None:
    """Set to 70, then 5% of 100 came in: the PATCH sent again with its key leaves 75, without one it sets 70 again."""
    url, manual = f"/goals/{goal}", {"current_amount": 70}
    first = api.patch(url, json=manual, headers=KEY)
    paid = {**EVENT["data"], "account_id": "a/b", "amount": 100}
    paid["posted_at"] = datetime.now(UTC).isoformat()
    assert api.post("/events", json={**EVENT, "data": paid}).status_code == 202
    apply_stream()
    assert api.get(url).json()["current_amount"] == 75
    _same_but_replayed(first, api.patch(url, json=manual, headers=KEY))
    assert api.get(url).json()["current_amount"] == 75
    assert api.patch(url, json=manual).json()["current_amount"] == 70


def test_a_retried_delete_is_done_once(api: TestClient, goal: str) -> None:
    """It is 204 again, where one without the key finds nothing; an account that was linked again meanwhile stays."""
    source = f"/goals/{goal}/funding/a%2Fb"
    first = api.delete(source, headers=KEY)
    assert api.delete(source).status_code == 404
    assert api.post(f"/goals/{goal}/funding", json={"account_id": "a/b", "allocation_percent": 5}).status_code == 201
    _same_but_replayed(first, api.delete(source, headers=KEY))
    assert len(api.get(f"/goals/{goal}/funding").json()) == 1
    other = {"Idempotency-Key": "another"}
    first = api.delete(f"/goals/{goal}", headers=other)
    assert api.delete(f"/goals/{goal}").status_code == 404
    _same_but_replayed(first, api.delete(f"/goals/{goal}", headers=other))


def test_a_retried_check_gives_the_same_milestones(api: TestClient, goal: str) -> None:
    """What the first check gave is given again under its key, and to no other check."""
    check = f"/goals/{goal}/milestones/check"
    first = api.post(check, headers=KEY)
    assert [milestone["amount"] for milestone in first.json()] == [10]
    assert api.post(check).json() == []
    _same_but_replayed(first, api.post(check, headers=KEY))


def test_a_retried_change_is_not_held_to_its_tag(api: TestClient, goal: str) -> None:
    """The first PATCH has moved the goal past the tag that both came with: the second still gets its answer."""
    headers = {**KEY, "If-Match": api.get(f"/goals/{goal}").headers["ETag"]}
    first = api.patch(f"/goals/{goal}", json={"name": "m"}, headers=headers)
    assert first.status_code == 200
    _same_but_replayed(first, api.patch(f"/goals/{goal}", json={"name": "m"}, headers=headers))


def test_a_key_on_another_path_is_refused(
    api: TestClient, state: Callable[[], Any], new_goal: Callable[..., str]
) -> None:
    """The same key and body for another goal is 422, and nothing changes."""
    one, other = (f"/goals/{new_goal()}/milestones" for _ in range(2))
    assert api.post(one, json=MILESTONE, headers=KEY).status_code == 201
    before = state()
    assert api.post(other, json=MILESTONE, headers=KEY).status_code == 422
    assert state() == before


def test_without_a_key_each_request_is_carried_out(api: TestClient) -> None:
    """Two POSTs without a key, or with two keys, make two goals each."""
    for number, headers in enumerate(({}, {}, {"Idempotency-Key": "a"}, {"Idempotency-Key": "b"}), start=1):
        assert api.post("/goals", json=GOAL, headers=headers).status_code == 201
        assert len(api.get("/goals").json()) == number


def test_a_refused_request_leaves_its_key_free(
    api: TestClient, state: Callable[[], Any], new_goal: Callable[..., str]
) -> None:
    """A refused request is carried out when it comes again with its key and is valid by then."""
    goal = f"/goals/{new_goal(target_amount=10)}"
    before = state()
    assert api.post(f"{goal}/milestones", json=MILESTONE, headers=KEY).status_code == 422
    assert api.post("/goals", content=b"{", headers=KEY).status_code == 422
    assert api.post("/goals/none/milestones", json=MILESTONE, headers=KEY).status_code == 404
    assert state() == before
    assert api.patch(goal, json={"target_amount": 100}).status_code == 200
    acted = api.post(f"{goal}/milestones", json=MILESTONE, headers=KEY)
    assert acted.status_code == 201
    assert "Idempotency-Replayed" not in acted.headers


def test_a_key_is_the_tenants(api: TestClient, client: Callable[..., TestClient]) -> None:
    """Another key of the same tenant gets the first answer; another tenant's request is carried out."""
    first = api.post("/goals", json=GOAL, headers=KEY)
    _same_but_replayed(first, client("goals:write").post("/goals", json=GOAL, headers=KEY))
    stranger = client(tenant="other").post("/goals", json=GOAL, headers=KEY)
    assert stranger.status_code == 201
    assert stranger.json()["id"] != first.json()["id"]


def test_who_may_not_act_gets_no_answer_of_others(
    app: FastAPI, api: TestClient, client: Callable[..., TestClient]
) -> None:
    """Without a good API key, or without the scope, an Idempotency-Key opens nothing."""
    assert api.post("/goals", json=GOAL, headers=KEY).status_code == 201
    assert TestClient(app).post("/goals", json=GOAL, headers=KEY).status_code == 401
    assert client("goals:read").post("/goals", json=GOAL, headers=KEY).status_code == 403


@pytest.mark.parametrize("key", ["", "x" * 201, "a\tb", "\x7f", "caf\xe9"])
@pytest.mark.parametrize("url", ["/goals", "/events"])
def test_what_is_no_key_is_refused(api: TestClient, state: Callable[[], Any], url: str, key: str) -> None:
    """A key that is empty, too long or not printable is 422 naming the header, and nothing changes."""
    before = state()
    answer = api.post(url, json=EVENT if url == "/events" else GOAL, headers={b"Idempotency-Key": key.encode("latin1")})
    assert answer.status_code == 422
    assert answer.json()["detail"] == "Idempotency-Key: must be one key of 1 to 200 printable ASCII characters"
    assert state() == before


@pytest.mark.parametrize("key", ["x", "x" * 200, '"quoted" key, with ~ and spaces'])
def test_any_printable_key_will_do(api: TestClient, key: str) -> None:
    """1 to 200 printable characters are a key."""
    first = api.post("/goals", json=GOAL, headers={"Idempotency-Key": key})
    _same_but_replayed(first, api.post("/goals", json=GOAL, headers={"Idempotency-Key": key}))


def test_two_keys_on_one_request_are_refused(api: TestClient) -> None:
    """A request with two Idempotency-Key headers is 422, since no one could tell which counts."""
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    assert api.post("/goals", json=GOAL, headers=headers).status_code == 422


def test_of_two_at_once_one_acts_and_the_other_gets_its_answer(
    app: FastAPI,
    api: TestClient,
    session_factory: Sessions,
    until_waiting: Callable[[int], None],
    new_goal: Callable[..., str],
) -> None:
    """While the first waits for the goal, the second waits for the first; then both have one answer, done once."""
    goal_id = new_goal()

    def add(_: int) -> Any:
        headers = {**api.headers, **KEY}
        return TestClient(app, headers=headers).post(f"/goals/{goal_id}/milestones", json=MILESTONE)

    with ThreadPoolExecutor(2) as threads:
        with session_factory.begin() as holder:
            assert lock_goal(holder, ("default", goal_id))
            both = [threads.submit(add, number) for number in range(2)]
            until_waiting(2)
        one, other = sorted((each.result() for each in both), key=lambda answer: len(answer.headers))
    assert one.status_code == 201
    _same_but_replayed(one, other)
    assert len(api.get(f"/goals/{goal_id}/milestones").json()) == 1


def test_who_waited_too_long_gets_the_time_to_come_again() -> None:
    """A key whose first request is still being worked on is 409 with the seconds to wait."""
    refusal = refusal_of(KeyBusy(), method="PATCH")
    assert refusal is not None
    assert (refusal.status, refusal.headers) == (409, {"Retry-After": "2"})
    assert refusal.problem == {
        "detail": "The first request with this Idempotency-Key is still being worked on; try again"
    }


def test_events_sent_at_once_under_one_key_lie_on_the_stream_once(
    app: FastAPI, api: TestClient, state: Callable[[], Any]
) -> None:
    """Of eight equal POSTs of two events at the same time all are accepted, and two events lie on the stream."""
    start = Barrier(8)

    def send(_: int) -> Any:
        start.wait()
        return TestClient(app, headers={**api.headers, **KEY}).post("/events", json=[EVENT, EVENT])

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(send, range(8)))
    assert [(answer.status_code, answer.json()) for answer in answers] == [(202, {"accepted": 2})] * 8
    assert sorted("Idempotency-Replayed" in answer.headers for answer in answers) == [False] + [True] * 7
    assert state()[1:] == (1, 2)
