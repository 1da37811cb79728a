"""Plaid's webhooks: pointers to what is to be pulled, and the state of an item's login."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.events.providers.fields import nested
from core.events.providers.plaid import REMOVED
from core.events.providers.rows import Reading, read_row, rows_of
from core.events.providers.seam import Adapted, AdaptedEvent, Context
from core.events.providers.webhooks import code_of, connection_state, refresh, webhook_object

# What to pull, by webhook_type. Types that are not here are pulled by their own name: a new product is no error.
_KINDS = {
    "TRANSACTIONS": "transactions",
    "INVESTMENTS_TRANSACTIONS": "investments_transactions",
    "HOLDINGS": "holdings",
    "LIABILITIES": "liabilities",
    "AUTH": "auth",
    "IDENTITY": "identity",
    "TRANSFER": "transfers",
}
_BROKEN = frozenset({"ERROR", "USER_PERMISSION_REVOKED", "USER_ACCOUNT_REVOKED"})
_REPAIRED = frozenset({"LOGIN_REPAIRED"})
_ABOUT_TO_BREAK = frozenset({"PENDING_EXPIRATION", "PENDING_DISCONNECT"})
_SAYS_NOTHING = frozenset({"WEBHOOK_UPDATE_ACKNOWLEDGED"})
_SUBJECTS = ("item_id", "account_id", "recurring_transfer_id", "transfer_id", "user_id")


def adapt_webhook(body: object, context: Context) -> Adapted:
    """One webhook. It has no id and no time: time is its arrival."""
    hook = webhook_object(body)
    type, code = code_of(hook, "webhook_type"), code_of(hook, "webhook_code")
    if type == "ITEM":
        return _of_item(hook, code, context)
    removed = hook.get("removed_transactions")
    if type == "TRANSACTIONS" and code == "TRANSACTIONS_REMOVED" and isinstance(removed, list) and "account_id" in hook:
        return _removed(hook["account_id"], removed, context)
    kind = "recurring_transactions" if code == "RECURRING_TRANSACTIONS_UPDATE" else _KINDS.get(type, type.lower())
    return refresh((hook.get(name) for name in _SUBJECTS), kind, code)


def _of_item(hook: Mapping[str, Any], code: str, context: Context) -> Adapted:
    subject = hook.get("item_id")
    if code in _BROKEN:
        reason = nested(hook, "error").get("error_code")
        told = reason if isinstance(reason, str) and reason else code
        named = hook.get("account_id") if code == "USER_ACCOUNT_REVOKED" else None
        return connection_state(None if named else subject, [named], "broken", told, None, context)
    if code in _REPAIRED:
        return connection_state(subject, [], "healthy", code, None, context)
    if code in _SAYS_NOTHING:
        return Adapted()
    kind = "connection" if code in _ABOUT_TO_BREAK else "accounts" if code == "NEW_ACCOUNTS_AVAILABLE" else "item"
    return refresh((hook.get(name) for name in _SUBJECTS), kind, code)


def _removed(account_id: object, transactions: list[object], context: Context) -> Adapted:
    """A processor's webhook names the account, so its removals can be stated at once; an item's leaves it open."""
    events: list[AdaptedEvent] = []
    for index, name in enumerate(rows_of(transactions, "removed_transactions")):
        row = {"account_id": account_id, "transaction_id": name}
        events += read_row(REMOVED, row, Reading(context), f"removed_transactions[{index}]")
    return Adapted(events=tuple(events))
