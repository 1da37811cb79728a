"""Provider accounts: what the integrator registers for them, and what of it the adapters know."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from core.providers.contracts import KnownAccount
from core.services.provider_accounts import read_known_accounts
from core.store.database import Sessions
from tests.api.conftest import MakeClient
from tests.api.paging import refused_fields, walk

WHOLE = {
    "account_id": "savings_001",
    "user_id": "user_123",
    "kind": "liability",
    "currency": "EUR",
    "since": "2026-03-01",
    "connection": "enr_1",
    "sign": "reversed",
}


@pytest.fixture
def teller_api(client: MakeClient) -> TestClient:
    """A client that may register accounts."""
    return client("events:read", "events:write")


def test_what_is_registered_is_read_back(teller_api: TestClient) -> None:
    """Also of an id with slashes; registering again replaces all that was registered before."""
    for name in ("acc_1", "a/b/c", "ünï codé"):
        path = f"/provider-accounts/teller/{name}"
        registered = teller_api.put(path, json=WHOLE).json()
        assert registered == WHOLE | {
            "provider": "teller",
            "provider_account_id": name,
            "updated_at": registered["updated_at"],
        }
        assert teller_api.get(path).json() == registered
    again = teller_api.put("/provider-accounts/teller/acc_1", json={"currency": "USD"}).json()
    assert (again["account_id"], again["user_id"], again["since"], again["sign"]) == ("acc_1", None, None, None)


def test_accounts_are_listed_and_forgotten(teller_api: TestClient, engine: Engine) -> None:
    """By provider and id, page by page; each operation is in the audit."""
    for provider, name in (("mx", "b"), ("mx", "a b"), ("plaid", "a"), ("gocardless", "z z")):
        assert teller_api.put(f"/provider-accounts/{provider}/{name}", json={}).status_code == 200

    def listed(query: str = "") -> list[tuple[str, str]]:
        pages = walk(teller_api, f"/provider-accounts?limit=1{query}")
        return [(each["provider"], each["provider_account_id"]) for page in pages for each in page]

    assert listed() == [("gocardless", "z z"), ("mx", "a b"), ("mx", "b"), ("plaid", "a")]
    assert listed("&provider=mx") == [("mx", "a b"), ("mx", "b")]
    assert listed("&provider=none") == []
    assert teller_api.delete("/provider-accounts/mx/a b").status_code == 204
    assert teller_api.delete("/provider-accounts/mx/a b").status_code == 404
    assert listed("&provider=mx") == [("mx", "b")]
    with engine.connect() as connection:
        actions = connection.execute(text("SELECT action FROM audit WHERE subject = 'mx a b' ORDER BY at")).scalars()
        assert list(actions) == ["provider_account.told", "provider_account.forgotten"]


BAD: list[tuple[str, Any]] = [
    *(("account_id", value) for value in ("", " ", "a\0b", "x" * 201, 5, "..", "a/../b")),
    *(("user_id", value) for value in ("", "a\0b", 5)),
    *(("kind", value) for value in ("Asset", "", "credit", 5)),
    *(("currency", value) for value in ("usd", "XXX", "", 5)),
    *(("since", value) for value in ("yesterday", "2026-03-01T00:00:00Z", 5)),
    *(("connection", value) for value in ("", "a\0b", "x" * 201)),
    *(("sign", value) for value in ("", "Reversed", "negative", -1, True)),
]


def test_what_cannot_be_registered_is_refused_by_name(teller_api: TestClient) -> None:
    """And what was registered before stays."""
    teller_api.put("/provider-accounts/teller/acc_1", json=WHOLE)
    before = teller_api.get("/provider-accounts/teller/acc_1").json()
    for field, value in BAD:
        answer = teller_api.put("/provider-accounts/teller/acc_1", json={**WHOLE, field: value})
        assert refused_fields(answer) == [["body", field]], (field, value)
    assert teller_api.get("/provider-accounts/teller/acc_1").json() == before
    for path in ("paypal/acc_1", "standard/acc_1", "Teller/acc_1"):
        assert teller_api.put(f"/provider-accounts/{path}", json={}).status_code == 404
        assert teller_api.get(f"/provider-accounts/{path}").status_code == 404
    assert refused_fields(teller_api.put("/provider-accounts/teller/%00", json={})) == [["path", "provider_account_id"]]


def test_another_tenants_accounts_are_not_there(client: MakeClient) -> None:
    """Two tenants may register the same provider's id, each for itself."""
    own, other = client("admin"), client("admin", tenant="acme")
    own.put("/provider-accounts/teller/acc_1", json=WHOLE)
    assert other.get("/provider-accounts").json() == []
    assert other.get("/provider-accounts/teller/acc_1").status_code == 404
    assert other.delete("/provider-accounts/teller/acc_1").status_code == 404
    other.put("/provider-accounts/teller/acc_1", json={})
    assert own.get("/provider-accounts/teller/acc_1").json()["account_id"] == "savings_001"


def test_adapters_know_what_was_registered_and_what_events_said(
    teller_api: TestClient, apply_stream: Callable[[], Any], session_factory: Sessions
) -> None:
    """By id and by connection; the kind of an account that an event has stated, and of no other."""
    teller_api.put("/provider-accounts/teller/acc_1", json=WHOLE)
    teller_api.put("/provider-accounts/teller/acc_2", json={"connection": "enr_1"})
    teller_api.put("/provider-accounts/mx/acc_3", json={"connection": "enr_1"})
    envelope = {"specversion": "1.0", "source": "t", "type": "milepost.account.changed", "time": "2026-01-31T12:00:00Z"}
    registered = [
        {"account_id": "acc_2", "kind": "liability"},
        {"account_id": "new", "kind": "asset"},
        {"account_id": "bare", "name": "n"},
    ]
    events = [{**envelope, "id": str(n), "data": data} for n, data in enumerate(registered)]
    assert teller_api.post("/events", json=events).status_code == 202
    apply_stream()
    with session_factory() as session:
        found = read_known_accounts(session, "default", "teller", ["acc_1", "new", "bare", "\0"], ["enr_1", "none"])
        assert read_known_accounts(session, "acme", "teller", ["acc_1"], ["enr_1"]) == {"acc_1": KnownAccount("acc_1")}
    assert found == {
        "acc_1": KnownAccount(
            "savings_001", "user_123", "liability", "EUR", date(2026, 3, 1), "enr_1", sign="reversed"
        ),
        "acc_2": KnownAccount("acc_2", connection="enr_1", recorded_kind="liability"),
        "new": KnownAccount("new", recorded_kind="asset"),
        "bare": KnownAccount("bare"),
    }


def test_each_act_has_its_scope(client: MakeClient) -> None:
    """Reading needs events:read, registering needs events:write."""
    reader, writer = client("events:read"), client("events:write")
    assert reader.put("/provider-accounts/mx/a", json={}).status_code == 403
    assert reader.delete("/provider-accounts/mx/a").status_code == 403
    assert writer.get("/provider-accounts").status_code == 403
    assert writer.get("/provider-accounts/mx/a").status_code == 403
