"""POST /events?strict=true refuses what would become a dead letter."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

GOOD = {
    "specversion": "1.0",
    "id": "1",
    "source": "bank",
    "type": "milepost.transaction.recorded",
    "time": "2026-01-01T12:00:00Z",
    "data": {"account_id": "a", "transaction_id": "t", "amount": 1, "currency": "USD", "posted_at": "2026-01-01"},
}
NO_EVENTS: dict[str, dict[str, Any]] = {
    "another type": {"type": "milepost.balance.forgotten"},
    "no amount": {"data": {name: value for name, value in GOOD["data"].items() if name != "amount"}},  # type: ignore[attr-defined]
    "too precise": {"data": {**GOOD["data"], "amount": "1.001"}},  # type: ignore[dict-item]
    "no currency of ours": {"data": {**GOOD["data"], "currency": "usd"}},  # type: ignore[dict-item]
    "far ahead": {"data": {**GOOD["data"], "posted_at": "2099-01-01"}},  # type: ignore[dict-item]
}


@pytest.mark.parametrize("name", NO_EVENTS)
def test_what_would_become_a_dead_letter_is_refused(
    api: TestClient, apply_stream: Callable[[], Any], name: str
) -> None:
    """With its index, and the code that the dead letter has when the same body is sent without `strict`."""
    body = [GOOD, {**GOOD, "id": "2", **NO_EVENTS[name]}]
    refused = api.post("/events?strict=true", json=body)
    (problem,) = refused.json()["errors"]
    assert (refused.status_code, problem["loc"]) == (422, ["body", 1])
    assert apply_stream().events == 0
    assert api.post("/events", json=body).json() == {"accepted": 2}
    assert apply_stream().dead_letters == 1
    (letter,) = api.get("/dead-letters").json()
    assert (letter["code"], letter["reason"]) == (problem["type"], problem["msg"])


def test_what_takes_effect_is_accepted(api: TestClient, apply_stream: Callable[[], Any]) -> None:
    """In each form of a body, with an Idempotency-Key too."""
    lines = "\n".join(json.dumps({**GOOD, "id": str(n)}) for n in range(3))
    for body, kind, accepted in (
        (json.dumps(GOOD), "application/json", 1),
        (json.dumps([GOOD, GOOD]), "application/json", 2),
        (lines, "application/x-ndjson", 3),
    ):
        headers = {"Content-Type": kind, "Idempotency-Key": kind + str(accepted)}
        response = api.post("/events?strict=true", content=body, headers=headers)
        assert (response.status_code, response.json()) == (202, {"accepted": accepted})
    applied = apply_stream()
    assert (applied.events, applied.dead_letters) == (6, 0)


def test_strict_is_for_our_own_events(api: TestClient) -> None:
    """A pulled body becomes events in an order of ours, so an index would say nothing."""
    response = api.post("/events?strict=true&format=mx", json={})
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["query", "strict"]
