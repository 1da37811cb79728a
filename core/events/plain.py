"""Reading the plainest events at a glance: transactions in which nothing is missing, odd or wrong.

Nearly all events are such. They are read by a decoder that knows their shape, in a third of the time that parse_json,
check_envelope and parse_event take; whatever it does not take goes that way, which also says what is wrong. Of what it
takes it makes the very same facts: a property test holds the two against each other.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from core.errors import InvalidField
from core.events.calendar import EARLIEST, day_start
from core.events.envelope import ID_LONGEST, SOURCE_LONGEST, parse_moment
from core.events.facts import AccountFacts, Attribute, Transaction
from core.events.parse import FUTURE_ALLOWANCE, TEXT_LONGEST
from core.events.rank import Rank, attribute_rank
from core.goals.money import MAX_MINOR, digits

# MAX_MINOR has 16 digits; a number with many more characters needs a closer look.
_AMOUNT_LONGEST: Final = 20


class _Data(Struct, forbid_unknown_fields=True):
    account_id: str
    transaction_id: str
    amount: Raw
    currency: str
    posted_at: str
    pending: bool | UnsetType = UNSET
    user_id: str | UnsetType | None = UNSET
    kind: Literal["asset", "liability"] | UnsetType | None = UNSET
    replaces: str | UnsetType | None = UNSET
    category: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET


class _Event(Struct, forbid_unknown_fields=True):
    specversion: Literal["1.0"]
    id: str
    source: str
    type: Literal["milepost.transaction.recorded"]
    time: str
    data: _Data
    subject: str | UnsetType | None = UNSET


_DECODER = msgspec.json.Decoder(_Event)
# The required ones: six keys and five texts of the event, five keys and four texts of its data.
_QUOTES: Final = 2 * (6 + 5 + 5 + 4)


def read_plain_transaction(raw: bytes, zone: ZoneInfo, arrived_at: datetime) -> AccountFacts | None:
    """The facts of a transaction that is as plain as can be; None for whatever needs a closer look."""
    try:
        event = _DECODER.decode(raw)
        return _facts(event, zone, arrived_at + FUTURE_ALLOWANCE) if _has_each_key_once(raw, event) else None
    except (msgspec.MsgspecError, InvalidField, ValueError, OverflowError, RecursionError):
        return None


def _has_each_key_once(raw: bytes, event: _Event) -> bool:
    """Whether there are no quotation marks but those of the keys and texts that were read.

    The decoder takes the last of two values for one key. Without escapes every mark opens or closes a key or a text.
    """
    quotes, data = _QUOTES, event.data
    if data.pending is not UNSET:
        quotes += 2
    for text in (event.subject, data.user_id, data.kind, data.replaces, data.category, data.description):
        if text is not UNSET:
            quotes += 2 if text is None else 4
    return raw.count(b'"') == quotes and b"\\" not in raw


def _facts(event: _Event, zone: ZoneInfo, latest: datetime) -> AccountFacts | None:
    data = event.data
    replaces = _text_or_none(data.replaces)
    category, description = _text_or_none(data.category), _text_or_none(data.description)
    if not (
        _is_name(data.account_id, ID_LONGEST)
        and _is_name(data.transaction_id, ID_LONGEST)
        and _is_name(event.source, SOURCE_LONGEST)
        and _is_name(event.id, SOURCE_LONGEST)
        and (replaces is None or (_is_name(replaces, ID_LONGEST) and replaces != data.transaction_id))
        and (category is None or _is_note(category))
        and (description is None or _is_note(description))
    ):
        return None
    time, amount_minor = parse_moment(event.time), _minor(bytes(data.amount), digits(data.currency))
    stated_at = parse_moment(data.posted_at)
    posted_at = stated_at if isinstance(stated_at, datetime) else day_start(stated_at, zone)
    if (
        not isinstance(time, datetime)
        or amount_minor is None
        or not EARLIEST <= time <= latest
        or not EARLIEST <= posted_at <= latest
    ):
        return None
    rank = Rank(time, False, event.source, event.id)
    attributes = _attributes(data, rank)
    if attributes is None:
        return None
    transaction = Transaction(
        data.transaction_id,
        rank,
        amount_minor,
        data.currency,
        posted_at,
        data.pending is True,
        replaces,
        category,
        description,
    )
    return AccountFacts(data.account_id, data.currency, attributes, transaction)


def _attributes(data: _Data, rank: Rank) -> tuple[Attribute, ...] | None:
    """What is told of the account in passing; None if its user has an odd name."""
    user_id, kind = _text_or_none(data.user_id), _text_or_none(data.kind)
    if user_id is None and kind is None:
        return ()
    if user_id is not None and not _is_name(user_id, ID_LONGEST):
        return None
    told = attribute_rank(rank)
    named = () if user_id is None else (Attribute("user_id", user_id, told),)
    return named if kind is None else (*named, Attribute("kind", kind, told))


def _text_or_none(value: str | UnsetType | None) -> str | None:
    return value if isinstance(value, str) else None


def _is_name(text: str, longest: int) -> bool:
    return text.isprintable() and 0 < len(text) <= longest and not text.isspace()


def _is_note(text: str) -> bool:
    return text.isprintable() and len(text) <= TEXT_LONGEST


def _minor(number: bytes, places: int) -> int | None:
    """A JSON number as minor units; None for one with an exponent, too many decimals or digits, and for all else."""
    if len(number) > _AMOUNT_LONGEST:
        return None
    whole, _, fraction = number.partition(b".")
    fraction = fraction.rstrip(b"0")
    if len(fraction) > places:
        return None
    minor = int(whole + fraction.ljust(places, b"0"))
    return minor if -MAX_MINOR <= minor <= MAX_MINOR else None
