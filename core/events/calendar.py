"""Local days: where a day of a tenant's time zone begins and ends, in UTC."""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

INSTANT = timedelta(microseconds=1)
_UTC = ZoneInfo("UTC")
EARLIEST = datetime(1900, 1, 2, tzinfo=UTC)


@lru_cache(maxsize=16_384)
def day_start(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a local day. If clocks skip midnight, the first instant after the gap."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


@lru_cache(maxsize=16_384)
def day_end(day: date, zone: ZoneInfo) -> datetime:
    """The last instant (to the microsecond) of a local day."""
    return day_start(day + timedelta(days=1), zone) - INSTANT


def within_day(moment: datetime, day: date, zone: ZoneInfo) -> datetime:
    """The moment, or the instant of the local day that is nearest to it."""
    first = day_start(day, zone)
    if moment < first:
        return first
    last = day_end(day, zone)
    return last if moment > last else moment


def local_day(moment: datetime, zone: ZoneInfo) -> date:
    """The local day of a moment. A day ends where the next one begins.

    If clocks go back over midnight, the hour before it occurs twice; the second one belongs to the new day.
    """
    if zone is _UTC and moment.tzinfo is UTC:
        return moment.date()
    day = moment.astimezone(zone).date()
    following = day + timedelta(days=1)
    return following if moment >= day_start(following, zone) else day


def last_closed_day(now: datetime, zone: ZoneInfo) -> date:
    """The latest local day that is over."""
    return local_day(now, zone) - timedelta(days=1)
