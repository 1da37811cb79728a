"""Bodies as banks really write them, over REST: odd fields, turned signs, available balances, split transactions."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from tests.unit.providers.odd_fields import TABLES, Kept, Refused, variants

NOW = datetime.now(UTC)
TODAY = NOW.date()
Apply = Callable[[], Any]
NewGoal = Callable[..., str]


def days_ago(days: int) -> str:
    """A date."""
    return (TODAY - timedelta(days=days)).isoformat()


def hours_ago(hours: float) -> str:
    """A time."""
    return (NOW - timedelta(hours=hours)).isoformat()


@pytest.fixture
def pull(api: TestClient, apply_stream: Apply) -> Callable[..., None]:
    """Sends a body that was pulled so many hours ago, and applies what it becomes."""

    def send(format: str, body: Any, hours: float, **query: str) -> None:
        encoded = urlencode({"format": format, "pulled_at": hours_ago(hours), **query})
        answer = api.post(f"/events?{encoded}", json=body)
        assert answer.status_code == 202, answer.text
        assert apply_stream().dead_letters == 0

    return send


@pytest.fixture
def goal_of(api: TestClient, new_goal: NewGoal) -> NewGoal:
    """Makes a goal that all of an account counts for, from nine days ago on."""

    def make(account_id: str, **fields: Any) -> str:
        goal_id = new_goal(**fields)
        link = {"account_id": account_id, "allocation_percent": 100, "from": days_ago(9)}
        assert api.post(f"/goals/{goal_id}/funding", json=link).status_code == 201
        return goal_id

    return make


def amount(api: TestClient, goal_id: str) -> float:
    """A goal's amount."""
    found: float = api.get(f"/goals/{goal_id}").json()["current_amount"]
    return found


def worth(api: TestClient, account_id: str) -> float:
    """An account's worth."""
    found: float = api.get(f"/accounts/{account_id}/allocations").json()["worth"]
    return found


def test_an_odd_field_is_never_an_error_of_ours_and_leaves_nothing_half_written(
    api: TestClient, apply_stream: Apply, engine: Engine
) -> None:
    """A body is taken whole or refused whole. A row that is not understood is one dead letter, and no other row is."""
    api.put("/provider-accounts/mx/ACT-9", json={"account_id": "main", "connection": "MBR-1"})
    query = {"pulled_at": "2026-03-10T12:00:00Z"}
    kept = accepted = 0
    for variant in variants(TABLES):
        encoded = urlencode({"format": variant.table.format, **query, **variant.table.said})
        answer = api.post(f"/events?{encoded}", content=json.dumps(variant.body).encode())
        is_refused = isinstance(variant.outcome, Refused)
        assert answer.status_code == (422 if is_refused else 202), (variant.name, answer.text)
        accepted += 0 if is_refused else answer.json()["accepted"]
        kept += isinstance(variant.outcome, Kept)
    applied = apply_stream()
    assert (applied.dead_letters, kept > 300) == (kept, True)
    with engine.connect() as connection:
        types = (
            connection.execute(text("SELECT DISTINCT convert_from(event, 'UTF8')::json ->> 'type' FROM dead_letters"))
            .scalars()
            .all()
        )
    assert types == ["milepost.provider.row"]


def spent(internal: str, money: str, day: Any, currency: str = "SEK") -> dict[str, Any]:
    """A booked row of GoCardless."""
    amount = {"amount": money, "currency": currency}
    return {"internalTransactionId": internal, "bookingDate": day, "transactionAmount": amount}


def test_a_card_whose_bank_turns_its_signs_counts_as_its_holder_sees_it(
    api: TestClient, goal_of: NewGoal, pull: Callable[..., None]
) -> None:
    """Spending 250.00 raises what is owed, and the balance is owed, as registered; nothing of the limit is money."""
    registered = {"account_id": "card", "kind": "liability", "currency": "SEK", "sign": "reversed"}
    assert api.put("/provider-accounts/gocardless/seb", json=registered).json()["sign"] == "reversed"
    goal = goal_of("card", type="debt", target_amount=0, current_amount="3000.00", currency="SEK")
    pull("gocardless", {"transactions": {"booked": [spent("s1", "250.00", days_ago(2))]}}, 3, account_id="seb")
    assert amount(api, goal) == 3250.0
    balances = [("expected", "3250.00"), ("interimAvailable", "46750.00")]
    entries = [{"balanceType": type, "balanceAmount": {"amount": money, "currency": "SEK"}} for type, money in balances]
    pull("gocardless", {"balances": entries}, 2, account_id="seb")
    assert worth(api, "card") == -3250.0
    pull("gocardless", {"balances": entries[1:]}, 1, account_id="seb")
    assert worth(api, "card") == -3250.0


@pytest.mark.parametrize(
    ("sign", "moved", "held"),
    [
        (None, 5.0, 100.0),
        ("as_given", 5.0, 100.0),
        ("reversed", -5.0, -100.0),
        ("reversed_amounts", -5.0, 100.0),
        ("reversed_balances", 5.0, -100.0),
    ],
)
def test_amounts_and_balances_can_be_turned_each_alone(
    api: TestClient, goal_of: NewGoal, pull: Callable[..., None], sign: str | None, moved: float, held: float
) -> None:
    """A bank may write one of them as its provider documents it, and the other one with the opposite sign."""
    api.put("/provider-accounts/gocardless/g1", json={"account_id": "main", "sign": sign})
    goal = goal_of("main", currency="SEK")
    pull("gocardless", {"transactions": {"booked": [spent("i1", "5.00", days_ago(2))]}}, 3, account_id="g1")
    assert amount(api, goal) == moved
    booked = {"balanceType": "interimBooked", "balanceAmount": {"amount": "100.00", "currency": "SEK"}}
    pull("gocardless", {"balances": [booked]}, 2, account_id="g1")
    assert worth(api, "main") == held


def test_what_is_left_of_a_cards_limit_is_no_money(api: TestClient, pull: Callable[..., None]) -> None:
    """The bank gives nothing but 5,000.00 that can be spent: the account is known, and has no report."""
    left = {"balanceType": "interimAvailable", "balanceAmount": {"amount": "5000.00", "currency": "EUR"}}
    pull("gocardless", {"balances": [left]}, 2, account_id="lim", kind="liability")
    assert worth(api, "lim") in (None, 0)
    pull("plaid-balances", {"accounts": [{"account_id": "visa", "type": "credit", "balances": {"available": 5000}}]}, 2)
    assert worth(api, "visa") in (None, 0)


def test_a_split_transaction_counts_once(api: TestClient, goal_of: NewGoal, pull: Callable[..., None]) -> None:
    """100.00 became parts of 60.00 and 40.00, whose times are older than the split; then the split is undone."""
    goal = goal_of("ACT")

    def row(guid: str, money: float, hours: float, **more: Any) -> dict[str, Any]:
        times = {"posted_at": f"{days_ago(2)}T12:00:00Z", "date": days_ago(2), "updated_at": hours_ago(hours)}
        about = {"guid": guid, "account_guid": "ACT", "amount": money, "type": "CREDIT", "status": "POSTED"}
        return about | times | {"currency_code": "USD"} | more

    parts = [row("C1", 60, 5, parent_guid="P"), row("C2", 40, 5, parent_guid="P")]
    pull("mx", {"transactions": [row("P", 100, 5, has_been_split=False)]}, 4)
    assert amount(api, goal) == 100.0
    pull("mx", {"transactions": parts}, 2.5)
    assert amount(api, goal) == 100.0
    pull("mx", {"transactions": [row("P", 100, 3, has_been_split=True), *parts]}, 2)
    assert amount(api, goal) == 100.0
    pull("mx", {"transactions": [row("P", 100, 3, has_been_split=False)]}, 1.5)
    assert amount(api, goal) == 100.0
    gone = [row("C1", 60, 1, is_deleted=True), row("C2", 40, 1, is_deleted=True)]
    pull("mx", {"transactions": gone}, 1)
    assert amount(api, goal) == 100.0


def test_forms_whose_meaning_is_plain_take_effect(
    api: TestClient, goal_of: NewGoal, pull: Callable[..., None], apply_stream: Apply
) -> None:
    """A null section, a row that does not say whether it is pending, a date with a midnight, a numeric description."""
    goal = goal_of("p")
    row = {"account_id": "p", "amount": -10, "iso_currency_code": "USD", "date": days_ago(1), "name": 4711}
    page = {"accounts": None, "added": [row | {"transaction_id": "1", "pending": False}], "modified": None}
    pull("plaid-sync", page | {"removed": None}, 1)
    pull("plaid-sync", page | {"added": [row | {"transaction_id": "2"}]}, 1)
    own = {"account_id": "p", "transaction_id": "3", "amount": "10.00", "currency": "USD", "posted_at": days_ago(1)}
    event = {"specversion": "1.0", "id": "e", "source": "t", "time": hours_ago(1), "data": own}
    event |= {"type": "milepost.transaction.recorded", "data": own | {"pending": None, "description": 12.5}}
    assert api.post("/events", json=event).status_code == 202
    assert apply_stream().dead_letters == 0
    assert amount(api, goal) == 30.0
    booked = spent("v", "100", f"{days_ago(1)}T00:00:00Z", "EUR")
    pull("gocardless", {"transactions": {"booked": [booked], "pending": None}}, 1, account_id="q")
    assert worth(api, "q") == 100.0


def test_the_date_of_a_booking_with_a_midnight_is_the_one_that_is_written(
    pull: Callable[..., None], engine: Engine
) -> None:
    """Not the day that this midnight has in UTC."""
    day = date.fromisoformat(days_ago(3))
    pull("gocardless", {"transactions": {"booked": [spent("v", "1", f"{day}T00:00:00+02:00")]}}, 1, account_id="q")
    with engine.connect() as connection:
        posted_at = connection.execute(text("SELECT posted_at FROM transactions")).scalar_one()
    assert posted_at.astimezone(UTC).date() == day
