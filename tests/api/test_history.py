"""GET /goals/{goal_id}/history: the ledger of a goal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import MakeClient
from tests.api.paging import walk

MOMENT = "2026-01-31T12:00:00Z"


def _paid(amount: str) -> dict[str, Any]:
    data = {"account_id": "a", "transaction_id": "t1", "amount": amount, "currency": "USD", "posted_at": MOMENT}
    head = {"specversion": "1.0", "id": "e1", "source": "bank", "time": MOMENT}
    return {**head, "type": "milepost.transaction.recorded", "data": data}


def test_each_change_is_listed_newest_first(
    api: TestClient, new_goal: Callable[..., str], exact: Callable[[Any], Any], apply_stream: Callable[[], Any]
) -> None:
    """A creation, an event and a manual amount are three entries with exact amounts, causes and accounts."""
    goal_id = new_goal(current_amount=100)
    link = {"account_id": "a", "allocation_percent": 50, "from": "2026-01-01"}
    assert api.post(f"/goals/{goal_id}/funding", json=link).status_code == 201
    assert api.post("/events", json=_paid("-10.03")).status_code == 202
    assert apply_stream().goals_moved == 1
    assert api.patch(f"/goals/{goal_id}", json={"current_amount": "250.50"}).status_code == 200
    response = api.get(f"/goals/{goal_id}/history")
    entries = exact(response)
    assert response.status_code == 200
    assert "link" not in response.headers
    now = datetime.now(UTC)
    times = [datetime.fromisoformat(entry.pop("recorded_at")) for entry in entries]
    assert now - timedelta(seconds=30) < times[2] <= times[1] <= times[0] <= now
    assert entries == [
        {
            "entry": 3,
            "before": Decimal("94.99"),
            "after": Decimal("250.50"),
            "change": Decimal("155.51"),
            "cause": "typed",
            "account_ids": [],
        },
        {
            "entry": 2,
            "before": Decimal("100.00"),
            "after": Decimal("94.99"),
            "change": Decimal("-5.01"),
            "cause": "events",
            "account_ids": ["a"],
        },
        {"entry": 1, "before": None, "after": Decimal("100.00"), "change": None, "cause": "created", "account_ids": []},
    ]


@pytest.mark.parametrize(("currency", "shown"), [("JPY", "250"), ("KWD", "250.000")])
def test_amounts_have_the_digits_of_the_currency(
    api: TestClient, new_goal: Callable[..., str], currency: str, shown: str
) -> None:
    """A goal in yen has no decimals in its ledger, one in dinars three."""
    goal_id = new_goal(currency=currency, current_amount=0)
    api.patch(f"/goals/{goal_id}", json={"current_amount": 250})
    assert f'"after":{shown},"change":{shown},' in api.get(f"/goals/{goal_id}/history").text


def test_the_ledger_has_no_gap_across_pages(api: TestClient, new_goal: Callable[..., str]) -> None:
    """Over all pages the entries count down to 1, and each begins where the one before it ended."""
    goal_id = new_goal(current_amount=0)
    for amount in (5, 3, 3, 8, 1, 10_000, 0):  # one of them changes nothing
        api.patch(f"/goals/{goal_id}", json={"current_amount": amount})
    entries = [entry for page in walk(api, f"/goals/{goal_id}/history?limit=3") for entry in page]
    assert [entry["entry"] for entry in entries] == [7, 6, 5, 4, 3, 2, 1]
    assert [entry["before"] for entry in entries] == [entry["after"] for entry in entries[1:]] + [None]
    assert entries[0]["after"] == api.get(f"/goals/{goal_id}").json()["current_amount"] == 0


def test_what_is_added_meanwhile_does_not_shift_the_pages(api: TestClient, new_goal: Callable[..., str]) -> None:
    """An entry that comes between two pages is not on the second, and none is shown twice or missed."""
    goal_id = new_goal(current_amount=0)
    for amount in (1, 2, 3):
        api.patch(f"/goals/{goal_id}", json={"current_amount": amount})
    first = api.get(f"/goals/{goal_id}/history?limit=2")
    api.patch(f"/goals/{goal_id}", json={"current_amount": 4})
    second = api.get(first.links["next"]["url"])
    assert [entry["entry"] for entry in first.json() + second.json()] == [4, 3, 2, 1]


def test_a_ledger_is_its_tenants_own(client: MakeClient, new_goal: Callable[..., str]) -> None:
    """The ledger of another tenant's goal is not found, nor is that of a goal that was never there."""
    goal_id = new_goal()
    assert client(tenant="other").get(f"/goals/{goal_id}/history").status_code == 404
    assert client().get("/goals/goal_0/history").json() == {"detail": "Goal not found"}


def test_a_key_that_may_only_write_reads_no_ledger(client: MakeClient, new_goal: Callable[..., str]) -> None:
    """The scope goals:read is needed."""
    assert client("goals:write").get(f"/goals/{new_goal()}/history").status_code == 403
