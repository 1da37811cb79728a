"""The fast path of parsing, for transactions in which nothing is missing, unusual or invalid.

`parse_event` is the full parser: it takes every event that this one does not, and makes the same facts of the others.
"""

from datetime import date, datetime
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from core.errors import InvalidField
from core.events.calendar import EARLIEST, day_start, within_day
from core.events.envelope import CLOCK_ALLOWANCE, ID_LONGEST, SOURCE_LONGEST, read_moment
from core.events.facts import AccountFacts, Attribute, Rank, SimpleTransaction, attribute_rank, facts_of_transaction
from core.goals.money import MAX_MINOR, digits
from core.ingestion.parse import AHEAD_MOST, COUNTS_AHEAD, TEXT_LONGEST

# MAX_MINOR has 16 digits; a number with many more characters is left to the full parser.
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
# As numbers: to find a number in bytes takes a quarter of the time that finding bytes takes.
_BACKSLASH: Final = ord("\\")
_DELETE: Final = 0x7F
# Quotation marks around what is required: six keys and five texts of the event, five keys and four texts of its data.
_QUOTES: Final = 2 * (6 + 5 + 5 + 4)
_QUOTED_KEYS: Final = tuple(f'"{name}"'.encode() for name in (*_Event.__struct_fields__, *_Data.__struct_fields__))


# The forms in which programs write an instant in UTC; each has another length.
_INSTANTS: Final = (
    "2026-01-31T12:00:00Z",
    "2026-01-31T12:00:00.000Z",
    "2026-01-31T12:00:00.000000Z",
    "2026-01-31T12:00:00+00:00",
    "2026-01-31T12:00:00.000+00:00",
    "2026-01-31T12:00:00.000000+00:00",
)
# Every third place from the fifth to the twentieth has a separator, most others have a digit.
_SEPARATED: Final = slice(4, 20, 3)
_SEPARATORS: Final = {len(each): (each[_SEPARATED], "+00:00" if "+" in each else "Z") for each in _INSTANTS}


def read_transaction(raw: bytes, zone: ZoneInfo, arrived_at: datetime) -> SimpleTransaction | AccountFacts | None:
    """What an event states if it is a transaction with nothing missing, unusual or invalid; else None.

    None means that the full parser has to decide. This is one function with few calls, because a drain spends more time
    here than anywhere else in Python.
    """
    try:
        event = _decode(raw)
        data = event.data
        user_id, kind, replaces = data.user_id, data.kind, data.replaces
        category, description, pending = data.category, data.description, data.pending
        texts = (category is not None) + (description is not None) + (event.subject is not None)
        texts += (user_id is not None) + (kind is not None) + (replaces is not None)
        # The decoder takes the last of two values for one key. Without escapes every quotation mark opens or closes a
        # key or a text, so their number shows whether a key is there twice.
        if _BACKSLASH in raw or (
            raw.count(b'"') != _QUOTES + 4 * texts + (0 if pending is UNSET else 2) and not _has_each_key_once(raw)
        ):
            return None
        if not _is_clean(raw, event):
            return None
        time = _moment(event.time)
        stated_at = time if data.posted_at == event.time else _moment(data.posted_at)
        dated = None if isinstance(stated_at, datetime) else stated_at
        if isinstance(stated_at, datetime):
            first_at, latest = stated_at, arrived_at + COUNTS_AHEAD
        else:
            first_at, latest = day_start(stated_at, zone), arrived_at
        currency = data.currency
        amount_minor = _minor(bytes(data.amount), digits(currency))
        if (
            amount_minor is None
            or not isinstance(time, datetime)
            or not EARLIEST <= time <= arrived_at + CLOCK_ALLOWANCE
            or not EARLIEST <= first_at <= latest
            or (first_at > time and first_at - time > AHEAD_MOST)
        ):
            return None
        posted_at = first_at if dated is None else within_day(time, dated, zone)
    except (msgspec.MsgspecError, InvalidField, ValueError, OverflowError, RecursionError):
        return None
    simple = SimpleTransaction(
        data.account_id,
        data.transaction_id,
        amount_minor,
        currency,
        posted_at,
        dated,
        category,
        description,
        time,
        event.source,
        event.id,
    )
    has_attributes = user_id is not None or kind is not None
    if amount_minor and pending is not True and not has_attributes and replaces is None:
        return simple
    rank = Rank(time, False, event.source, event.id)
    attributes = _attributes(data, attribute_rank(rank)) if has_attributes else ()
    return facts_of_transaction(simple, rank, is_pending=pending is True, replaces=replaces, attributes=attributes)


def _moment(text: str) -> datetime | date:
    """The same as read_moment, in half its time for an instant in UTC that is not in read_moment's cache.

    If the separators are in their places, fromisoformat accepts only digits in all other places.
    """
    separators, end = _SEPARATORS.get(len(text), ("", ""))
    if separators and text[_SEPARATED] == separators and text.endswith(end):
        return datetime.fromisoformat(text)
    return read_moment(text)


def _has_each_key_once(raw: bytes) -> bool:
    """Whether an event with nulls has each key at most once; False for an event without nulls.

    A null has a key and no text. It may also be the first of two values, or a word inside a text. So counting quotation
    marks is not enough, and each key is counted. An event with a text that equals a key is left to the full parser.
    """
    return b"null" in raw and all(raw.count(key) <= 1 for key in _QUOTED_KEYS)


def _is_clean(raw: bytes, event: _Event) -> bool:
    """Whether no text has a forbidden character and no id is blank; the decoder has checked the lengths.

    The decoder refuses control characters below the space, and events with escapes do not get here.
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
    """The attributes of the account that the transaction also states."""
    stated = {"user_id": data.user_id, "kind": data.kind}
    return tuple(Attribute(name, value, rank) for name, value in stated.items() if value is not None)


def _minor(number: bytes, places: int) -> int | None:
    """A JSON number as minor units; None for one with too many decimals or digits.

    Raises ValueError for a number with an exponent, and for what is not a number.
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
