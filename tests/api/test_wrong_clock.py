"""A clock that is ahead, over REST: what it says is refused, and keeps no correction waiting."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.metric_values import one, scrape
from tests.api.moments import amount_of_new_goal, pull, today, utc

MINUTE = timedelta(minutes=1)


def stated(
    time: datetime, posted_at: object, amount: str = "100.00", type: str = "transaction.recorded"
) -> dict[str, Any]:
    """A transaction, or its removal, as a producer states it."""
    data = {"account_id": "a", "transaction_id": "1", "amount": amount, "currency": "USD", "posted_at": str(posted_at)}
    envelope = {"specversion": "1.0", "id": f"{type} {amount}", "source": "t", "type": f"milepost.{type}"}
    return envelope | {"time": utc(time), "data": data}


@pytest.mark.parametrize("content_type", ["application/json", "application/x-ndjson"])
def test_an_event_of_a_wrong_clock_refuses_the_batch(
    api: TestClient, dump: Callable[[], str], apply_stream: Callable[[], Any], content_type: str
) -> None:
    """More than five minutes ahead is 422 with its index and what to do; nothing is written, and a metric counts it."""
    now, before = datetime.now(UTC), dump()
    batch = [stated(now, today(-1)), stated(now + timedelta(hours=20), today(-1))]
    lines = [json.dumps(each) for each in batch]
    answer = api.post(
        "/events",
        content="\n".join(lines) if "ndjson" in content_type else f"[{','.join(lines)}]",
        headers={"Content-Type": content_type},
    )
    assert answer.status_code == 422
    (problem,) = answer.json()["errors"]
    assert (problem["loc"], problem["type"]) == (["body", 1], "clock_ahead")
    assert "more than five minutes" in problem["msg"]
    assert apply_stream().events == 0
    assert dump() == before
    assert one(scrape(api), "events_refused_total", reason="clock_ahead") == 1


def test_a_few_minutes_ahead_are_no_wrong_clock(api: TestClient, apply_stream: Callable[[], Any]) -> None:
    """Clocks differ by seconds, and some by minutes."""
    assert api.post("/events", json=stated(datetime.now(UTC) + 4 * MINUTE, today(-1))).status_code == 202
    assert apply_stream().dead_letters == 0


def test_what_a_wrong_clock_said_keeps_no_correction_waiting(api: TestClient, apply_stream: Callable[[], Any]) -> None:
    """It was refused, so the right amount counts at once, and its removal does, too."""
    now, current = datetime.now(UTC), amount_of_new_goal(api)
    assert api.post("/events", json=stated(now + timedelta(hours=20), today(-1))).status_code == 422
    for event, amount in (
        (stated(now, today(-1), "10.00"), 10),
        (stated(now + timedelta(seconds=1), today(-1), "10.00", "transaction.removed"), 0),
    ):
        assert api.post("/events", json=event).status_code == 202
        apply_stream()
        assert current() == amount


def test_a_pull_of_a_wrong_clock_is_refused(api: TestClient, apply_stream: Callable[[], Any]) -> None:
    """Its time would be that of all its rows."""
    answer = pull(api, datetime.now(UTC) + 6 * MINUTE, today(-1))
    assert answer.status_code == 422
    (problem,) = answer.json()["errors"]
    assert (problem["loc"], problem["type"]) == (["query", "pulled_at"], "clock_ahead")
    assert apply_stream().events == 0
    assert one(scrape(api), "events_refused_total", reason="clock_ahead") == 1
    assert pull(api, datetime.now(UTC) + 4 * MINUTE, today(-1)).status_code == 202
