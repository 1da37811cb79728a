"""The envelope of an event: CloudEvents 1.0 in JSON, with numbers parsed as decimals."""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, NamedTuple

import simplejson

from core.errors import MalformedEvent

ID_LONGEST = 200
SOURCE_LONGEST = 500
# A transaction has some hundred bytes. A far larger event could delay the events of everyone else.
EVENT_LONGEST_BYTES = 65_536
# Clocks differ. What a clock that is further ahead says would win over every correction until its time has come.
CLOCK_ALLOWANCE = timedelta(minutes=5)
_DATE_LENGTH = len("2026-01-31")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_NO_ENVELOPE = (
    "specversion is missing: an event is a CloudEvents 1.0 object with specversion, id, source, type, time and data"
)
_NO_MOMENT = "must be a date (2026-01-31) or a time (2026-01-31T12:00:00Z)"
_NOT_ON_THE_CALENDAR = "is a date or a time that does not exist"
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs"})


class DuplicateKey(ValueError):
    """A JSON object has one key twice: the parser, not the sender, would choose which of the two counts."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key[:40]!r} is there twice in one object")


class Envelope(NamedTuple):
    """One event as its producer sent it; `data` is not checked yet."""

    event_id: str
    source: str
    type: str
    time: datetime
    subject: str | None
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EventHead:
    """What a producer recognizes an event by; None for what cannot be read."""

    event_id: str | None = None
    source: str | None = None
    type: str | None = None


def one_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make the object of the pairs that a JSON parser read; raises DuplicateKey."""
    found = dict(pairs)
    if len(found) != len(pairs):
        ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise DuplicateKey(key)
    return found


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text[:40]} is out of range") from None


def _refuse_constant(text: str) -> object:
    raise ValueError(f"{text} is not finite")


# Made once: simplejson.loads would make a new decoder for every call that asks for exact decimals.
_DECODER = simplejson.JSONDecoder(object_pairs_hook=one_of_each, parse_float=_decimal, parse_constant=_refuse_constant)


def begins_with_mark(text: str, at: int = 0) -> bool:
    """Whether a byte order mark, or its three bytes as characters, is at this place, which simplejson passes over."""
    return text.startswith(("\ufeff", "\u00ef\u00bb\u00bf"), at)


def parse_json(raw: bytes) -> object:
    """Parse UTF-8 JSON with exact decimals; raises MalformedEvent("unparseable") and never a parser's own error."""
    try:
        text = raw.decode("utf-8")
        if begins_with_mark(text):
            raise MalformedEvent("unparseable", "not JSON: it begins with a byte order mark")
        return _DECODER.decode(text)
    except UnicodeDecodeError as error:
        raise MalformedEvent("unparseable", f"not UTF-8 at byte {error.start}") from None
    except simplejson.JSONDecodeError as error:
        raise MalformedEvent("unparseable", f"not JSON: {error}") from None
    except RecursionError:
        raise MalformedEvent("unparseable", "nested too deeply") from None
    except DuplicateKey as error:
        raise MalformedEvent("unparseable", str(error)) from None
    except ValueError as error:
        # The parser's remaining ValueErrors: NaN and Infinity from us, integers of over 4,300 digits from int().
        raise MalformedEvent("unparseable", f"a number that is not an amount: {error}") from None


def check_envelope(value: object) -> Envelope:
    """Check what every event must have; raises a MalformedEvent that names the attribute."""
    if not isinstance(value, dict):
        raise MalformedEvent("malformed", "an event is a JSON object")
    if "specversion" not in value:
        raise MalformedEvent("malformed", _NO_ENVELOPE)
    if value["specversion"] != "1.0":
        raise MalformedEvent("malformed", 'specversion must be "1.0"')
    data = value.get("data")
    if not isinstance(data, dict):
        raise MalformedEvent("malformed", "data must be an object")
    subject = value.get("subject")
    if subject is not None and not isinstance(subject, str):
        raise MalformedEvent("malformed", "subject must be text")
    return Envelope(
        event_id=identifier(value.get("id"), "id", SOURCE_LONGEST),
        source=identifier(value.get("source"), "source", SOURCE_LONGEST),
        type=identifier(value.get("type"), "type", SOURCE_LONGEST),
        time=_envelope_time(value.get("time")),
        subject=subject,
        data=data,
    )


def check_clock(time: datetime, arrived_at: datetime) -> None:
    """Refuse an event whose `time` is ahead of its arrival; raises MalformedEvent("clock_ahead")."""
    if time - arrived_at > CLOCK_ALLOWANCE:
        raise MalformedEvent(
            "clock_ahead",
            f"time {time.isoformat()} is more than five minutes after the arrival ({arrived_at:%Y-%m-%dT%H:%M:%SZ}): "
            "set the clock that gave it, and send it again with the right time",
        )


def identifier(value: object, field: str, longest: int = ID_LONGEST) -> str:
    """Check a text that identifies something: 1 to `longest` characters, not blank, no control characters."""
    if not isinstance(value, str):
        raise MalformedEvent("malformed", f"{field} must be text" if value is not None else f"{field} is missing")
    if value.isprintable() and 0 < len(value) <= longest and not value.isspace():
        return value
    if not value or len(value) > longest or value.isspace():
        raise MalformedEvent("malformed", f"{field} must have 1 to {longest} characters")
    if any(unicodedata.category(c) in _FORBIDDEN_CATEGORIES for c in value):
        raise MalformedEvent("malformed", f"{field} holds a control character")
    return value


def parse_moment(text: object) -> datetime | date:
    """A date, or an instant as aware UTC (without an offset it is UTC already); raises ValueError."""
    if isinstance(text, str):
        return read_moment(text)
    raise ValueError(_NO_MOMENT)


# An event often has one moment twice, and a page of a bank the same day in every row.
@lru_cache(maxsize=4_096)
def read_moment(text: str) -> datetime | date:
    """The same as parse_moment, for a value that is known to be text."""
    is_day = len(text) == _DATE_LENGTH and _DATE.fullmatch(text)
    if not is_day and not _INSTANT.fullmatch(text):
        text = text.upper()
        if not _INSTANT.fullmatch(text):
            raise ValueError(_NO_MOMENT)
    try:
        if is_day:
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text)
    except ValueError:
        # Python's own words for the 31st of November differ from version to version.
        raise ValueError(_NOT_ON_THE_CALENDAR) from None
    if moment.tzinfo is UTC:
        return moment
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def text_of(value: object) -> str | None:
    """A text as it is, and a number as it is written, where only people read it; None for anything else."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


def head_of(raw: bytes) -> EventHead:
    """The head of an event as it is on the stream; empty for one longer than an event may be, which is not parsed."""
    if len(raw) > EVENT_LONGEST_BYTES:
        return EventHead()
    try:
        value = parse_json(raw)
    except MalformedEvent:
        return EventHead()
    if not isinstance(value, dict):
        return EventHead()
    return EventHead(*(_name(value.get(field), field) for field in ("id", "source", "type")))


def _envelope_time(value: object) -> datetime:
    try:
        moment = parse_moment(value)
    except (ValueError, OverflowError) as error:
        raise MalformedEvent("malformed", f"time {error}" if value is not None else "time is missing") from None
    if not isinstance(moment, datetime):
        raise MalformedEvent("malformed", "time must be an instant (2026-01-31T12:00:00Z)")
    return moment


def _name(value: object, field: str) -> str | None:
    try:
        return identifier(value, field, SOURCE_LONGEST)
    except MalformedEvent:
        return None
