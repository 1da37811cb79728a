"""Teller's accounts, balances, transactions and webhooks."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from core.errors import ProviderBodyRefused
from core.providers.contracts import Adapted, KnownAccount, Refresh
from core.providers.registry import Format, Provider, accounts_named, adapt, adapt_webhook
from tests.unit.providers.adapted import context, counted, later, only, values

CHECKING = {"acc": KnownAccount("checking", kind="asset", currency="USD", connection="enr")}
CARD = {"acc": KnownAccount("card", kind="liability", currency="USD", connection="enr")}


def row(name: str = "txn_1", amount: str = "-42.50", **more: Any) -> dict[str, Any]:
    """A posted transaction."""
    posted = {"id": name, "account_id": "acc", "amount": amount, "date": "2026-03-09", "status": "posted"}
    details = {"category": "groceries", "counterparty": {"name": "Shop", "type": "organization"}}
    return posted | {"details": details, "description": "SHOP 12", "running_balance": None} | more


def adapted_body(body: Any, **more: Any) -> Adapted:
    """What a pulled body becomes."""
    return adapt(Format.TELLER, body, context(**({"accounts": CHECKING} | more)))


def test_amounts_are_the_holders_on_a_checking_account() -> None:
    """Negative is money out."""
    assert counted(adapted_body([row(), row("txn_2", "2500.00")]).events) == {"txn_1": -4250, "txn_2": 250000}


def test_amounts_are_inverted_on_a_card() -> None:
    """A purchase is positive there, and a payment negative: the first lowers worth, the second raises it."""
    rows = [row(amount="42.50"), row("txn_2", "-100.00")]
    assert counted(adapted_body(rows, accounts=CARD).events) == {"txn_1": -4250, "txn_2": 10000}


@pytest.mark.parametrize(("accounts", "current"), [(CHECKING, "28.57"), (CARD, "28.57")])
def test_the_ledger_balance_is_owned_or_owed(accounts: dict[str, KnownAccount], current: str) -> None:
    """A card's balance says what is owed; the kind in the same event says how it counts in worth."""
    body = {"account_id": "acc", "ledger": "28.57", "available": "20.00", "links": {}}
    reported = only(adapted_body(body, accounts=accounts), "balance.reported")
    assert reported["current"] == current
    assert reported["kind"] == accounts["acc"].kind
    assert reported["as_of"] == "2026-03-10T12:00:00+00:00"


def test_without_a_ledger_balance_there_is_no_report() -> None:
    """The available balance includes holds, so it is not what the account is worth."""
    assert adapted_body({"account_id": "acc", "ledger": None, "available": "20.00"}) == Adapted()


@pytest.mark.parametrize(
    ("accounts", "field"),
    [
        ({}, "kind"),
        ({"acc": KnownAccount("x", currency="USD")}, "kind"),
        ({"acc": KnownAccount("x", kind="asset")}, "currency"),
    ],
)
def test_rows_whose_sign_or_currency_is_missing_are_refused(accounts: dict[str, KnownAccount], field: str) -> None:
    """A guess could change money wrongly, so the caller must supply it and send the body again."""
    with pytest.raises(ProviderBodyRefused) as refused:
        adapted_body([row()], accounts=accounts)
    assert (refused.value.code, refused.value.where) == ("untold", f"[0].{field}")


def test_the_caller_may_give_kind_and_currency_for_the_whole_body() -> None:
    """Where the account is not registered, the parameters of the request are used."""
    assert counted(adapted_body([row()], accounts={}, kind="liability", currency="USD").events) == {"txn_1": 4250}


def test_one_transaction_says_as_much_as_a_list_of_it() -> None:
    """Both state the account's user and kind, as the caller gave them."""
    said: dict[str, Any] = {"accounts": {}, "kind": "liability", "currency": "USD", "user_id": "u1"}
    alone = adapted_body(row(), **said)
    assert alone == adapted_body([row()], **said)
    assert only(alone, "account.changed") == {"account_id": "acc", "kind": "liability", "user_id": "u1"}


def test_a_recorded_kind_decides_signs_and_is_not_stated_again() -> None:
    """What Milepost knew when the body arrived must not win over what was reported since."""
    known = {"acc": KnownAccount("card", recorded_kind="liability", currency="USD")}
    adapted = adapted_body([row()], accounts=known)
    assert counted(adapted.events) == {"txn_1": 4250}
    assert [type for type, _ in values(adapted)] == ["transaction.recorded"]


def test_accounts_say_their_kind_and_whether_they_are_connected() -> None:
    """Teller says `closed` of an account that it cannot reach; a goal may still be linked to it."""
    body = [
        {
            "id": "acc",
            "enrollment_id": "enr",
            "name": "Platinum",
            "type": "credit",
            "currency": "USD",
            "status": "open",
        },
        {"id": "b", "enrollment_id": "enr", "name": "Old", "type": "depository", "currency": "USD", "status": "closed"},
    ]
    assert values(adapted_body(body, accounts={})) == [
        ("account.changed", {"account_id": "acc", "kind": "liability", "name": "Platinum", "currency": "USD"}),
        ("connection.changed", {"account_ids": ["acc"], "state": "healthy"}),
        ("account.changed", {"account_id": "b", "kind": "asset", "name": "Old", "currency": "USD"}),
        ("connection.changed", {"account_ids": ["b"], "state": "broken", "reason": "closed"}),
    ]


def test_a_pending_row_counts_once_it_is_posted_whether_or_not_its_id_changes() -> None:
    """Teller has no pointer and no removals: a pending row that is gone counts nothing."""
    for posted_id in ("txn_1", "txn_9"):
        pulls = [
            adapted_body([row(status="pending")]).events,
            adapt(Format.TELLER, [row(posted_id, "-45.00")], later(24, accounts=CHECKING)).events,
        ]
        for order in itertools.permutations(pulls):
            assert counted(itertools.chain(*order)) == {posted_id: -4500}


def test_of_overlapping_pulls_the_later_wins() -> None:
    """A row that was corrected, and one that was corrected back."""
    pulls = [
        adapt(Format.TELLER, [row(amount=amount)], later(hours, accounts=CHECKING)).events
        for hours, amount in ((0, "-1.00"), (24, "-2.00"), (48, "-1.00"))
    ]
    for order in itertools.permutations(pulls):
        assert counted(itertools.chain(*order)) == {"txn_1": -100}


def test_new_transactions_come_with_the_webhook_at_its_own_time() -> None:
    """The same delivery an hour later becomes the same events."""
    body = {
        "id": "wh_1",
        "type": "transactions.processed",
        "timestamp": "2026-03-10T11:00:00Z",
        "payload": {"enrollment_id": "enr", "transactions": [row()]},
    }
    first = adapt_webhook(Provider.TELLER, body, context(accounts=CHECKING))
    again = adapt_webhook(Provider.TELLER, body, later(1, accounts=CHECKING))
    assert counted(first.events) == {"txn_1": -4250}
    assert first.events[-1] == again.events[-1]
    assert accounts_named(Provider.TELLER, body) == {"acc"}


def test_new_transactions_of_unregistered_accounts_are_a_pointer() -> None:
    """Their signs are not known until the accounts are pulled."""
    payload = {"enrollment_id": "enr", "transactions": [row()]}
    body = {"id": "wh_1", "type": "transactions.processed", "timestamp": "2026-03-10T11:00:00Z", "payload": payload}
    adapted = adapt_webhook(Provider.TELLER, body, context())
    assert adapted == Adapted(refreshes=(Refresh("enr", "transactions", "untold kind"),))


def test_a_lost_enrollment_breaks_its_accounts() -> None:
    """The accounts are found by their enrollment; one event states it, at the webhook's time."""
    payload = {"enrollment_id": "enr", "reason": "disconnected.user_action.mfa_required"}
    body = {"id": "wh_1", "type": "enrollment.disconnected", "timestamp": "2026-03-10T11:00:00Z", "payload": payload}
    adapted = adapt_webhook(Provider.TELLER, body, context(accounts=CARD))
    assert only(adapted, "connection.changed") == {
        "account_ids": ["card"],
        "state": "broken",
        "reason": payload["reason"],
    }
    assert adapt_webhook(Provider.TELLER, body, context()).refreshes[0].kind == "connection"


@pytest.mark.parametrize("type", ["webhook.test", "account.number_verification.processed"])
def test_webhooks_without_effect_are_accepted_and_state_nothing(type: str) -> None:
    """They are answered with success; otherwise Teller would send them again."""
    body = {"id": "wh_1", "type": type, "timestamp": "2026-03-10T11:00:00Z", "payload": {}}
    assert adapt_webhook(Provider.TELLER, body, context()) == Adapted()


@pytest.mark.parametrize("body", [None, {}, 5, "x", [1, 2], [{"a": 1}], {"error": {"code": "not_found"}}])
def test_a_body_of_another_form_is_refused(body: object) -> None:
    """An error that Teller answered, or something else altogether."""
    with pytest.raises(ProviderBodyRefused) as refused:
        adapted_body(body)
    assert refused.value.code == "not_this_form"


def test_no_transactions_are_no_events() -> None:
    """An empty array is a good answer."""
    assert adapted_body([]) == Adapted()
