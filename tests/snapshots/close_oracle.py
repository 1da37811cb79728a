"""A simple, slow oracle of goals' amounts at the ends of local days. It shares no code with core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from tests.ingestion.oracle import OracleAccount, cut_share

_STEP = timedelta(minutes=15)


@lru_cache
def first_instant(day: date, zone: str) -> datetime:
    """The first instant whose local date is not before `day`, found by looking at every quarter of an hour."""
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=16)
    while moment.astimezone(ZoneInfo(zone)).date() < day:
        moment += _STEP
    return moment


@dataclass
class OraclePeriod:
    """A period in which a share of an account counts."""

    account: OracleAccount
    ppm: int
    begin: datetime
    until: datetime | None = None


@dataclass
class OracleGoal:
    """What a goal's amounts depend on. `manual` is in order of time; the first has no moment."""

    tracking: str
    direction: int
    manual: list[tuple[datetime | None, int]]
    periods: list[OraclePeriod] = field(default_factory=list)
    final_at: datetime | None = None

    def amount_before(self, moment: datetime, members: Sequence[OracleAccount] = ()) -> int:
        """The amount from what is dated before a moment; `members` are the accounts of a net worth."""
        end = moment if self.final_at is None else min(moment, self.final_at)
        manual_at, manual = next(t for t in reversed(self.manual) if t[0] is None or t[0] < moment)
        if self.tracking == "net_worth":
            return sum(each.worth(end, before=True) for each in members) if _is_known(members) else manual
        if self.tracking == "balance":
            present = [
                p for p in self.periods if p.begin < end and (p.until is None or p.until >= end) and p.account.fits()
            ]
            if not _is_known([p.account for p in present]):
                return manual
            return self.direction * sum(cut_share(p.account.worth(end, before=True), p.ppm) for p in present)
        total = manual
        for period in self.periods:
            begin = period.begin if manual_at is None else max(period.begin, manual_at)
            until = end if period.until is None else min(period.until, end)
            if begin < until and period.account.fits():
                measure = period.account.inflow if self.tracking == "inflow" else period.account.worth
                moved = measure(until, before=True) - measure(begin, before=True)
                total += self.direction * cut_share(moved, period.ppm)
        return total

    def closes(self, first: date, last: date, zone: str, members: Sequence[OracleAccount] = ()) -> dict[date, int]:
        """The amount at the end of every day."""
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        return {day: self.amount_before(first_instant(day + timedelta(days=1), zone), members) for day in days}


def _is_known(accounts: Sequence[OracleAccount]) -> bool:
    return any(account.known_at() for account in accounts)
