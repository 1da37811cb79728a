"""Bookings that are dated ahead, over REST: they are kept, and count on their day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi.testclient import TestClient

from core.jobs.due import run_due
from core.store.database import Sessions
from core.verify.verify import verify
from tests.api.metric_values import one, scrape
from tests.api.moments import amount_of_new_goal, pull, today

MINUTE = timedelta(minutes=1)


def test_a_booking_of_the_day_after_tomorrow_counts_on_its_day(
    api: TestClient, session_factory: Sessions, apply_stream: Callable[[], Any]
) -> None:
    """However often it is pulled before: 0.00 today and 500.00 then, without a dead letter; metrics tell of it."""
    now, day, current = datetime.now(UTC), today(2), amount_of_new_goal(api)
    for hours in range(5, 0, -1):
        assert pull(api, now - timedelta(hours=hours), day).status_code == 202
        assert apply_stream().dead_letters == 0
    assert current() == 0
    assert one(scrape(api), "facts_not_due", kind="transaction") == 1
    assert one(scrape(api), "facts_overdue_seconds") == 0
    assert api.get("/dead-letters").json() == []
    due_at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    run_due(session_factory, due_at - MINUTE)
    assert current() == 0
    run_due(session_factory, due_at)
    assert current() == 500
    assert one(scrape(api), "facts_not_due", kind="transaction") == 0
    assert verify(session_factory, due_at).first == ()


def test_a_fact_that_is_due_and_does_not_count_shows(
    api: TestClient, session_factory: Sessions, apply_stream: Callable[[], Any], engine: Any
) -> None:
    """If the job does not run, the metrics say for how long it should have."""
    assert pull(api, datetime.now(UTC), today(2)).status_code == 202
    apply_stream()
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE transactions SET due_at = now() - interval '10 minutes'")
    assert 600 <= one(scrape(api), "facts_overdue_seconds") < 660
    run_due(session_factory, datetime.now(UTC))
    assert one(scrape(api), "facts_overdue_seconds") == 0
