"""Which of a provider's accounts and connections a body names, so that what is known of them can be looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from core.errors import EventRejected
from core.events.envelope import ID_LONGEST, identifier
from core.events.providers.seam import ROWS_MOST, Format, Provider

_PLAID_LISTS = ("accounts", "added", "modified", "removed", "transactions")
_MX_LISTS = ("accounts", "transactions", "account", "transaction")


def accounts_named(source: Format | Provider, body: object) -> frozenset[str]:
    """The provider's ids of the accounts in a pulled body or a webhook; none for what is not of that form."""
    return _names(_ACCOUNTS[source.value](body))


def connections_named(source: Format | Provider, body: object) -> frozenset[str]:
    """The items, enrollments or members that a webhook, or a list of members, is about."""
    if not isinstance(body, dict):
        return frozenset()
    payload = body.get("payload")
    find = _CONNECTIONS.get(source.value)
    return frozenset() if find is None else _names(find(body, payload if isinstance(payload, dict) else {}))


def _plaid(body: object) -> Iterator[object]:
    if isinstance(body, dict):
        yield body.get("account_id")
        yield from (row.get("account_id") for name in _PLAID_LISTS for row in _rows(body.get(name)))


def _teller(body: object) -> Iterator[object]:
    payload = body.get("payload") if isinstance(body, dict) else None
    rows = payload.get("transactions") if isinstance(payload, dict) else body
    for row in _rows(rows):
        yield row.get("account_id", row.get("id"))


def _mx(body: object) -> Iterator[object]:
    if isinstance(body, dict):
        rows = [body, *(row for name in _MX_LISTS for row in _rows(body.get(name)))]
        yield from (row.get("account_guid", row.get("guid")) for row in rows)


def _mx_members(body: dict[str, Any]) -> Iterator[object]:
    yield body.get("member_guid")
    members = [body, *_rows(body.get("members")), *_rows(body.get("member"))]
    yield from (member.get("guid") for member in members if "connection_status" in member)


def _gocardless(body: object) -> Iterator[object]:
    """Only the account's metadata names it."""
    if isinstance(body, dict):
        yield body.get("id")


def _rows(value: object) -> Iterator[dict[str, Any]]:
    rows = value if isinstance(value, list) else [value]
    return (row for row in islice(rows, ROWS_MOST) if isinstance(row, dict))


def _names(candidates: Iterable[object]) -> frozenset[str]:
    return frozenset(name for name in candidates if isinstance(name, str) and _can_name(name))


def _can_name(name: str) -> bool:
    try:
        identifier(name, "name", ID_LONGEST)
    except EventRejected:
        return False
    return True


_ACCOUNTS: dict[str, Callable[[object], Iterable[object]]] = {
    "plaid-sync": _plaid,
    "plaid-balances": _plaid,
    "plaid": _plaid,
    "teller": _teller,
    "gocardless": _gocardless,
    "mx": _mx,
    "standard": lambda _: (),
}
_CONNECTIONS: dict[str, Callable[[dict[str, Any], dict[str, Any]], Iterable[object]]] = {
    "plaid": lambda body, _: (body.get("item_id"),),
    "teller": lambda _, payload: (payload.get("enrollment_id"),),
    "mx": lambda body, _: _mx_members(body),
}
