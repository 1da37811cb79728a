"""Facts in another currency than their account: kept, listed, and counted once the account is in their currency."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from fastapi.testclient import TestClient

from core.store.database import Sessions
from core.verify.verify import verify
from tests.api.backlog import Harness
from tests.api.paging import refused_fields, walk


def _send(harness: Harness, type: str, time: str, id: str, **data: Any) -> None:
    envelope = {"specversion": "1.0", "id": id, "source": "bank", "type": f"milepost.{type}", "time": time}
    harness.send(envelope | {"data": {"account_id": "a"} | data})
    harness.drain()


def _goal(api: TestClient, since: date, currency: str = "EUR", **more: Any) -> str:
    draft = {"user_id": "u", "name": "g", "type": "savings", "target_amount": 5000, "currency": currency}
    path = f"/goals/{api.post('/goals', json=draft | more).json()['id']}"
    link = {"account_id": "a", "allocation_percent": 100, "from": since.isoformat()}
    assert api.post(f"{path}/funding", json=link).status_code == 201
    return path


def test_a_payment_abroad_that_comes_first_does_not_decide(
    harness: Harness, api: TestClient, session_factory: Sessions
) -> None:
    """A registered account whose first row is in dollars stays in euros: its money counts, and the row is listed."""
    now, today = datetime.now(UTC), datetime.now(UTC).date()
    registration = {"account_id": "a", "currency": "EUR", "kind": "asset"}
    assert api.put("/provider-accounts/gocardless/abroad", json=registration).status_code == 200
    goal = _goal(api, today - timedelta(days=9))

    def pull(hours: int, body: object) -> None:
        query = {
            "format": "gocardless",
            "account_id": "abroad",
            "pulled_at": (now - hours * timedelta(hours=1)).isoformat(),
        }
        assert api.post("/events", params=query, json=body).status_code == 202
        harness.drain()

    rows = [
        {
            "internalTransactionId": name,
            "bookingDate": (today - timedelta(days=1)).isoformat(),
            "transactionAmount": {"amount": amount, "currency": currency},
        }
        for name, amount, currency in (("cafe", "-7.50", "USD"), ("pay", "900.00", "EUR"))
    ]
    pull(3, {"transactions": {"booked": rows, "pending": []}})
    balance = {"balanceAmount": {"amount": "893.00", "currency": "EUR"}, "balanceType": "interimBooked"}
    pull(2, {"balances": [balance]})
    account = api.get("/accounts/a").json()
    assert (account["currency"], account["currency_from"], account["worth"]) == ("EUR", "registration", 893)
    assert api.get(goal).json()["current_amount"] == 900
    (listed,) = api.get("/events/unapplied").json()
    assert (listed["state"], listed["type"]) == ("other_currency", "milepost.transaction.recorded")
    assert listed["reason"] == "it is in USD, but the account a is in EUR"
    assert {listed[name] for name in ("shard", "entry_id", "accepted_at", "code", "deliveries")} == {None}
    assert verify(session_factory, now).first == ()


def test_details_of_the_account_say_its_currency_if_nobody_registered_one(harness: Harness, api: TestClient) -> None:
    """Posted after rows and balances in another currency, they decide all the same; XXX is the code for none."""
    _send(harness, "balance.reported", "2026-02-01T09:00:00Z", "1", current=8, currency="USD", as_of="2026-02-01")
    query = {"format": "gocardless", "account_id": "a", "pulled_at": "2026-02-02T09:00:00Z"}
    for currency, shown in (("XXX", ("USD", "report", 8)), ("EUR", ("EUR", "statement", 0))):
        details = {"account": {"currency": currency, "name": "Main", "cashAccountType": "CACC", "status": "enabled"}}
        assert api.post("/events", params=query, json=details).status_code == 202
        harness.drain()
        account = api.get("/accounts/a").json()
        assert (account["currency"], account["currency_from"], account["worth"]) == shown


def test_a_pull_with_balances_in_two_currencies_is_two_reports(
    harness: Harness, api: TestClient, session_factory: Sessions
) -> None:
    """Both are shown; the goals in each currency count theirs once the account is in it, and else say why not."""
    dollars, euros = (
        _goal(api, date(2026, 1, 1), currency, tracking="balance", current_amount=1) for currency in ("USD", "EUR")
    )
    at = "2026-02-01T09:00:00Z"
    _send(harness, "balance.reported", at, "1", current=500, currency="USD", as_of=at)
    _send(harness, "balance.reported", at, "2", current=70, currency="EUR", as_of=at)
    _send(
        harness,
        "transaction.recorded",
        at,
        "3",
        transaction_id="t",
        amount=2,
        currency="EUR",
        posted_at="2026-02-02T09:00:00Z",
    )
    reports = [("USD", 500), ("EUR", 70)]
    for day, (currency, worth) in enumerate((("USD", 500), ("EUR", 72), (None, 500)), 3):
        _send(harness, "account.changed", f"2026-02-0{day}T09:00:00Z", f"c{currency}", currency=currency)
        assert [(each["currency"], each["current"]) for each in api.get("/accounts/a/reports").json()] == reports
        own = currency or "USD"
        assert (api.get("/accounts/a").json()["currency"], api.get("/accounts/a").json()["worth"]) == (own, worth)
        counting, other = (dollars, euros) if own == "USD" else (euros, dollars)
        assert [api.get(path).json()["current_amount"] for path in (counting, other)] == [worth, 1]
        notes = [api.get(f"{path}/funding").json()[0]["note"] for path in (counting, other)]
        assert notes[0] is None
        assert own in str(notes[1])
        assert verify(session_factory, datetime.now(UTC)).first == ()


def test_what_is_in_another_currency_comes_last_in_pages(harness: Harness, api: TestClient) -> None:
    """Each once, reports first; with `since` those of that time or later; a cursor that was changed is refused."""
    _send(harness, "account.changed", "2026-02-01T00:00:00Z", "0", currency="USD")
    _send(harness, "account.changed", "2026-02-01T00:00:00Z", "b0", account_id="b", currency="JPY")
    for day in range(1, 5):
        time = f"2026-02-0{day}T09:00:00Z"
        row = {"transaction_id": f"t{day}", "amount": 1, "currency": "EUR", "posted_at": time}
        _send(harness, "transaction.recorded", time, f"t{day}", **row)
        _send(harness, "balance.reported", time, f"r{day}", current=1, currency="EUR", as_of=time)
    _send(harness, "transaction.recorded", time, "b", **row | {"account_id": "b"})
    _send(harness, "transaction.recorded", time, "p", **row | {"transaction_id": "p", "pending": True})
    envelope = {
        "specversion": "1.0",
        "id": "bad",
        "source": "bank",
        "type": "milepost.nothing",
        "time": time,
        "data": {},
    }
    harness.send(envelope)
    harness.drain()
    harness.send(envelope | {"id": "left"})
    whole = [f"r{day}" for day in range(1, 5)] + [f"t{day}" for day in range(1, 5)] + ["b"]
    for limit in (1, 2, 3, 20):
        pages = walk(api, f"/events/unapplied?limit={limit}")
        assert [each["id"] for page in pages for each in page] == ["left", "bad", *whole]
    (found,) = walk(api, "/events/unapplied?since=2026-02-04T00:00:00Z&limit=20")
    assert [each["id"] for each in found if each["state"] == "other_currency"] == ["r4", "t4", "b"]
    following = api.get("/events/unapplied?limit=4").links["next"]["url"]
    assert refused_fields(api.get(following[:-4] + "AAAA")) == [["query", "cursor"]]
