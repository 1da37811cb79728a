"""Strict reading of what providers write: ids, texts, amounts, days and times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from itertools import islice
from typing import Any

from core.errors import EventRejected
from core.events.envelope import ID_LONGEST, identifier, parse_moment
from core.goals.money import digits, parse, to_decimal, to_minor
from core.providers.contracts import ROWS_MOST

Row = Mapping[str, Any]

TEXT_LONGEST = 500
# Banks state balances of up to 10^13; half a cent more must not become two.
_VALUATION = Context(prec=60, rounding=ROUND_HALF_EVEN)
_BEYOND = Decimal(10) ** 20


class MissingValue(EventRejected):
    """Something that the provider leaves out, and that the caller has not told either; `where` names it."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__("untold", message)
        self.where = where

    def at(self, place: str) -> MissingValue:
        """The same, seen from the body."""
        return MissingValue(f"{place}.{self.where}" if place else self.where, self.message)


def as_row(value: object) -> dict[str, Any]:
    """A row is a JSON object."""
    if not isinstance(value, dict):
        raise EventRejected("bad_value", "a row must be an object")
    return value


def required_id(row: Row, field: str) -> str:
    """An id that must be there; a blank one is none."""
    found = optional_id(row, field)
    if found is None:
        raise EventRejected("missing_field", f"{field} is missing or blank")
    return found


def optional_id(row: Row, field: str) -> str | None:
    """An id, or None where it is absent, null or blank."""
    value = row.get(field)
    if value is None or (isinstance(value, str) and (not value or value.isspace())):
        return None
    try:
        return identifier(value, field, ID_LONGEST)
    except EventRejected as error:
        raise EventRejected("bad_value", error.message) from None


def flag(row: Row, field: str) -> bool:
    """A claim that must be made."""
    value = row.get(field)
    if not isinstance(value, bool):
        raise EventRejected("bad_value", f"{field} must be true or false")
    return value


def whole(value: object) -> int | None:
    """A whole number, also one written as 12e0; None for what is none, or is beyond any count of ours."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, Decimal) and value.copy_abs() < _BEYOND and value == value.to_integral_value():
        return int(value)
    return None


def note(*values: object) -> str | None:
    """The first text among the values, for people: what is no text is passed over, since no amount hangs on it."""
    return next((value[:TEXT_LONGEST] for value in values if isinstance(value, str) and value), None)


def nested(row: Row, field: str) -> Row:
    """An object inside a row; empty where there is none."""
    value = row.get(field)
    return value if isinstance(value, dict) else {}


def exact(row: Row, field: str, currency: str) -> int:
    """The minor units of what moved; never rounded, since cents that nobody moved would stay."""
    return to_minor(_number(row, field), currency, field)


def valuation(row: Row, field: str, currency: str) -> int:
    """The minor units of a balance, rounded half to even: shares times a price have more decimals than money has."""
    number = _number(row, field)
    if number.copy_abs() < _BEYOND:
        number = number.quantize(Decimal(1).scaleb(-digits(currency)), context=_VALUATION)
    return to_minor(number, currency, field)


def written(minor: int, currency: str) -> str:
    """An amount as our events have it: text with the currency's decimals."""
    return str(to_decimal(minor, currency))


def currency_code(value: object, *fallbacks: str | None) -> str:
    """What the row says, else what the caller told; raises MissingValue when nobody has said it."""
    if value is not None and not isinstance(value, str):
        raise EventRejected("bad_currency", "currency must be a code such as USD")
    code = next((code for code in (value, *fallbacks) if code), None)
    if code is None:
        raise MissingValue(
            "currency", "the currency is not told: give currency, or register the account with its currency"
        )
    digits(code)
    return code


def _number(row: Row, field: str) -> Decimal:
    value = row.get(field)
    if value is None:
        raise EventRejected("missing_field", f"{field} is missing")
    try:
        return parse(value, field)
    except TypeError:
        raise EventRejected("bad_amount", f"{field} must be a number or a decimal string") from None


# What is beyond is no date of anyone's money, and its local day could not be told.
EARLIEST_YEAR, LATEST_YEAR = 1901, 9998
MIDNIGHT = frozenset({time(0)})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Posted:
    """When a transaction stands: the provider's day, and what our event says (that day, or an instant of it)."""

    day: date
    text: str


def posted_at(row: Row, days: Iterable[str], times: Iterable[str], markers: frozenset[time] = MIDNIGHT) -> Posted:
    """The first filled day of `days`, and the instant of the first filled of `times` where it is a real one.

    A time without offset, or whose clock shows one of `markers`, stands for its date alone: a day stays a day, and
    the tenant's zone says when it begins. So does a time that is not of that day anywhere on earth, or not readable.
    """
    day = next((found for field in days if (found := a_day(row, field)) is not None), None)
    written = next((row[field] for field in times if row.get(field)), None)
    instant = _readable(written)
    if instant is None:
        if day is None:
            raise EventRejected("missing_field", "the row has no date")
        return Posted(day, day.isoformat())
    day = instant.date() if day is None else day
    utc = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    if instant.tzinfo is None or instant.time() in markers or abs(utc.date() - day) > timedelta(days=1):
        return Posted(day, day.isoformat())
    return Posted(day, utc.isoformat())


def a_day(row: Row, field: str) -> date | None:
    """A day written as YYYY-MM-DD, or None where there is none."""
    moment = _stated(row, field)
    if isinstance(moment, datetime):
        raise EventRejected("bad_value", f"{field} must be a date (2026-01-31)")
    return moment


def an_instant(row: Row, field: str) -> datetime | None:
    """A time (ISO 8601, or whole seconds since 1970) in UTC, or None where there is none."""
    seconds = whole(row.get(field))
    moment = _stated(row, field) if seconds is None else _unix(seconds, field)
    if moment is not None and not isinstance(moment, datetime):
        raise EventRejected("bad_value", f"{field} must be a time (2026-01-31T12:00:00Z)")
    return moment


def _readable(value: object) -> datetime | None:
    """A time as its clock showed it, naive where no offset is written; None for what is not one."""
    try:
        seconds = whole(value)
        if seconds is not None:
            return _unix(seconds, "time")
        if not isinstance(value, str) or not isinstance(parse_moment(value), datetime):
            return None
        moment = datetime.fromisoformat(value.upper())
        _checked(moment, "time")
    except (EventRejected, ValueError, OverflowError):
        return None
    return moment


def _stated(row: Row, field: str) -> datetime | date | None:
    value = row.get(field)
    if value is None or value == "":
        return None
    try:
        moment = parse_moment(value)
    except (ValueError, OverflowError) as error:
        raise EventRejected("bad_value", f"{field} {error}") from None
    _checked(moment, field)
    return moment


def _unix(seconds: int, field: str) -> datetime:
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        raise EventRejected("bad_value", f"{field} is no time of ours") from None
    _checked(moment, field)
    return moment


def _checked(moment: date, field: str) -> None:
    if not EARLIEST_YEAR <= moment.year <= LATEST_YEAR:
        raise EventRejected("bad_value", f"{field} {moment.isoformat()} is no date of ours")


def rows_in(value: object) -> Iterator[dict[str, Any]]:
    rows = value if isinstance(value, list) else [value]
    return (row for row in islice(rows, ROWS_MOST) if isinstance(row, dict))


def names_of(candidates: Iterable[object]) -> frozenset[str]:
    return frozenset(name for name in candidates if isinstance(name, str) and can_name(name))


def can_name(name: str) -> bool:
    try:
        identifier(name, "name", ID_LONGEST)
    except EventRejected:
        return False
    return True
