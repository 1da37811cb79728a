"""What callers and adapters exchange: the context of a body (and its JSON), and what the body becomes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from core.errors import EventRejected
from core.events.envelope import identifier, parse_moment

ROWS_MOST = 10_000
"""How many rows an array of a body may have: a million tiny ones would each become an event."""


@dataclass(frozen=True, slots=True)
class KnownAccount:
    """What the integrator told of a provider's account: its own id for it, and what the provider leaves out.

    Rows of a day before `since` are left out: the account's former id has told them. `connection` is the provider's
    item, enrollment or member that the account hangs on; by it a broken login finds its accounts. `recorded_kind` is
    what Milepost knows of the account by its events: signs are read by it, but it is never stated again, or what was
    known when a body came would stand over what was told since.
    """

    account_id: str
    user_id: str | None = None
    kind: str | None = None
    currency: str | None = None
    since: date | None = None
    connection: str | None = None
    recorded_kind: str | None = None

    def is_former(self, day: date) -> bool:
        """Whether what is dated `day` was told under the account's former id."""
        return self.since is not None and day < self.since


@dataclass(frozen=True, slots=True)
class Context:
    """What the caller says of a body.

    `pulled_at` (aware UTC) is when it was pulled, or when the webhook arrived. `accounts` is by the provider's id; an
    account that is not in it goes by the provider's id. `account_id` is the provider's account for bodies that name
    none; `currency` and `kind` are those of accounts of which neither the body nor `accounts` tells them.
    """

    pulled_at: datetime | None
    source: str
    accounts: Mapping[str, KnownAccount]
    account_id: str | None = None
    user_id: str | None = None
    currency: str | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class AdaptedEvent:
    """An event as POST /events takes it (JSON text), and the account by which it is spread over the shards."""

    account_id: str
    event: bytes


@dataclass(frozen=True, slots=True)
class Refresh:
    """A webhook that is only a pointer: something is to be pulled.

    `subject` is the provider's item, connection, member or account, `kind` what to pull, `reason` the provider's code.
    """

    subject: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Adapted:
    """What a body becomes. A row that cannot be understood is among the events, as `milepost.provider.row`."""

    events: tuple[AdaptedEvent, ...] = ()
    refreshes: tuple[Refresh, ...] = ()


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
    registered = _object(kept, "context")
    accounts = _object(registered.get("accounts", {}), "context.accounts")
    return Context(
        pulled_at=_instant(registered.get("pulled_at")),
        source=source,
        accounts={name: _known(account) for name, account in accounts.items()},
        **{name: _text(registered, name) for name in _TEXTS},
    )


def _known(kept: object) -> KnownAccount:
    registered = _object(kept, "account")
    account_id = _text(registered, "account_id")
    if account_id is None:
        raise EventRejected("bad_value", "an account of the context has no account_id")
    texts = {name: _text(registered, name) for name in _KNOWN_TEXTS if name != "account_id"}
    return KnownAccount(account_id, since=_day(registered.get("since")), **texts)


def _texts(holder: Context | KnownAccount, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(holder, name)) is not None}


def _object(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise EventRejected("bad_value", f"{name} must be an object")
    return value


def _text(registered: Mapping[str, object], name: str) -> str | None:
    value = registered.get(name)
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
