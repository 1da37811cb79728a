"""The SQL of the verification and the code of core, which share nothing, let local days begin at the same instants."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, Engine, text

from core.events.calendar import day_start, local_day
from core.verify import checks
from core.verify.checks import ODD, ODD_DAYS

NOW = datetime(2026, 12, 31, tzinfo=UTC)
# By zone, days around changes of the clock: over midnight, at midnight, at two, at half hours, and a day left out.
DAYS = [
    ("UTC", date(2026, 3, 1)),
    ("America/New_York", date(2026, 3, 8)),
    ("America/Havana", date(2025, 11, 2)),
    ("America/Havana", date(2026, 3, 8)),
    ("Asia/Beirut", date(2025, 10, 26)),
    ("Asia/Beirut", date(2026, 3, 29)),
    ("America/St_Johns", date(2005, 10, 30)),
    ("America/Santiago", date(2026, 4, 5)),
    ("Africa/Cairo", date(2023, 4, 28)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Pacific/Apia", date(2011, 12, 30)),
]


def odd_days(connection: Connection, zone: str) -> dict[str, object]:
    """The days whose midnight comes twice, as parameters of the statements."""
    rows = connection.execute(text(ODD_DAYS), {"zone": zone, "now": NOW}).all()
    columns = {"odd_days": 0, "odd_starts": 1, "odd_plains": 2}
    found: dict[str, object] = {name: [row[number] for row in rows] for name, number in columns.items()}
    return found | {"odd_days": [row.day.date() for row in rows]}


@pytest.mark.parametrize(("zone", "day"), DAYS)
def test_moments_fall_in_the_same_days(engine: Engine, zone: str, day: date) -> None:
    """Every half hour around a change of the clock, and every first instant of a day, has the same day in both."""
    around = [day_start(day, ZoneInfo(zone)) + timedelta(minutes=30 * n) for n in range(-96, 96)]
    starts = [day_start(day + timedelta(days=n), ZoneInfo(zone)) for n in range(-3, 4)]
    moments = around + starts + [start - timedelta(microseconds=1) for start in starts]
    statement = text(
        f"WITH {ODD} SELECT m, {checks.local_day('m')} FROM unnest(CAST(:moments AS timestamptz[])) AS moments(m)"
    )
    with engine.connect() as connection:
        found = connection.execute(statement, odd_days(connection, zone) | {"zone": zone, "moments": moments}).all()
    assert {row[0]: row[1] for row in found} == {moment: local_day(moment, ZoneInfo(zone)) for moment in moments}


def test_odd_days_are_few(engine: Engine) -> None:
    """A day begins twice only where clocks go back over midnight: in Havana once a year, in Prague once in 1916."""
    with engine.connect() as connection:
        assert date(2025, 11, 2) in odd_days(connection, "America/Havana")["odd_days"]  # type: ignore[operator]
        assert odd_days(connection, "Europe/Prague")["odd_days"] == [date(1916, 10, 1)]
