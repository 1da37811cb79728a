"""Reads the fields of providers' rows strictly: ids, texts, amounts, days and times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from itertools import islice
from typing import Any

from core.errors import EventRejected
from core.events.envelope import ID_LONGEST, identifier, parse_moment, text_of
from core.goals.money import digits, parse, to_decimal, to_minor
from core.providers.contracts import ROWS_MOST

Row = Mapping[str, Any]

TEXT_LONGEST = 500
# Banks report balances of up to 10^13 with many decimals: the precision must suffice to round them only once.
_VALUATION = Context(prec=60, rounding=ROUND_HALF_EVEN)
_BEYOND = Decimal(10) ** 20
# Banks give it for an account that holds several currencies.
NO_CURRENCY = "XXX"
# Nobody's money has a date outside these years, and near the limits of datetime a local day cannot be computed.
EARLIEST_YEAR, LATEST_YEAR = 1901, 9998
MIDNIGHT = frozenset({time(0)})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MissingValue(EventRejected):
    """Something is missing that neither the provider nor the caller has given; `where` names it."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__("untold", message)
        self.where = where

    def at(self, place: str) -> MissingValue:
        """The same error, with `where` as seen from the whole body."""
        return MissingValue(f"{place}.{self.where}" if place else self.where, self.message)


def as_row(value: object) -> dict[str, Any]:
    """The value as a row, which must be a JSON object."""
    if not isinstance(value, dict):
        raise EventRejected("bad_value", "a row must be an object")
    return value


def required_id(row: Row, field: str) -> str:
    """An id that must be there; a blank one counts as missing."""
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
    """A boolean; False where it is absent or null. Amounts depend on it, so anything else is refused."""
    value = row.get(field)
    if value is not None and not isinstance(value, bool):
        raise EventRejected("bad_value", f"{field} must be true or false")
    return value is True


def optional_word(row: Row, field: str) -> str | None:
    """A word with a meaning, such as a type or a status, or None where it is absent or null."""
    value = row.get(field)
    if value is not None and not isinstance(value, str):
        raise EventRejected("bad_value", f"{field} must be text")
    return value


def is_filled(row: Row, field: str) -> bool:
    """Whether a field has a value: null and an empty text are none."""
    return row.get(field) not in (None, "")


def whole_number(value: object) -> int | None:
    """A whole number, also one written as 12e0; None for anything else and for decimals of 10^20 or more."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, Decimal) and value.copy_abs() < _BEYOND and value == value.to_integral_value():
        return int(value)
    return None


def first_text(*values: object) -> str | None:
    """The first text or number among the values, cut to TEXT_LONGEST. Only people read it: other types are skipped."""
    return next((text[:TEXT_LONGEST] for value in values if (text := text_of(value))), None)


def object_in(row: Row, field: str) -> Row:
    """An object inside a row, in which amounts are; empty where it is absent or null."""
    value = row.get(field)
    if value is not None and not isinstance(value, dict):
        raise EventRejected("bad_value", f"{field} must be an object")
    return value or {}


def nested(row: Row, field: str) -> Row:
    """An object inside a row, on which no amount depends; empty where there is none."""
    value = row.get(field)
    return value if isinstance(value, dict) else {}


def exact_minor(row: Row, field: str, currency: str) -> int:
    """The minor units of a transaction's amount. Never rounded: the difference would stay in the account's worth."""
    return to_minor(_number(row, field), currency, field)


def rounded_minor(row: Row, field: str, currency: str) -> int:
    """The minor units of a balance, rounded half to even: shares times a price have more decimals than the currency."""
    number = _number(row, field)
    if number.copy_abs() < _BEYOND:
        number = number.quantize(Decimal(1).scaleb(-digits(currency)), context=_VALUATION)
    return to_minor(number, currency, field)


def decimal_text(minor: int, currency: str) -> str:
    """An amount as our events write it: text with the currency's decimals."""
    return str(to_decimal(minor, currency))


def currency_code(row: Row, field: str, *fallbacks: str | None) -> str:
    """The currency in a field of the row, else the first that is set of `fallbacks`; raises MissingValue if none is."""
    value = row.get(field)
    if value is not None and not isinstance(value, str):
        raise EventRejected("bad_currency", f"{field} must be a code such as USD")
    code = next((code for code in (value, *fallbacks) if code), None)
    if code is None:
        raise MissingValue(
            "currency", "the currency is missing: give currency, or register the account with its currency"
        )
    digits(code)
    return code


def optional_currency(row: Row, field: str) -> str | None:
    """The currency in a field of an account's details; None where there is none, or XXX, the code for no currency."""
    code = optional_word(row, field)
    if not code or code == NO_CURRENCY:
        return None
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


@dataclass(frozen=True, slots=True)
class Posted:
    """When a transaction was posted: the provider's day, and the text of our event (that day, or an instant of it)."""

    day: date
    text: str


def posted_at(row: Row, days: Sequence[str], times: Sequence[str], markers: frozenset[time] = MIDNIGHT) -> Posted:
    """The day of the first filled field of `days`, with the instant of the first filled field of `times` if it is real.

    A time without offset, or whose clock shows one of `markers`, means only its date: it stays a day, and the tenant's
    zone says when that begins. The same goes for the midnight of that day in another zone than the one that it is
    written in, and for a time that is nowhere on earth on that day, or cannot be parsed. A field of `times` may hold a
    date, too.
    """
    day = _first_day(row, days)
    instant = _clock_time(next((row[field] for field in times if row.get(field)), None))
    if instant is None:
        day = _first_day(row, times) if day is None else day
        if day is None:
            raise EventRejected("missing_field", f"{' or '.join((*days, *times))} is missing")
        return Posted(day, day.isoformat())
    day = instant.date() if day is None else day
    utc = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    is_elsewhere = abs(utc.date() - day) > timedelta(days=1)
    if instant.tzinfo is None or instant.time() in markers or is_elsewhere or _is_converted_midnight(instant, utc, day):
        return Posted(day, day.isoformat())
    return Posted(day, utc.isoformat())


def _is_converted_midnight(instant: datetime, utc: datetime, day: date) -> bool:
    """Whether a time is that day's midnight in UTC or in the bank's zone, but written in another zone.

    The bank's, written in UTC, is a full hour (or quarter, which zones may differ by) of the day before.
    """
    if utc == datetime.combine(day, time(0), UTC):
        return True
    is_quarter = utc.minute % 15 == 0 and utc.second == utc.microsecond == 0
    return is_quarter and utc.date() < day and instant.date() < day


def _first_day(row: Row, fields: Sequence[str]) -> date | None:
    return next((found for field in fields if (found := optional_day(row, field)) is not None), None)


def optional_day(row: Row, field: str) -> date | None:
    """A day written as YYYY-MM-DD, or None where there is none. Of a time the date that is written in it counts."""
    moment = _moment(row, field)
    if not isinstance(moment, datetime):
        return moment
    day = date.fromisoformat(row[field][: len("2026-01-31")])
    _checked(day, field)
    return day


def optional_instant(row: Row, field: str) -> datetime | None:
    """A time (ISO 8601, or whole seconds since 1970) in UTC, or None where there is none."""
    seconds = whole_number(row.get(field))
    moment = _moment(row, field) if seconds is None else _unix(seconds, field)
    if moment is not None and not isinstance(moment, datetime):
        raise EventRejected("bad_value", f"{field} must be a time (2026-01-31T12:00:00Z)")
    return moment


def _clock_time(value: object) -> datetime | None:
    """A time as its clock showed it, naive where no offset is written; None for anything else."""
    try:
        seconds = whole_number(value)
        if seconds is not None:
            return _unix(seconds, "time")
        if not isinstance(value, str) or not isinstance(parse_moment(value), datetime):
            return None
        moment = datetime.fromisoformat(value.upper())
        _checked(moment, "time")
    except (EventRejected, ValueError, OverflowError):
        return None
    return moment


def _moment(row: Row, field: str) -> datetime | date | None:
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
        raise EventRejected("bad_value", f"{field} is not in {EARLIEST_YEAR} to {LATEST_YEAR}") from None
    _checked(moment, field)
    return moment


def _checked(moment: date, field: str) -> None:
    if not EARLIEST_YEAR <= moment.year <= LATEST_YEAR:
        raise EventRejected("bad_value", f"{field} {moment.isoformat()} is not in {EARLIEST_YEAR} to {LATEST_YEAR}")


def rows_in(value: object) -> Iterator[dict[str, Any]]:
    """The objects of an array, or a single object, of any body: at most ROWS_MOST values are looked at."""
    rows = value if isinstance(value, list) else [value]
    return (row for row in islice(rows, ROWS_MOST) if isinstance(row, dict))


def names_of(candidates: Iterable[object]) -> frozenset[str]:
    """Those candidates that can be ids."""
    return frozenset(name for name in candidates if isinstance(name, str) and can_name(name))


def can_name(name: str) -> bool:
    """Whether a text can be an id."""
    try:
        identifier(name, "name", ID_LONGEST)
    except EventRejected:
        return False
    return True
