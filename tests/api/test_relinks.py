"""Relinks: accounts that probably go on under a new id are offered, accepted and undone; mappings join likewise."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from core.store.database import Sessions
from core.verify.verify import verify
from tests.api.paging import refused_fields, walk

_numbers = count(1)
NOW = datetime.now(UTC)
Tell = Callable[..., None]


def days_ago(days: float) -> datetime:
    """A moment before now."""
    return NOW - timedelta(days=days)


@pytest.fixture
def tell(api: TestClient, apply_stream: Callable[[], Any]) -> Tell:
    """Sends an event and applies it."""

    def send(type: str, time: datetime = NOW, **data: Any) -> None:
        envelope = {"specversion": "1.0", "id": f"e{next(_numbers)}", "source": "bank", "time": time.isoformat()}
        assert api.post("/events", json={**envelope, "type": f"milepost.{type}", "data": data}).status_code == 202
        assert apply_stream().dead_letters == 0

    return send


@pytest.fixture
def reported(tell: Tell) -> Tell:
    """States a balance of so many days ago, as of then."""

    def state(account: str, current: str, days: float, currency: str = "USD", **more: Any) -> None:
        at = days_ago(days)
        data = {"account_id": account, "current": current, "currency": currency, "as_of": at.isoformat()}
        tell("balance.reported", at, **{"user_id": "ann", **data, **more})

    return state


def offered(api: TestClient, query: str = "") -> list[tuple[str, str, str]]:
    """The pairs that are offered, each with why."""
    pages = walk(api, f"/relinks?limit=1{query}")
    return [(each["old_account_id"], each["new_account_id"], each["why"]) for page in pages for each in page]


def test_what_is_alike_and_silent_or_broken_is_offered(api: TestClient, tell: Tell, reported: Tell) -> None:
    """Of one user, kind and currency, with balances within 5% or 50.00, and the old one without facts since the new."""
    reported("a1", "1000.00", 9)
    reported("a2", "1052.00", 3)
    for name, current, more in (
        ("b too different", "1060.00", {}),
        ("c of another user", "1000.00", {"user_id": "bob"}),
        ("d owed", "1000.00", {"kind": "liability"}),
        ("e in another currency", "1000.00", {"currency": "EUR"}),
    ):
        reported(name, current, 3, **more)
    reported("f1", "10.00", 9, user_id="cid")
    reported("f2", "60.00", 1, user_id="cid")
    # As long as the old one has facts of its own, both are alive.
    reported("g1", "70.00", 9, user_id="dot")
    reported("g2", "70.00", 8, user_id="dot")
    reported("g1", "70.00", 7, user_id="dot")
    # Not silent for two days yet, but broken.
    for name in ("h", "i"):
        reported(f"{name}1", "5", 1.5, currency="JPY", user_id=name)
        reported(f"{name}2", "55", 1.2, currency="JPY", user_id=name)
    tell("connection.changed", account_ids=["i1"], state="broken", reason="login expired")
    expected = [("a1", "a2", "silent"), ("f1", "f2", "silent"), ("i1", "i2", "broken")]
    assert offered(api) == expected
    assert offered(api, "&user_id=cid") == [("f1", "f2", "silent")]
    assert offered(api, "&user_id=nobody") == []
    listed = api.get("/relinks?user_id=ann").json()[0]
    assert (listed["old_balance"], listed["new_balance"], listed["currency"]) == (1000, 1052, "USD")


def test_a_relink_is_accepted_and_undone(
    api: TestClient, reported: Tell, engine: Engine, session_factory: Sessions
) -> None:
    """It joins as an event does, is no longer offered, and is in the audit; undone, both count again."""
    body = {"user_id": "ann", "name": "all", "type": "net_worth", "target_amount": 9000, "tracking": "net_worth"}
    goal_id = api.post("/goals", json=body).json()["id"]
    reported("old", "1000.00", 9)
    reported("new", "1010.00", 3)
    pair = {"old_account_id": "old", "new_account_id": "new"}

    def amount() -> float:
        return float(api.get(f"/goals/{goal_id}").json()["current_amount"])

    assert amount() == 2010
    accepted = api.post("/relinks", json=pair, headers={"Idempotency-Key": "once"})
    assert accepted.status_code == 200, accepted.text
    old, new = api.get("/accounts/old").json(), api.get("/accounts/new").json()
    assert accepted.json() == old
    joined_at = new["last_report"]["as_of"]
    assert (old["replaced_by"], old["counts_until"], old["worth"], old["note"]) == ("new", joined_at, 0, None)
    assert (new["replaces"], new["counts_from"], new["worth"], new["note"]) == (["old"], joined_at, 1010, None)
    assert (amount(), offered(api)) == (1010, [])
    later = api.post("/relinks", json=pair | {"from": days_ago(5).date().isoformat()}).json()
    assert later["counts_until"] < joined_at
    undone = api.post("/relinks/undo", json={"old_account_id": "old"}).json()
    assert (undone["replaced_by"], undone["counts_until"], undone["worth"], amount()) == (None, None, 1000, 2010)
    with engine.connect() as connection:
        audit = connection.execute(text("SELECT action, subject, detail FROM audit WHERE action LIKE 'relink%'")).all()
    assert sorted(audit) == [("relink.accepted", "old", "new")] * 2 + [("relink.undone", "old", "new")]
    assert verify(session_factory, datetime.now(UTC)).first == ()


def test_what_cannot_be_joined_is_refused_and_changes_nothing(
    api: TestClient, tell: Tell, reported: Tell, dump: Callable[[], str]
) -> None:
    """Each refusal says why; an event that says the same is kept, and the account says why it has no effect."""
    reported("a", "5", 9)
    reported("b", "5", 3)
    reported("owed", "5", 3, kind="liability")
    reported("euro", "5", 3, currency="EUR")
    reported("bob's", "5", 3, user_id="bob")
    tell("account.changed", days_ago(2), account_id="b", replaced_by="a")
    tell("account.changed", days_ago(2), account_id="empty", name="no facts")
    before = dump()
    for other, status, why in (
        ("nowhere", 404, "New account not found"),
        ("a", 422, "is the account itself"),
        ("b", 422, "is replaced by the old account itself; undo that relink first"),
        ("owed", 422, "one is an asset, the other a liability"),
        ("euro", 422, "one is in USD, the other in EUR"),
        ("bob's", 422, "they are of different users"),
        ("empty", 422, "the currency of one of them is not known yet"),
    ):
        response = api.post("/relinks", json={"old_account_id": "a", "new_account_id": other})
        assert response.status_code == status, other
        assert why in response.text, other
    of_none = api.post("/relinks", json={"old_account_id": "nowhere", "new_account_id": "a"})
    assert (of_none.status_code, of_none.json()) == (404, {"detail": "Old account not found"})
    tomorrow = (NOW + timedelta(days=1)).date().isoformat()
    assert refused_fields(
        api.post("/relinks", json={"old_account_id": "owed", "new_account_id": "b", "from": tomorrow})
    )
    assert api.post("/relinks/undo", json={"old_account_id": "a"}).status_code == 422
    assert api.post("/relinks/undo", json={"old_account_id": "nowhere"}).status_code == 404
    assert dump() == before
    tell("account.changed", account_id="a", replaced_by="euro")
    account = api.get("/accounts/a").json()
    assert (account["worth"], account["counts_until"]) == (5, None)
    assert account["note"] == "is not joined with euro: one is in USD, the other in EUR"
    tell("account.changed", account_id="a", replaced_by="b")
    assert api.get("/accounts/a").json()["note"] == "is not joined with b: the statements go in a circle"


def test_a_mapping_after_the_first_pull_joins_what_came_before(
    api: TestClient, reported: Tell, session_factory: Sessions
) -> None:
    """The provider's id counts up to the first balance under one's own id; removing the mapping parts them again."""
    body = {"user_id": "ann", "name": "g", "type": "savings", "target_amount": 9000}
    goal_id = api.post("/goals", json=body).json()["id"]
    link = {"account_id": "acc_1", "allocation_percent": 100, "from": days_ago(9).date().isoformat()}
    assert api.post(f"/goals/{goal_id}/funding", json=link).status_code == 201
    reported("acc_1", "100.00", 8)
    path = "/provider-accounts/teller/acc_1"
    assert api.put(path, json={"account_id": "savings"}).status_code == 200
    assert api.get("/accounts/acc_1").json()["replaced_by"] == "savings"
    reported("acc_1", "120.00", 2)
    reported("savings", "150.00", 1)

    def amount() -> float:
        return float(api.get(f"/goals/{goal_id}").json()["current_amount"])

    assert amount() == 50
    # The same registration again says nothing new.
    assert api.post("/relinks/undo", json={"old_account_id": "acc_1"}).status_code == 200
    assert api.put(path, json={"account_id": "savings", "user_id": "ann"}).status_code == 200
    assert (api.get("/accounts/acc_1").json()["replaced_by"], amount()) == (None, 20)
    assert api.put(path, json={"account_id": "other"}).status_code == 200
    assert (
        api.get("/accounts/acc_1").json()["note"]
        == "is not joined with other: the currency of one of them is not known yet"
    )
    assert api.delete(path).status_code == 204
    assert (api.get("/accounts/acc_1").json()["replaced_by"], amount()) == (None, 20)
    # Of an account of which nothing is known nothing is said.
    assert api.put("/provider-accounts/teller/acc_2", json={"account_id": "savings"}).status_code == 200
    assert api.get("/accounts/acc_2").status_code == 404
    assert verify(session_factory, datetime.now(UTC)).first == ()
