"""Webhooks without a time of their own state no amount: repeated, they would win over what was pulled since."""

from __future__ import annotations

from typing import Any

from core.providers.contracts import Adapted, KnownAccount, Refresh
from core.providers.registry import Provider, adapt_webhook
from tests.unit.providers.adapted import context, later, only


def test_a_teller_webhook_without_a_time_asks_for_a_pull() -> None:
    """Its transactions may have changed by the time that it is delivered again."""
    known = {"acc": KnownAccount("checking", kind="asset", currency="USD")}
    row = {"id": "t", "account_id": "acc", "amount": "1.00", "date": "2026-03-09", "status": "posted"}
    hook: dict[str, Any] = {"id": "wh_1", "type": "transactions.processed", "timestamp": "2026-03-10T11:00:00Z"}
    hook |= {"payload": {"enrollment_id": "enr", "transactions": [row]}}
    assert adapt_webhook(Provider.TELLER, hook, context(accounts=known)).events
    asked = Adapted(refreshes=(Refresh("enr", "transactions", "transactions.processed"),))
    for untimed in (hook | {"timestamp": None}, {name: hook[name] for name in hook if name != "timestamp"}):
        assert adapt_webhook(Provider.TELLER, untimed, context(accounts=known)) == asked


def test_an_mx_webhook_without_a_time_asks_for_a_pull() -> None:
    """A removal is of its `deleted_at`; without it, nobody knows whether the transaction came back since."""
    gone = {"action": "deleted", "guid": "TRN-1", "account_guid": "ACT-1", "member_guid": "MBR-1", "revision": 4}
    assert only(adapt_webhook(Provider.MX, gone | {"deleted_at": 1773057600}, later()), "transaction.removed")
    asked = Adapted(refreshes=(Refresh("ACT-1", "transactions", "deleted"),))
    assert adapt_webhook(Provider.MX, gone, later()) == asked
    account = {"action": "updated", "guid": "ACT-1", "member_guid": "MBR-1", "type": 1, "balance": 5}
    asked = Adapted(refreshes=(Refresh("MBR-1", "accounts", "updated"),))
    assert adapt_webhook(Provider.MX, account, later()) == asked
