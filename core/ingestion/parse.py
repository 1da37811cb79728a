"""Parsing an envelope into the facts that it states, or refusing it with a reason."""

import unicodedata
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from core.errors import EventRejected, InvalidField
from core.events.calendar import EARLIEST, day_start, within_day
from core.events.envelope import Envelope, check_clock, identifier, parse_moment, text_of
from core.events.facts import (
    ACCOUNTS_MOST,
    AccountFacts,
    AccountKind,
    Attribute,
    Rank,
    Report,
    Transaction,
    Window,
    attribute_rank,
    replacement,
)
from core.goals.money import digits, to_minor
from core.providers.registry import envelopes_of_row

# What is dated at most this far ahead counts at once, if it has an instant: clocks and time zones differ.
COUNTS_AHEAD = timedelta(days=1)
# Banks book ahead by days, and card payments by weeks; what is further ahead of its event is a mistake.
AHEAD_MOST = timedelta(days=400)
TEXT_LONGEST = 500

Data = dict[str, Any]


def parse_event(envelope: Envelope, zone: ZoneInfo, arrived_at: datetime) -> tuple[AccountFacts, ...]:
    """The facts of one event, one AccountFacts for each account; none for a report whose balance is null.

    `zone` is the tenant's, for values that are dates; `arrived_at` is when the event was appended to the stream.
    Raises EventRejected with a stable code and a text for a person.
    """
    parser = _PARSERS.get(envelope.type)
    if parser is None:
        raise EventRejected("unknown_type", f"type {envelope.type!r} is none of {', '.join(_PARSERS)}")
    _check_time(envelope, arrived_at)
    try:
        return parser(envelope, zone, arrived_at)
    except InvalidField as error:
        code = "bad_currency" if error.field == "currency" else "bad_amount"
        raise EventRejected(code, str(error)) from None


def _report(envelope: Envelope, zone: ZoneInfo, arrived_at: datetime) -> tuple[AccountFacts, ...]:
    data = envelope.data
    account_id = _required_id(data, "account_id")
    if "current" in data and data["current"] is None:
        return ()
    currency = _currency(data)
    as_of = _moment_or_day(envelope, "as_of", zone)
    if not isinstance(as_of, datetime):
        as_of = within_day(envelope.time, as_of, zone)
    report = Report(
        as_of=as_of,
        rank=_rank(envelope),
        current_minor=_amount(data, "current", currency),
        currency=currency,
        available_minor=None if data.get("available") is None else _amount(data, "available", currency),
        due_at=_due_at(as_of - COUNTS_AHEAD, arrived_at),
    )
    return (AccountFacts(account_id, _stated_attributes(envelope), report=report),)


def _transaction(envelope: Envelope, zone: ZoneInfo, arrived_at: datetime) -> tuple[AccountFacts, ...]:
    data = envelope.data
    account_id = _required_id(data, "account_id")
    transaction_id = _required_id(data, "transaction_id")
    replaces = None if data.get("replaces") is None else _required_id(data, "replaces")
    if replaces == transaction_id:
        raise EventRejected("self_contradicting", "replaces names the transaction itself")
    pending = data.get("pending")
    if pending is not None and not isinstance(pending, bool):
        raise EventRejected("bad_value", "pending must be true or false")
    currency = _currency(data)
    posted = _moment_or_day(envelope, "posted_at", zone)
    posted_at, dated = (posted, None) if isinstance(posted, datetime) else (None, posted)
    counts_from = day_start(posted, zone) if posted_at is None else posted_at - COUNTS_AHEAD
    transaction = Transaction(
        transaction_id=transaction_id,
        rank=_rank(envelope),
        amount_minor=_amount(data, "amount", currency),
        currency=currency,
        posted_at=posted_at,
        dated=dated,
        pending=pending is True,
        replaces=replaces,
        category=_note(data, "category"),
        description=_note(data, "description"),
        due_at=None if pending else _due_at(counts_from, arrived_at),
    )
    return (AccountFacts(account_id, _stated_attributes(envelope), transaction),)


def _removal(envelope: Envelope, zone: ZoneInfo, arrived_at: datetime) -> tuple[AccountFacts, ...]:  # noqa: ARG001
    data = envelope.data
    rank = Rank(envelope.time, True, envelope.source, envelope.event_id)
    removed = Transaction(_required_id(data, "transaction_id"), rank)
    return (AccountFacts(_required_id(data, "account_id"), transaction=removed),)


def _account(envelope: Envelope, zone: ZoneInfo, arrived_at: datetime) -> tuple[AccountFacts, ...]:  # noqa: ARG001
    data = envelope.data
    account_id = _required_id(data, "account_id")
    rank = attribute_rank(_rank(envelope))
    attributes = list(_stated_attributes(envelope))
    if "name" in data:
        attributes.append(Attribute("name", _note(data, "name"), rank))
    if data.get("closed") is not None:
        if not isinstance(data["closed"], bool):
            raise EventRejected("bad_value", "closed must be true or false")
        attributes.append(Attribute("closed", data["closed"], rank))
    if "currency" in data:
        currency = None if data["currency"] is None else _currency(data)
        attributes.append(Attribute("stated_currency", currency, rank))
    if "replaced_by" in data:
        successor = None if data["replaced_by"] is None else _required_id(data, "replaced_by")
        if successor == account_id:
            raise EventRejected("self_contradicting", "replaced_by names the account itself")
        since = None if successor is None or data.get("from") is None else _past_day(envelope, "from", zone)
        attributes += replacement(successor, since, rank)
    if "opened" in data:
        opened = None if data["opened"] is None else _past_day(envelope, "opened", zone)
        attributes.append(Attribute("opened", opened, rank))
    if not attributes:
        raise EventRejected(
            "missing_field", "none of user_id, kind, name, closed, currency, replaced_by, opened is given"
        )
    return (AccountFacts(account_id, attributes=tuple(attributes)),)


def _connection(envelope: Envelope, zone: ZoneInfo, arrived_at: datetime) -> tuple[AccountFacts, ...]:  # noqa: ARG001
    data = envelope.data
    account_ids = data.get("account_ids")
    if not isinstance(account_ids, list) or not 1 <= len(account_ids) <= ACCOUNTS_MOST:
        raise EventRejected("bad_value", f"account_ids must be a list of 1 to {ACCOUNTS_MOST} ids")
    state = data.get("state")
    if state not in ("healthy", "broken"):
        raise EventRejected("bad_value", "state must be healthy or broken")
    rank = attribute_rank(_rank(envelope))
    attributes = (Attribute("connection", state, rank), Attribute("connection_reason", _note(data, "reason"), rank))
    names = sorted({_required_id({"account_ids": each}, "account_ids") for each in account_ids})
    return tuple(AccountFacts(name, attributes=attributes) for name in names)


def _window(envelope: Envelope, zone: ZoneInfo, arrived_at: datetime) -> tuple[AccountFacts, ...]:  # noqa: ARG001
    first, last = _day(envelope, "from", zone), _day(envelope, "through", zone)
    if last < first:
        raise EventRejected("self_contradicting", f"through {last} is before from {first}")
    window = Window(envelope.source, first, last, envelope.time)
    return (AccountFacts(_required_id(envelope.data, "account_id"), window=window),)


def _provider_row(envelope: Envelope, zone: ZoneInfo, arrived_at: datetime) -> tuple[AccountFacts, ...]:
    """The facts of a provider's row that could not be read when it arrived, if this version can read it."""
    facts: list[AccountFacts] = []
    for stated in envelopes_of_row(envelope):
        _check_time(stated, arrived_at)
        facts += _PARSERS[stated.type](stated, zone, arrived_at)
    return tuple(facts)


_PARSERS: dict[str, Callable[[Envelope, ZoneInfo, datetime], tuple[AccountFacts, ...]]] = {
    "milepost.balance.reported": _report,
    "milepost.transaction.recorded": _transaction,
    "milepost.transaction.removed": _removal,
    "milepost.account.changed": _account,
    "milepost.connection.changed": _connection,
    "milepost.window.reported": _window,
    "milepost.provider.row": _provider_row,
}


def _rank(envelope: Envelope) -> Rank:
    return Rank(envelope.time, False, envelope.source, envelope.event_id)


def _stated_attributes(envelope: Envelope) -> tuple[Attribute, ...]:
    """The user_id and kind that any fact may state, with the event's rank; null states nothing."""
    data = envelope.data
    user_id, kind = data.get("user_id"), data.get("kind")
    if user_id is None and kind is None:
        return ()
    rank = attribute_rank(_rank(envelope))
    stated = []
    if user_id is not None:
        stated.append(Attribute("user_id", _required_id(data, "user_id"), rank))
    if kind is not None:
        if kind not in (AccountKind.ASSET.value, AccountKind.LIABILITY.value):
            raise EventRejected("bad_value", "kind must be asset or liability")
        stated.append(Attribute("kind", kind, rank))
    return tuple(stated)


def _required_id(data: Data, field: str) -> str:
    value = data.get(field)
    if value is None:
        raise EventRejected("missing_field", f"{field} is missing")
    try:
        return identifier(value, field)
    except EventRejected as error:
        raise EventRejected("bad_value", error.message) from None


def _currency(data: Data) -> str:
    currency = data.get("currency")
    if currency is None:
        raise EventRejected("missing_field", "currency is missing")
    if not isinstance(currency, str):
        raise EventRejected("bad_currency", "currency must be a code such as USD")
    digits(currency)
    return currency


def _amount(data: Data, field: str, currency: str) -> int:
    value = data.get(field)
    if value is None:
        raise EventRejected("missing_field", f"{field} is missing")
    if isinstance(value, bool | dict | list):
        raise EventRejected("bad_amount", f"{field} must be a number or a decimal string")
    return to_minor(value, currency, field)


def _moment_or_day(envelope: Envelope, field: str, zone: ZoneInfo) -> datetime | date:
    """An instant, or a local day."""
    value = envelope.data.get(field)
    if value is None:
        raise EventRejected("missing_field", f"{field} is missing")
    try:
        moment = parse_moment(value)
        instant = moment if isinstance(moment, datetime) else day_start(moment, zone)
    except (ValueError, OverflowError) as error:
        raise EventRejected("bad_value", f"{field} {error}") from None
    _check_not_too_early(instant, field)
    if instant - envelope.time > AHEAD_MOST:
        raise EventRejected(
            "far_future", f"{field} {instant.isoformat()} is more than {AHEAD_MOST.days} days after the event's time"
        )
    return moment


def _day(envelope: Envelope, field: str, zone: ZoneInfo) -> date:
    """A local day."""
    day = _moment_or_day(envelope, field, zone)
    if isinstance(day, datetime):
        raise EventRejected("bad_value", f"{field} must be a date (2026-01-31)")
    return day


def _past_day(envelope: Envelope, field: str, zone: ZoneInfo) -> date:
    """A local day that had begun when the event was stated: what is said to begin later would count at once."""
    day = _day(envelope, field, zone)
    if day_start(day, zone) > envelope.time:
        raise EventRejected("bad_value", f"{field} {day} is after the event's time; send it on that day")
    return day


def _check_time(envelope: Envelope, arrived_at: datetime) -> None:
    check_clock(envelope.time, arrived_at)
    _check_not_too_early(envelope.time, "time")


def _check_not_too_early(moment: datetime, field: str) -> None:
    if moment < EARLIEST:
        raise EventRejected("bad_value", f"{field} {moment.isoformat()} is before 1900")


def _due_at(counts_from: datetime, arrived_at: datetime) -> datetime | None:
    """When a fact begins to count; None if that is not after its arrival."""
    return counts_from if counts_from > arrived_at else None


def _note(data: Data, field: str) -> str | None:
    """Free text for people, or a number. No amount depends on it, so control characters are removed and it is cut."""
    value = data.get(field)
    if value is None:
        return None
    text = text_of(value)
    if text is None:
        raise EventRejected("bad_value", f"{field} must be text")
    if not text.isprintable():
        text = "".join(c for c in text if unicodedata.category(c) not in {"Cc", "Cs"})
    return text[:TEXT_LONGEST]
