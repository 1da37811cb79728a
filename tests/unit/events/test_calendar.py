"""Local days begin and end where their time zone says."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events.calendar import day_end, day_start, local_day

ZONES = ["UTC", "Europe/Prague", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Cairo"]


@pytest.mark.parametrize(
    ("day", "zone", "first"),
    [
        (date(2026, 3, 29), "Europe/Prague", "2026-03-28T23:00"),
        (date(2026, 3, 30), "Europe/Prague", "2026-03-29T22:00"),
        (date(2026, 10, 25), "Europe/Prague", "2026-10-24T22:00"),
        (date(2026, 10, 26), "Europe/Prague", "2026-10-25T23:00"),
        # Midnight is skipped here: the day begins with the first instant after the gap.
        (date(2023, 4, 28), "Africa/Cairo", "2023-04-27T22:00"),
        # Midnight comes twice here: the day begins with the first of them.
        (date(2026, 11, 1), "America/Havana", "2026-11-01T04:00"),
    ],
)
def test_a_day_begins_at_its_first_instant(day: date, zone: str, first: str) -> None:
    """Across changes of the clock a local day begins at its first instant."""
    assert day_start(day, ZoneInfo(zone)) == datetime.fromisoformat(first).replace(tzinfo=UTC)


@given(st.dates(date(1950, 1, 1), date(2100, 1, 1)), st.sampled_from(ZONES))
def test_days_follow_each_other_without_a_gap(day: date, name: str) -> None:
    """The last instant of a day is one microsecond before the first of the next, and both are of their days."""
    zone = ZoneInfo(name)
    assert day_end(day, zone) + timedelta(microseconds=1) == day_start(day + timedelta(days=1), zone)
    assert local_day(day_start(day, zone), zone) == day
    assert local_day(day_end(day, zone), zone) == day
