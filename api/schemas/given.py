"""Values that callers send: amounts and shares as numbers or texts, moments, days, and ids of accounts."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, PlainValidator, WithJsonSchema

from api.schemas.values import AMOUNT_SCHEMA, DAY_SCHEMA, MOMENT_OR_DAY_SCHEMA, PERCENT_SCHEMA, id_schema
from core.events.envelope import parse_moment

# Of a text that is known to be a date or a time.
_LOCAL_MIDNIGHT = re.compile(r".{10}T00:00:00(\.0+)?", re.IGNORECASE)


def _number(value: Any) -> Decimal | int | str:
    """A JSON number or a string. Core parses the string, so that one place has the rule for amounts."""
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise ValueError("must be a number or a decimal string")
    return value


Percent = Annotated[Decimal | int | str, PlainValidator(_number), WithJsonSchema(PERCENT_SCHEMA)]
Number = Annotated[Decimal | int | str, PlainValidator(_number), WithJsonSchema(AMOUNT_SCHEMA)]


def _moment(value: Any) -> datetime:
    given = _moment_or_day(value)
    if isinstance(given, datetime):
        return given
    return datetime(given.year, given.month, given.day, tzinfo=UTC)


def _query_moment(value: Any) -> datetime:
    return _moment(with_its_plus(value) if isinstance(value, str) else value)


GivenMoment = Annotated[datetime, PlainValidator(_moment), WithJsonSchema(MOMENT_OR_DAY_SCHEMA)]
QueryMoment = Annotated[
    datetime, PlainValidator(_query_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]


def _moment_or_day(value: Any) -> datetime | date:
    try:
        return parse_moment(value)
    except OverflowError:
        raise ValueError("is out of range") from None


MomentOrDay = Annotated[datetime | date, PlainValidator(_moment_or_day), WithJsonSchema(MOMENT_OR_DAY_SCHEMA)]


def _due(value: Any) -> datetime | date:
    given = _moment_or_day(value)
    if isinstance(given, datetime) and _LOCAL_MIDNIGHT.fullmatch(value):
        return given.date()
    return given


Due = Annotated[
    datetime | date,
    PlainValidator(_due),
    WithJsonSchema({**MOMENT_OR_DAY_SCHEMA, "examples": ["2026-11-09", "2026-11-09T17:30:00Z"]}),
]


def _day(value: Any) -> date:
    given = _moment_or_day(value)
    if isinstance(given, datetime):
        raise ValueError("must be a date (2026-01-31)")
    return given


Day = Annotated[date, PlainValidator(_day), WithJsonSchema(DAY_SCHEMA)]


def _check_addressable(account_id: str) -> str:
    """Refuse ids with `.` or `..`: clients resolve these in a path, even encoded, and would reach another URL."""
    if not {".", ".."}.isdisjoint(account_id.split("/")):
        raise ValueError("must not be . or .., nor hold one of them between slashes: no URL could name the account")
    return account_id


AccountId = Annotated[str, AfterValidator(_check_addressable), WithJsonSchema(id_schema("savings_001"))]


def with_its_plus(text: str) -> str:
    """The text of a moment in a query with its + restored: a client that does not encode it in fact sends a space."""
    return text.replace(" ", "+")
