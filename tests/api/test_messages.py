"""GET /messages: the feed over REST, by cursors that are never lost, and what it refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from core.jobs.relay import relay
from core.jobs.retain import run_retain
from core.store.database import Sessions
from core.store.driver import Sql
from tests.api.conftest import MakeClient

GOAL = {"user_id": "user_1", "name": "Trip", "type": "savings", "target_amount": 100.5}


def make(api: TestClient, sessions: Sessions, **changes: Any) -> str:
    """A goal whose messages are announced; its id."""
    created = api.post("/goals", json=GOAL | changes)
    assert created.status_code == 201
    relay(sessions, datetime.now(UTC) + timedelta(seconds=1))
    return str(created.json()["id"])


def test_the_feed_goes_on_where_it_was_left(api: TestClient, session_factory: Sessions) -> None:
    """Pages by `next`, also from an empty one; a message has its type, moment and exact amounts."""
    empty = api.get("/messages").json()
    assert (empty["messages"], empty["has_more"]) == ([], False)
    first = make(api, session_factory)
    page = api.get("/messages", params={"after": empty["next"]}).json()
    [message] = page["messages"]
    assert message["id"] == f"goal_created:{first}:1"
    assert (message["type"], message["historical"], page["has_more"]) == ("goal.created", False, False)
    assert message["data"] | {"user_id": "user_1", "target_amount": 100.5, "status": "active"} == message["data"]
    assert b'"target_amount":100.50' in api.get("/messages").content
    second, third = make(api, session_factory), make(api, session_factory, user_id="user_2")
    page = api.get("/messages", params={"after": message["cursor"], "limit": 1}).json()
    assert ([each["data"]["goal_id"] for each in page["messages"]], page["has_more"]) == ([second], True)
    page = api.get("/messages", params={"after": page["next"]}).json()
    assert ([each["data"]["goal_id"] for each in page["messages"]], page["has_more"]) == ([third], False)
    assert api.get("/messages", params={"after": page["next"]}).json() == {**page, "messages": []}


def test_filters_choose(api: TestClient, session_factory: Sessions) -> None:
    """By types, user and goal, and the cursor of one filter goes on under another."""
    first, second = make(api, session_factory), make(api, session_factory, user_id="user_2")
    assert api.patch(f"/goals/{first}", json={"target_amount": 99}).status_code == 200
    relay(session_factory, datetime.now(UTC) + timedelta(seconds=1))

    def ids(**query: str) -> list[str]:
        return [each["id"] for each in api.get("/messages", params=query).json()["messages"]]

    assert ids(types="goal.changed,goal.reached") == [f"goal_changed:{first}:1"]
    assert ids(user_id="user_2") == ids(goal_id=second) == [f"goal_created:{second}:1"]
    after = api.get("/messages", params={"user_id": "user_2"}).json()["messages"][0]["cursor"]
    assert ids(after=after) == [f"goal_changed:{first}:1"]


def test_another_tenant_sees_nothing(client: MakeClient, session_factory: Sessions) -> None:
    """Neither its messages nor by its cursor; and a key needs the scope."""
    api = client()
    make(api, session_factory)
    other = client(tenant="other")
    assert other.get("/messages").json()["messages"] == []
    assert other.get("/messages", params={"after": api.get("/messages").json()["next"]}).status_code == 422
    assert client("events:read").get("/messages").status_code == 403


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"after": "MQ.0000000000000000"}, "after"),
        ({"after": ""}, "after"),
        ({"types": "goal.creatd"}, "types"),
        ({"types": ""}, "types"),
        ({"limit": "0"}, "limit"),
        ({"user": "u"}, "user"),
        ({"goal_id": "a\x00"}, "goal_id"),
    ],
)
def test_what_cannot_be_is_refused(api: TestClient, query: dict[str, str], field: str) -> None:
    """Each with the name of the parameter."""
    refused = api.get("/messages", params=query)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["query", field]


def test_a_reader_that_is_too_late_is_told_where_to_go_on(api: TestClient, session_factory: Sessions) -> None:
    """410 with the oldest cursor for whoever has not read what is deleted; who has goes on, however long ago."""
    new = [make(api, session_factory) for _ in range(3)][-1]
    ages = Sql("UPDATE outbox SET position = position - CAST(91 AS bigint) * 86400 * 1000000 WHERE goal_id <> :new")
    with session_factory.begin() as session:
        ages.run(session, {"new": new})
    cursors = [each["cursor"] for each in api.get("/messages").json()["messages"]]
    assert run_retain(session_factory, datetime.now(UTC)).messages == 2
    late = api.get("/messages", params={"after": cursors[0]})
    assert late.status_code == 410
    for after in (late.json()["oldest"], cursors[1], None):
        left = api.get("/messages", params={} if after is None else {"after": after}).json()["messages"]
        assert [each["cursor"] for each in left] == cursors[2:]


def test_a_feed_of_which_all_is_deleted_goes_on(api: TestClient, session_factory: Sessions) -> None:
    """Whoever begins after everything was deleted gets what comes later by the cursor of the empty page."""
    make(api, session_factory)
    with session_factory.begin() as session:
        Sql("UPDATE outbox SET position = position - CAST(91 AS bigint) * 86400 * 1000000").run(session, {})
    run_retain(session_factory, datetime.now(UTC))
    empty = api.get("/messages").json()
    assert empty["messages"] == []
    new = make(api, session_factory)
    later = api.get("/messages", params={"after": empty["next"]})
    assert [each["data"]["goal_id"] for each in later.json()["messages"]] == [new]
