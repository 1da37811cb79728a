"""Local days: where a day of a tenant's time zone begins and ends, in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

INSTANT = timedelta(microseconds=1)
EARLIEST = datetime(1900, 1, 2, tzinfo=UTC)


@lru_cache(maxsize=16_384)
def day_start(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a local day. Where midnight is skipped, the first instant after the gap."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def day_end(day: date, zone: ZoneInfo) -> datetime:
    """The last instant (to the microsecond) of a local day."""
    return day_start(day + timedelta(days=1), zone) - INSTANT


def local_day(moment: datetime, zone: ZoneInfo) -> date:
    """The local day that a moment falls on."""
    return moment.astimezone(zone).date()
