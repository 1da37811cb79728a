"""Plaid's webhooks about an item: the state of its login becomes that of the accounts that belong to it."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import ProviderBodyRefused
from core.providers.contracts import Adapted, KnownAccount, Refresh
from core.providers.registry import Provider, accounts_named, adapt_webhook, connections_named
from tests.unit.providers.adapted import context, only, values

KNOWN = {
    "p1": KnownAccount("checking", connection="item-1"),
    "p2": KnownAccount("card", connection="item-1"),
    "p3": KnownAccount("elsewhere", connection="item-2"),
    "p4": KnownAccount("of no item"),
}


def hook(code: str, type: str = "ITEM", **more: Any) -> dict[str, Any]:
    """A webhook about an item."""
    return {"webhook_type": type, "webhook_code": code, "item_id": "item-1", "environment": "production"} | more


def test_a_broken_login_breaks_the_accounts_of_its_item() -> None:
    """The reason is the item's error code."""
    body = hook("ERROR", error={"error_code": "ITEM_LOGIN_REQUIRED", "error_type": "ITEM_ERROR"})
    adapted = adapt_webhook(Provider.PLAID, body, context(accounts=KNOWN))
    assert only(adapted, "connection.changed") == {
        "account_ids": ["card", "checking"],
        "state": "broken",
        "reason": "ITEM_LOGIN_REQUIRED",
    }


def test_a_repaired_login_heals_them() -> None:
    """LOGIN_REPAIRED asks for no pull."""
    adapted = adapt_webhook(Provider.PLAID, hook("LOGIN_REPAIRED"), context(accounts=KNOWN))
    assert only(adapted, "connection.changed")["state"] == "healthy"
    assert adapted.refreshes == ()


def test_a_revoked_account_breaks_alone() -> None:
    """The webhook names one account of the item; the others stay connected."""
    body = hook("USER_ACCOUNT_REVOKED", account_id="p2")
    adapted = adapt_webhook(Provider.PLAID, body, context(accounts=KNOWN))
    assert only(adapted, "connection.changed")["account_ids"] == ["card"]


@pytest.mark.parametrize("code", ["ERROR", "USER_PERMISSION_REVOKED", "LOGIN_REPAIRED"])
def test_an_item_without_registered_accounts_is_a_pointer(code: str) -> None:
    """Which accounts it concerns is not known, so the integrator is asked to look."""
    adapted = adapt_webhook(Provider.PLAID, hook(code), context())
    assert adapted.events == ()
    assert adapted.refreshes == (Refresh("item-1", "connection", code),)


def test_a_removal_is_a_pointer_of_the_item_or_the_account_and_removes_nothing() -> None:
    """The webhook has no time of its own. Repeated after the row came back, it must not remove it again."""
    gone = hook("TRANSACTIONS_REMOVED", "TRANSACTIONS", removed_transactions=["t1"], account_id="p1")
    of_account = {name: value for name, value in gone.items() if name != "item_id"}
    for body, subject in ((gone, "item-1"), (of_account, "p1")):
        adapted = adapt_webhook(Provider.PLAID, body, context(accounts=KNOWN))
        assert adapted == Adapted(refreshes=(Refresh(subject, "transactions", "TRANSACTIONS_REMOVED"),))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("PENDING_EXPIRATION", "connection"),
        ("PENDING_DISCONNECT", "connection"),
        ("NEW_ACCOUNTS_AVAILABLE", "accounts"),
    ],
)
def test_what_is_about_to_happen_changes_no_state(code: str, kind: str) -> None:
    """A login that will expire is healthy until it does."""
    adapted = adapt_webhook(Provider.PLAID, hook(code), context(accounts=KNOWN))
    assert adapted.events == ()
    assert adapted.refreshes == (Refresh("item-1", kind, code),)


def test_sixty_accounts_of_one_item_become_two_events() -> None:
    """An event names at most fifty accounts."""
    many = {f"p{n}": KnownAccount(f"a{n}", connection="item-1") for n in range(60)}
    adapted = adapt_webhook(Provider.PLAID, hook("ERROR"), context(accounts=many))
    assert [len(data["account_ids"]) for _, data in values(adapted)] == [50, 10]


def test_a_new_kind_of_webhook_is_a_pointer_of_its_own_name() -> None:
    """A product that Plaid adds tomorrow is no error."""
    adapted = adapt_webhook(Provider.PLAID, hook("REPORT_READY", "CHECK_REPORT"), context())
    assert adapted.refreshes == (Refresh("item-1", "check_report", "REPORT_READY"),)


@pytest.mark.parametrize(
    "body",
    [
        [],
        None,
        {},
        {"webhook_type": "ITEM"},
        {"webhook_type": 5, "webhook_code": "X"},
        {"webhook_type": "AUTH", "webhook_code": "X", "item_id": 7},
    ],
)
def test_what_is_no_webhook_is_refused(body: object) -> None:
    """A body without type, code or subject says nothing that could be acted on."""
    with pytest.raises(ProviderBodyRefused):
        adapt_webhook(Provider.PLAID, body, context())


def test_what_a_webhook_names_can_be_looked_up() -> None:
    """The API looks up the accounts and the item before it adapts the webhook."""
    assert accounts_named(Provider.PLAID, hook("USER_ACCOUNT_REVOKED", account_id="p2")) == {"p2"}
    assert connections_named(Provider.PLAID, hook("ERROR")) == {"item-1"}
