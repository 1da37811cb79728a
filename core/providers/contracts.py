"""What callers and adapters exchange: the context of a body, its form as JSON, and what the body becomes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from core.errors import EventRejected
from core.events.envelope import CLOCK_ALLOWANCE, identifier, parse_moment

ROWS_MOST = 10_000
"""The most rows that an array of a body may have: each row becomes an event, and a body has room for a million."""


class Sign(StrEnum):
    """Whether a bank writes an account's amounts with the opposite sign of what the provider documents.

    `REVERSED` is said of the amounts of transactions and of balances, the next two of one of them alone.
    """

    AS_GIVEN = "as_given"
    REVERSED = "reversed"
    REVERSED_AMOUNTS = "reversed_amounts"
    REVERSED_BALANCES = "reversed_balances"


@dataclass(frozen=True, slots=True)
class KnownAccount:
    """What the integrator registered for a provider's account: its own id for it, and what the provider leaves out.

    Rows dated before `since` are left out, because the provider reported them under the account's former id.
    `connection` is the provider's item, enrollment or member to which the account belongs; when a login breaks, it
    says which accounts are affected. `recorded_kind` is the kind that Milepost knows from earlier events. It decides
    signs, but no event repeats it: an event carries the time of its body, so an old kind could win over a newer one.
    `sign` is one of Sign; None is as_given.
    """

    account_id: str
    user_id: str | None = None
    kind: str | None = None
    currency: str | None = None
    since: date | None = None
    connection: str | None = None
    recorded_kind: str | None = None
    sign: str | None = None

    @property
    def turns_amounts(self) -> bool:
        """Whether the amounts of its transactions come with the opposite sign."""
        return self.sign in (Sign.REVERSED, Sign.REVERSED_AMOUNTS)

    @property
    def turns_balances(self) -> bool:
        """Whether its balances come with the opposite sign."""
        return self.sign in (Sign.REVERSED, Sign.REVERSED_BALANCES)

    def has_available(self, kind: str | None) -> bool:
        """Whether an available balance can say what the account has; `kind` is what is known besides `recorded_kind`.

        Of a liability it says what is left of a limit. Of an account whose balances come with the opposite sign nobody
        can tell which sign it has.
        """
        return (kind or self.recorded_kind) != "liability" and not self.turns_balances

    def is_former(self, day: date) -> bool:
        """Whether the provider reported what is dated `day` under the account's former id."""
        return self.since is not None and day < self.since


@dataclass(frozen=True, slots=True)
class Context:
    """What the caller says about a body.

    `pulled_at` (aware UTC) is when the body was pulled, or when the webhook arrived. `accounts` maps the provider's
    account ids to what is registered; an account that is not in it keeps the provider's id. `account_id` is the
    provider's id of the account of a body that names none. `currency` and `kind` are used for an account where neither
    the body nor `accounts` has them. `complete`: the first and the last of the days of which the body holds all booked
    rows, if it does.
    """

    pulled_at: datetime | None
    source: str
    accounts: Mapping[str, KnownAccount]
    account_id: str | None = None
    user_id: str | None = None
    currency: str | None = None
    kind: str | None = None
    complete: tuple[date, date] | None = None

    def time(self, known_at: datetime | None) -> datetime | None:
        """When the provider knew of something, by its own time, else by that of the pull; None if neither is given.

        The provider cannot have known of it after the pull. Its own time is not used if it is more than five minutes
        later: it is of a wrong clock, and a correction with a right time would lose against it.
        """
        is_ahead = known_at is not None and self.pulled_at is not None and known_at - self.pulled_at > CLOCK_ALLOWANCE
        return self.pulled_at if known_at is None or is_ahead else known_at


@dataclass(frozen=True, slots=True)
class AdaptedEvent:
    """An event as POST /events takes it (JSON text), and the account whose id chooses the event's shard.

    `is_understood`: False for one that contains a row that was not understood.
    """

    account_id: str
    event: bytes
    is_understood: bool = True


@dataclass(frozen=True, slots=True)
class Refresh:
    """What a webhook becomes that has no data and only says that there is something to pull.

    `subject` is the provider's item, connection, member or account, `kind` what to pull, `reason` the provider's code.
    """

    subject: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Adapted:
    """What a body becomes. A row that was not understood is one of the events, of type `milepost.provider.row`."""

    events: tuple[AdaptedEvent, ...] = ()
    refreshes: tuple[Refresh, ...] = ()


_TEXTS = ("account_id", "user_id", "currency", "kind")
_KNOWN_TEXTS = (*_TEXTS, "connection", "recorded_kind", "sign")
_KINDS = ("asset", "liability")
_WORDS: Mapping[str, tuple[str, ...]] = {"kind": _KINDS, "recorded_kind": _KINDS, "sign": tuple(Sign)}


def context_as_json(context: Context, row: object) -> dict[str, Any]:
    """The context as JSON, to read the row again later. It has only the accounts that the row names, by their own id or
    that of their connection."""
    named = set() if context.account_id is None else {context.account_id}
    if isinstance(row, dict):
        named |= {value for value in row.values() if isinstance(value, str)}
    stored: dict[str, Any] = {
        "accounts": {
            name: _texts(known, _KNOWN_TEXTS) | ({} if known.since is None else {"since": known.since.isoformat()})
            for name, known in context.accounts.items()
            if name in named or known.connection in named
        }
    }
    if context.pulled_at is not None:
        stored["pulled_at"] = context.pulled_at.isoformat()
    return stored | _texts(context, _TEXTS)


def context_from_json(stored: object, source: str) -> Context:
    """The context that `context_as_json` wrote; raises EventRejected for any other, since anyone may send it."""
    fields = _object(stored, "context")
    accounts = _object(fields.get("accounts", {}), "context.accounts")
    return Context(
        pulled_at=_instant(fields.get("pulled_at")),
        source=source,
        accounts={name: _known_account(account) for name, account in accounts.items()},
        account_id=_text(fields, "account_id"),
        user_id=_text(fields, "user_id"),
        currency=_text(fields, "currency"),
        kind=_text(fields, "kind"),
    )


def _known_account(stored: object) -> KnownAccount:
    fields = _object(stored, "account")
    account_id = _text(fields, "account_id")
    if account_id is None:
        raise EventRejected("bad_value", "an account of the context has no account_id")
    texts = {name: _text(fields, name) for name in _KNOWN_TEXTS if name != "account_id"}
    return KnownAccount(account_id, since=_day(fields.get("since")), **texts)


def _texts(holder: Context | KnownAccount, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(holder, name)) is not None}


def _object(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise EventRejected("bad_value", f"{name} must be an object")
    return value


def _text(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    try:
        text = identifier(value, name)
    except EventRejected as error:
        raise EventRejected("bad_value", error.message) from None
    if text not in _WORDS.get(name, (text,)):
        raise EventRejected("bad_value", f"{name} must be {' or '.join(_WORDS[name])}")
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
