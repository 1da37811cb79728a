"""A currency that ISO 4217 withdraws: goals and accounts in it are read and changed like any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from core.store.database import Sessions
from core.verify.verify import verify
from tests.conftest import NOW


@pytest.mark.parametrize("currency", ["HRK", "BGN", "ITL"])
def test_a_goal_in_a_withdrawn_currency_lives_on(
    api: TestClient, apply_stream: Callable[[], Any], session_factory: Sessions, currency: str
) -> None:
    """The list of goals, the goal, its progress and its account answer; it takes facts and changes."""
    body = {"user_id": "u", "name": "g", "type": "savings", "target_amount": 5000, "currency": currency}
    made = api.post("/goals", json=body)
    assert made.status_code == 201, made.text
    path = f"/goals/{made.json()['id']}"
    linked = {"account_id": "a", "allocation_percent": 100, "from": "2026-02-01"}
    assert api.post(f"{path}/funding", json=linked).status_code == 201
    data = {"account_id": "a", "transaction_id": "t", "amount": 120, "currency": currency, "posted_at": "2026-02-02"}
    event = {"specversion": "1.0", "id": "e", "source": "s", "type": "milepost.transaction.recorded", "data": data}
    assert api.post("/events", json=event | {"time": "2026-02-02T12:00:00Z"}).status_code == 202
    assert apply_stream().dead_letters == 0
    assert api.patch(path, json={"target_amount": 6000}).status_code == 200
    for read in ("/goals", path, f"{path}/progress", "/accounts/a/allocations"):
        answer = api.get(read)
        assert answer.status_code == 200, answer.text
    found = api.get(path).json()
    assert (found["currency"], found["current_amount"], found["target_amount"]) == (currency, 120, 6000)
    assert verify(session_factory, NOW).first == ()
