"""The fast path of parsing: transactions in which nothing is missing, odd or wrong."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from core.errors import InvalidField
from core.events.calendar import EARLIEST, day_start
from core.events.envelope import ID_LONGEST, SOURCE_LONGEST, read_moment
from core.events.facts import (
    AccountFacts,
    Attribute,
    Rank,
    SimpleTransaction,
    _account_facts,
    attribute_rank,
)
from core.goals.money import MAX_MINOR, digits
from core.ingestion.parse import FUTURE_ALLOWANCE, TEXT_LONGEST

# MAX_MINOR has 16 digits; a number with many more characters needs a closer look.
_AMOUNT_LONGEST: Final = 20


_Id = Annotated[str, Meta(min_length=1, max_length=ID_LONGEST)]
_Source = Annotated[str, Meta(min_length=1, max_length=SOURCE_LONGEST)]
_Note = Annotated[str, Meta(max_length=TEXT_LONGEST)]


class _Data(Struct, forbid_unknown_fields=True):
    account_id: _Id
    transaction_id: _Id
    amount: Raw
    currency: str
    posted_at: str
    pending: bool | UnsetType = UNSET
    user_id: _Id | None = None
    kind: Literal["asset", "liability"] | None = None
    replaces: _Id | None = None
    category: _Note | None = None
    description: _Note | None = None


class _Event(Struct, forbid_unknown_fields=True):
    specversion: Literal["1.0"]
    id: _Source
    source: _Source
    type: Literal["milepost.transaction.recorded"]
    time: str
    data: _Data
    subject: str | None = None


_decode = msgspec.json.Decoder(_Event).decode
# As numbers: bytes look for a number in a quarter of the time in which they look for bytes.
_BACKSLASH: Final = ord("\\")
_DELETE: Final = 0x7F
# The required ones: six keys and five texts of the event, five keys and four texts of its data.
_QUOTES: Final = 2 * (6 + 5 + 5 + 4)
_QUOTED_KEYS: Final = tuple(f'"{name}"'.encode() for name in (*_Event.__struct_fields__, *_Data.__struct_fields__))


# How programs write an instant in UTC; no two are of one length.
_INSTANTS: Final = (
    "2026-01-31T12:00:00Z",
    "2026-01-31T12:00:00.000Z",
    "2026-01-31T12:00:00.000000Z",
    "2026-01-31T12:00:00+00:00",
    "2026-01-31T12:00:00.000+00:00",
    "2026-01-31T12:00:00.000000+00:00",
)
# In every third place from the fifth to the twentieth stands a mark, in most others a digit.
_MARKED: Final = slice(4, 20, 3)
_MARKS: Final = {len(each): (each[_MARKED], "+00:00" if "+" in each else "Z") for each in _INSTANTS}


def read_transaction(raw: bytes, zone: ZoneInfo, arrived_at: datetime) -> SimpleTransaction | AccountFacts | None:
    """What a transaction states, where it is missing, odd or wrong in nothing; None for what needs a closer look.

    One function and few calls: a drain spends more time here than anywhere else in Python.
    """
    try:
        event = _decode(raw)
        data = event.data
        user_id, kind, replaces = data.user_id, data.kind, data.replaces
        category, description, pending = data.category, data.description, data.pending
        texts = (category is not None) + (description is not None) + (event.subject is not None)
        texts += (user_id is not None) + (kind is not None) + (replaces is not None)
        # The decoder takes the last of two values for one key. Without escapes every mark opens or closes a key or a
        # text, so one key more shows.
        if _BACKSLASH in raw or (
            raw.count(b'"') != _QUOTES + 4 * texts + (0 if pending is UNSET else 2) and not _has_each_key_once(raw)
        ):
            return None
        if not _is_clean(raw, event):
            return None
        time = _moment(event.time)
        stated_at = time if data.posted_at == event.time else _moment(data.posted_at)
        posted_at = stated_at if isinstance(stated_at, datetime) else day_start(stated_at, zone)
        currency = data.currency
        amount_minor = _minor(bytes(data.amount), digits(currency))
        latest = arrived_at + FUTURE_ALLOWANCE
        if (
            amount_minor is None
            or not isinstance(time, datetime)
            or not EARLIEST <= time <= latest
            or not EARLIEST <= posted_at <= latest
        ):
            return None
    except (msgspec.MsgspecError, InvalidField, ValueError, OverflowError, RecursionError):
        return None
    plain = SimpleTransaction(
        data.account_id,
        data.transaction_id,
        amount_minor,
        currency,
        posted_at,
        category,
        description,
        time,
        event.source,
        event.id,
    )
    tells_more = user_id is not None or kind is not None
    if amount_minor and pending is not True and not tells_more and replaces is None:
        return plain
    rank = Rank(time, False, event.source, event.id)
    attributes = _attributes(data, attribute_rank(rank)) if tells_more else ()
    return _account_facts(plain, rank, pending is True, replaces, attributes)


def _moment(text: str) -> datetime | date:
    """The same as read_moment, in half its time where the text is an instant in UTC that it has not met lately.

    Where the marks are in their places, fromisoformat takes nothing but digits in all others.
    """
    marks, end = _MARKS.get(len(text), ("", ""))
    if marks and text[_MARKED] == marks and text.endswith(end):
        return datetime.fromisoformat(text)
    return read_moment(text)


def _has_each_key_once(raw: bytes) -> bool:
    """Whether an event with nulls has no key twice; False for one without.

    A null has a key and no text, and may be the first of two values or the word in a text, so marks tell too little
    and each key is counted. A text that is one is left to the closer look.
    """
    return b"null" in raw and all(raw.count(key) <= 1 for key in _QUOTED_KEYS)


def _is_clean(raw: bytes, event: _Event) -> bool:
    """Whether no text holds what a text may not, and no name is blank; lengths are the decoder's.

    The decoder refuses control characters below the space, and escapes are not here.
    """
    data = event.data
    user_id, replaces = data.user_id, data.replaces
    if data.account_id.isspace() or data.transaction_id.isspace() or event.source.isspace() or event.id.isspace():
        return False
    if user_id is not None and user_id.isspace():
        return False
    if replaces is not None and (replaces.isspace() or replaces == data.transaction_id):
        return False
    if raw.isascii():
        return _DELETE not in raw
    names = (data.account_id, data.transaction_id, event.source, event.id, user_id or "", replaces or "")
    return "".join((*names, data.category or "", data.description or "")).isprintable()


def _attributes(data: _Data, rank: str) -> tuple[Attribute, ...]:
    """What is told of the account in passing."""
    told = {"user_id": data.user_id, "kind": data.kind}
    return tuple(Attribute(name, value, rank) for name, value in told.items() if value is not None)


def _minor(number: bytes, places: int) -> int | None:
    """A JSON number as minor units; None for one with too many decimals or digits.

    Raises ValueError for one with an exponent, and for what is no number.
    """
    if len(number) > _AMOUNT_LONGEST:
        return None
    whole, _, fraction = number.partition(b".")
    if len(fraction) != places:
        fraction = fraction.rstrip(b"0")
        if len(fraction) > places:
            return None
        fraction = fraction.ljust(places, b"0")
    minor = int(whole + fraction)
    return minor if -MAX_MINOR <= minor <= MAX_MINOR else None
