"""MX's webhooks: whole objects with what was done to them, and pointers to a member's new data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.errors import ProviderBodyRefused
from core.events.providers.fields import Untold, whole
from core.events.providers.introductions import introduce
from core.events.providers.mx import PARTS, connection_of
from core.events.providers.naming import accounts_named
from core.events.providers.rows import Part, Reading, read_row
from core.events.providers.seam import Adapted, Context, Provider
from core.events.providers.webhooks import code_of, connection_state, refresh, webhook_object

# Webhooks that only say that a member has new data, by their `type`.
_POINTERS = {
    "AGGREGATION": "transactions",
    "HISTORY": "transactions",
    "BALANCE": "balances",
    "STATEMENT": "statements",
    "VERIFICATION": "accounts",
    "IDENTIFICATION": "accounts",
}
_REVISION_DIGITS = 20


def adapt_webhook(body: object, context: Context) -> Adapted:
    """One webhook: an object of ours (created, updated, deleted), a connection's state, or a pointer."""
    hook = webhook_object(body)
    action, type = code_of(hook, "action"), hook.get("type")
    subjects = [hook.get(name) for name in ("member_guid", "guid", "user_guid")]
    if type == "CONNECTION_STATUS":
        status = code_of(hook, "connection_status")
        return connection_state(subjects[0], [], connection_of(status), status, None, context)
    if isinstance(type, str) and type in _POINTERS:
        return refresh(subjects, _POINTERS[type], action)
    part = _part_of(hook)
    if part is None:
        return refresh(subjects, type.lower() if isinstance(type, str) and type else "other", action)
    if part is PARTS["member"]:
        return _member(hook, action, context)
    is_transaction = part is PARTS["transaction"]
    try:
        events = tuple(read_row(part, hook, Reading(context, _order(hook)), ""))
    except Untold:
        return refresh([hook.get("account_guid"), *subjects], "transactions" if is_transaction else "accounts", action)
    names = accounts_named(Provider.MX, hook) if is_transaction else ()
    return Adapted(events=(*introduce(names, context), *events))


def _part_of(hook: Mapping[str, Any]) -> Part | None:
    if "guid" not in hook:
        return None
    if "account_guid" in hook:
        return PARTS["transaction"]
    if "connection_status" in hook:
        return PARTS["member"]
    return PARTS["account"] if "member_guid" in hook else None


def _member(hook: Mapping[str, Any], action: str, context: Context) -> Adapted:
    """A member's accounts, where they are known; else a pointer to it."""
    events = tuple(read_row(PARTS["member"], hook, Reading(context), ""))
    return Adapted(events=events) if events else refresh([hook.get("guid")], "connection", action)


def _order(hook: Mapping[str, Any]) -> str:
    """The revision orders the changes of an object within one second, which is as fine as MX's times are."""
    revision = whole(hook.get("revision", 0))
    if revision is None or not 0 <= revision < 10**_REVISION_DIGITS:
        raise ProviderBodyRefused("not_this_form", "revision must be a whole number", "revision")
    return f"h{revision:0{_REVISION_DIGITS}}"
