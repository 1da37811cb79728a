"""Bodies whose times are now, and a goal that they move, for tests of clocks and of dates ahead."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi.testclient import TestClient


def utc(moment: datetime) -> str:
    """A moment as a body or a query has it."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def today(days: int) -> date:
    """The day so many days from now."""
    return (datetime.now(UTC) + timedelta(days=days)).date()


def amount_of_new_goal(api: TestClient) -> Callable[[], Any]:
    """Reads the amount of a new goal, which counts what comes into account `a`."""
    body = {"user_id": "u", "name": "g", "type": "savings", "target_amount": 10_000}
    path = f"/goals/{api.post('/goals', json=body).json()['id']}"
    link = {"account_id": "a", "allocation_percent": 100, "from": str(today(-5))}
    assert api.post(f"{path}/funding", json=link).status_code == 201
    return lambda: api.get(path).json()["current_amount"]


def pull(api: TestClient, pulled_at: datetime, day: date) -> Any:
    """Send a page of transactions with one that the bank books on a day."""
    row = {"account_id": "a", "transaction_id": "mon", "amount": -500, "iso_currency_code": "USD", "pending": False}
    body = {"accounts": [], "added": [row | {"date": str(day)}], "modified": [], "removed": []}
    query = urlencode({"format": "plaid-sync", "pulled_at": utc(pulled_at)})
    return api.post(f"/events?{query}", json=body)
