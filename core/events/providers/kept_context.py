"""The context of a row that is kept whole, as JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from core.errors import EventRejected
from core.events.envelope import identifier, parse_moment
from core.events.providers.seam import Context, KnownAccount

_TEXTS = ("account_id", "user_id", "currency", "kind")
_KNOWN_TEXTS = (*_TEXTS, "connection", "recorded_kind")


def context_as_json(context: Context, row: object) -> dict[str, Any]:
    """What is needed to read the row again: of the accounts only those that the row names, or whose connection."""
    named = set() if context.account_id is None else {context.account_id}
    if isinstance(row, dict):
        named |= {value for value in row.values() if isinstance(value, str)}
    kept: dict[str, Any] = {
        "accounts": {
            name: _texts(known, _KNOWN_TEXTS) | ({} if known.since is None else {"since": known.since.isoformat()})
            for name, known in context.accounts.items()
            if name in named or known.connection in named
        }
    }
    if context.pulled_at is not None:
        kept["pulled_at"] = context.pulled_at.isoformat()
    return kept | _texts(context, _TEXTS)


def context_from_json(kept: object, source: str) -> Context:
    """The context again; anyone may have written it, so raises EventRejected for what it cannot be."""
    told = _object(kept, "context")
    accounts = _object(told.get("accounts", {}), "context.accounts")
    return Context(
        pulled_at=_instant(told.get("pulled_at")),
        source=source,
        accounts={name: _known(account) for name, account in accounts.items()},
        **{name: _text(told, name) for name in _TEXTS},
    )


def _known(kept: object) -> KnownAccount:
    told = _object(kept, "account")
    account_id = _text(told, "account_id")
    if account_id is None:
        raise EventRejected("bad_value", "an account of the context has no account_id")
    texts = {name: _text(told, name) for name in _KNOWN_TEXTS if name != "account_id"}
    return KnownAccount(account_id, since=_day(told.get("since")), **texts)


def _texts(holder: Context | KnownAccount, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(holder, name)) is not None}


def _object(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise EventRejected("bad_value", f"{name} must be an object")
    return value


def _text(told: Mapping[str, object], name: str) -> str | None:
    value = told.get(name)
    if value is None:
        return None
    try:
        text = identifier(value, name)
    except EventRejected as error:
        raise EventRejected("bad_value", error.message) from None
    if name in ("kind", "recorded_kind") and text not in ("asset", "liability"):
        raise EventRejected("bad_value", f"{name} must be asset or liability")
    return text


def _instant(value: object) -> datetime | None:
    moment = _moment(value)
    if moment is not None and not isinstance(moment, datetime):
        raise EventRejected("bad_value", "pulled_at must be a time")
    return moment


def _day(value: object) -> date | None:
    moment = _moment(value)
    if isinstance(moment, datetime):
        raise EventRejected("bad_value", "since must be a date")
    return moment


def _moment(value: object) -> datetime | date | None:
    try:
        return None if value is None else parse_moment(value)
    except (ValueError, OverflowError) as error:
        raise EventRejected("bad_value", str(error)) from None
