"""When something counts, from what providers write: days, times, and times that only stand for a day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from core.errors import EventRejected
from core.events.envelope import parse_moment
from core.events.providers.fields import Row, whole

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
