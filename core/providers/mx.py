"""MX Platform: its pulled bodies, its webhooks, and the Basic credentials that these carry."""

import base64
import binascii
import secrets as randomness
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, time
from typing import Any

from core.errors import EventRejected, InvalidField, ProviderBodyRefused
from core.providers.contracts import Adapted, AdaptedEvent, Context
from core.providers.fields import (
    MissingValue,
    Posted,
    Row,
    decimal_text,
    exact_minor,
    first_text,
    flag,
    is_filled,
    names_of,
    optional_id,
    optional_instant,
    optional_word,
    posted_at,
    required_id,
    rounded_minor,
    rows_in,
    whole_number,
)
from core.providers.provider import DECOY, ProviderSpec, Scheme, Webhook, one_secret
from core.providers.rows import (
    Part,
    Reading,
    Statement,
    account_facts_of,
    connection_statements,
    make_statement,
    read_row,
    read_rows,
    rows_of,
)
from core.providers.webhooks import (
    Delivery,
    SignatureRefused,
    code_of,
    connection_state,
    refresh,
    share_one,
    webhook_object,
)

# MX writes a date as a time of that date: midnight in UTC or in Utah (6 or 7 UTC), or noon.
MARKERS = frozenset({time(0), time(6), time(7), time(12)})
# Pulled bodies spell types in capitals; webhooks also by number.
_TYPE_NUMBERS = {1: "CHECKING", 2: "SAVINGS", 3: "LOAN", 4: "CREDIT_CARD", 5: "INVESTMENT", 6: "LINE_OF_CREDIT"} | {
    7: "MORTGAGE",
    8: "PROPERTY",
    9: "CASH",
    10: "INSURANCE",
    11: "PREPAID",
    12: "CHECKING_LINE_OF_CREDIT",
}
_LIABILITIES = frozenset({"LOAN", "CREDIT_CARD", "LINE_OF_CREDIT", "MORTGAGE", "CHECKING_LINE_OF_CREDIT"})
_ASSETS = frozenset({"CHECKING", "SAVINGS", "INVESTMENT", "PROPERTY", "CASH", "INSURANCE", "PREPAID"})
_SIGNS = {"CREDIT": 1, "DEBIT": -1, 1: 1, 2: -1}
_PENDING = {"POSTED": False, "PENDING": True, 1: False, 2: True}
# In these states a member delivers data; in every other state MX waits for the user.
_HEALTHY = frozenset({"CONNECTED", "RECONNECTED", "CREATED", "UPDATED", "DELAYED", "RESUMED", "DEGRADED"})
# Webhooks that only say that a member has new data, by their `type`.
_POINTERS = {
    "AGGREGATION": "transactions",
    "HISTORY": "transactions",
    "BALANCE": "balances",
    "STATEMENT": "statements",
    "VERIFICATION": "accounts",
    "IDENTIFICATION": "accounts",
}
_TIMES = ("updated_at", "deleted_at")
_REVISION_DIGITS = 20
PASSWORD_SHORTEST = 16
_LISTS = ("accounts", "transactions", "account", "transaction")


def adapt_pulled(body: object, context: Context) -> Iterator[AdaptedEvent]:
    """A list of accounts, members or transactions, or a single one of them."""
    if not isinstance(body, dict):
        raise ProviderBodyRefused("not_this_form", "the body must be an object")
    found = [name for part in PARTS for name in (part, f"{part}s") if name in body]
    if not found:
        raise ProviderBodyRefused("not_this_form", "the body has no accounts, members or transactions")
    # Of two pulls of the same state of an object the later wins, and any pull wins over a webhook of that second.
    order = "" if context.pulled_at is None else f"p{context.pulled_at:%Y%m%d%H%M%S%f}"
    if found[-1].startswith("transaction"):
        yield from account_facts_of(names_of(_accounts_in(body)), context)
    for name in found:
        part = PARTS[name.removesuffix("s")]
        if name.endswith("s"):
            yield from read_rows(part, rows_of(body[name], name), context, name, order)
        else:
            yield from read_row(part, body[name], Reading(context, order), name)


def _transaction(row: Row, reading: Reading) -> Iterator[Statement]:
    """The amount is never negative: CREDIT raises the holder's worth and DEBIT lowers it, on every type of account."""
    account, transaction_id = reading.account(row, "account_guid"), required_id(row, "guid")
    known_at = _known_at(row, reading)
    if _is_deleted(row):
        yield make_statement("transaction.removed", account, known_at, transaction_id=transaction_id)
        return
    sign = _choice(row, ("type", "transaction_type"), _SIGNS)
    is_pending = bool(_choice(row, ("status",), _PENDING, absent="POSTED"))
    parent = optional_id(row, "parent_guid")
    if parent == transaction_id:
        raise EventRejected("self_contradicting", "parent_guid names the transaction itself")
    # The parts of a split transaction are rows of their own, whose times may be older. Each part replaces its parent.
    # The parent itself is kept as a row that does not count, like a pending one. It is not removed: if MX gives no new
    # time to a parent whose parts were deleted, the removal would win over the row that counts again.
    is_split = flag(row, "has_been_split")
    currency = reading.currency_of(account, row, "currency_code")
    amount = exact_minor(row, "amount", currency)
    if amount < 0:
        raise EventRejected("bad_amount", "amount must not be negative: type says in or out")
    posted = _posted(row)
    if account.is_former(posted.day):
        return
    yield make_statement(
        "transaction.recorded",
        account,
        known_at,
        transaction_id=transaction_id,
        amount=decimal_text(sign * amount, currency),
        currency=currency,
        posted_at=posted.text,
        pending=is_pending or is_split,
        replaces=parent,
        category=first_text(row.get("category"), row.get("category_name")),
        description=first_text(row.get("description"), row.get("original_description")),
    )


def _account(row: Row, reading: Reading) -> Iterator[Statement]:
    """The account, and its balance (what is owed, for a liability) as of when MX last changed the account."""
    required_id(row, "guid")
    account, known_at = reading.account(row, "guid"), _known_at(row, reading)
    if _is_deleted(row):
        yield from connection_statements([account.account_id], known_at, "broken", "deleted")
        return
    whose = {"user_id": reading.user_of(account), "kind": reading.kind_of(account, _kind(row))}
    details = {
        "name": first_text(row.get("nickname"), row.get("name")),
        "currency": reading.account_currency(account, row, "currency_code"),
        "closed": None if row.get("is_closed") is None else flag(row, "is_closed"),
    }
    if any(value is not None for value in (whose | details).values()):
        yield make_statement("account.changed", account, known_at, **whose, **details)
    if row.get("balance") is None:
        return
    currency = reading.currency_of(account, row, "currency_code")
    available = None if row.get("available_balance") is None else rounded_minor(row, "available_balance", currency)
    yield make_statement(
        "balance.reported",
        account,
        known_at,
        current=decimal_text(rounded_minor(row, "balance", currency), currency),
        available=None if available is None else decimal_text(available, currency),
        currency=currency,
        as_of=known_at.isoformat(),
        **whose,
    )


def _member(row: Row, reading: Reading) -> Iterator[Statement]:
    """The state of a member's connection, for the accounts that are registered with it."""
    guid, known_at = required_id(row, "guid"), reading.time()
    affected = [known.account_id for known in reading.context.accounts.values() if known.connection == guid]
    if _is_deleted(row):
        yield from connection_statements(affected, known_at, "broken", "deleted")
        return
    status = optional_word(row, "connection_status")
    if status:
        yield from connection_statements(affected, known_at, _connection_state(status), first_text(status))


def _is_deleted(row: Row) -> bool:
    return optional_word(row, "action") == "deleted" or flag(row, "is_deleted")


def _connection_state(status: str) -> str:
    """The state of a member's connection, by its status."""
    return "healthy" if status.upper() in _HEALTHY else "broken"


def _posted(row: Row) -> Posted:
    """When it was posted; a pending transaction has only the date on which it took place."""
    field = next((name for name in ("posted_at", "date", "transacted_at") if is_filled(row, name)), "posted_at")
    value = row.get(field)
    is_time = whole_number(value) is not None or (isinstance(value, str) and "T" in value.upper())
    return posted_at(row, () if is_time else (field,), (field,) if is_time else (), MARKERS)


def _known_at(row: Row, reading: Reading) -> datetime:
    """When MX last changed the object, or deleted it."""
    times = [optional_instant(row, name) for name in _TIMES]
    return reading.time(max((moment for moment in times if moment is not None), default=None))


def _kind(row: Row) -> str | None:
    field = next((name for name in ("account_type", "type") if row.get(name) is not None), "type")
    number = whole_number(row.get(field))
    name = (optional_word(row, field) or "").upper() if number is None else _TYPE_NUMBERS.get(number, "")
    return "liability" if name in _LIABILITIES else "asset" if name in _ASSETS else None


def _choice(row: Row, fields: tuple[str, ...], choices: dict[Any, Any], absent: str | None = None) -> Any:
    """One of a few words or numbers, on which the amount depends; `absent` is what a missing one means, if anything."""
    value = next((value for name in fields if (value := row.get(name)) is not None), absent)
    key = value.upper() if isinstance(value, str) else whole_number(value)
    if key not in choices:
        known = ", ".join(str(choice) for choice in choices if isinstance(choice, str))
        raise EventRejected("bad_value", f"{fields[0]} must be one of {known}")
    return choices[key]


PARTS = {
    "account": Part("mx/account", _account),
    "member": Part("mx/member", _member),
    "transaction": Part("mx/transaction", _transaction),
}


def adapt_webhook(body: object, context: Context) -> Adapted:
    """One webhook: an object that was created, updated or deleted, a connection's state, or a request to pull."""
    hook = webhook_object(body)
    action, type = code_of(hook, "action"), hook.get("type")
    subjects = [hook.get(name) for name in ("member_guid", "guid", "user_guid")]
    if type == "CONNECTION_STATUS":
        status = code_of(hook, "connection_status")
        return connection_state(subjects[0], [], _connection_state(status), status, None, context)
    if isinstance(type, str) and type in _POINTERS:
        return refresh(subjects, _POINTERS[type], action)
    part = _part_of(hook)
    if part is None:
        return refresh(subjects, type.lower() if isinstance(type, str) and type else "other", action)
    if part is PARTS["member"]:
        return _member_in_webhook(hook, action, context)
    is_transaction = part is PARTS["transaction"]
    events = _events_of(part, hook, context)
    if events is None:
        return refresh([hook.get("account_guid"), *subjects], "transactions" if is_transaction else "accounts", action)
    names = names_of(_accounts_in(hook)) if is_transaction else ()
    return Adapted(events=(*account_facts_of(names, context), *events))


def _events_of(part: Part, hook: Mapping[str, Any], context: Context) -> tuple[AdaptedEvent, ...] | None:
    """The events of an object in a webhook; None if something is missing that only the caller or a pull can supply.

    That may be a time of its own: when the webhook is repeated, the object must not win over what was pulled since.
    """
    order = _order(hook)
    if not any(is_filled(hook, name) for name in _TIMES):
        return None
    try:
        return tuple(read_row(part, hook, Reading(context, order), ""))
    except MissingValue:
        return None


def _part_of(hook: Mapping[str, Any]) -> Part | None:
    if "guid" not in hook:
        return None
    if "account_guid" in hook:
        return PARTS["transaction"]
    if "connection_status" in hook:
        return PARTS["member"]
    return PARTS["account"] if "member_guid" in hook else None


def _member_in_webhook(hook: Mapping[str, Any], action: str, context: Context) -> Adapted:
    """The state of the member's registered accounts, or a request to look at the member if there are none."""
    events = tuple(read_row(PARTS["member"], hook, Reading(context), ""))
    return Adapted(events=events) if events else refresh([hook.get("guid")], "connection", action)


def _order(hook: Mapping[str, Any]) -> str:
    """The revision orders an object's changes within one second, because MX's times are whole seconds."""
    revision = 0 if hook.get("revision") is None else whole_number(hook["revision"])
    if revision is None or not 0 <= revision < 10**_REVISION_DIGITS:
        raise ProviderBodyRefused("not_this_form", "revision must be a whole number", "revision")
    return f"h{revision:0{_REVISION_DIGITS}}"


def check_secret(text: str) -> str:
    """`user:password`, trimmed of the line break; raises InvalidField."""
    secret = text.strip("\r\n")
    user, colon, password = secret.partition(":")
    if not (secret.isprintable() and user and colon and len(password) >= PASSWORD_SHORTEST and len(secret) <= 500):
        raise InvalidField("secret", f"must be USER:PASSWORD on one line, the password {PASSWORD_SHORTEST} or longer")
    return secret


def verify(delivery: Delivery, secrets: Sequence[str]) -> None:
    """Raise SignatureRefused unless the credentials are among `secrets`."""
    scheme, _, given = delivery.header("authorization").partition(" ")
    try:
        credentials = base64.b64decode(given.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise SignatureRefused("authorization has no Basic credentials") from None
    if scheme.lower() != "basic" or not share_one([credentials], [each.encode() for each in secrets]):
        raise SignatureRefused("the credentials are not those of this address")


def _accounts_in(body: object) -> Iterator[object]:
    if isinstance(body, dict):
        rows = [body, *(row for name in _LISTS for row in rows_in(body.get(name)))]
        yield from (row.get("account_guid", row.get("guid")) for row in rows)


def _members_in(body: object) -> Iterator[object]:
    if not isinstance(body, dict):
        return
    yield body.get("member_guid")
    members = [body, *rows_in(body.get("members")), *rows_in(body.get("member"))]
    yield from (member.get("guid") for member in members if "connection_status" in member)


def _make_secret() -> str:
    return f"milepost:{randomness.token_urlsafe(32)}"


MX = ProviderSpec(
    "mx",
    formats={"mx": adapt_pulled},
    webhook=Webhook(
        adapt_webhook,
        Scheme(
            one_secret(check_secret),
            verify,
            decoys=(f"nobody:{DECOY}",),
            challenge='Basic realm="milepost"',
            make_secret=_make_secret,
        ),
    ),
    parts=tuple(PARTS.values()),
    accounts_in=_accounts_in,
    connections_in=_members_in,
)
