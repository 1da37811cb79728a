"""Where rows are placed, from all facts of one account: each rule as it is written down, with no care for speed."""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

QUARTER = timedelta(minutes=15)
MICROSECOND = timedelta(microseconds=1)


class Record(NamedTuple):
    """One statement about a row. `day` or `instant` is given if it is booked; neither if it says that it is removed."""

    name: str
    time: datetime
    event_id: str
    amount: int = 0
    day: date | None = None
    instant: datetime | None = None
    is_pending: bool = False

    @property
    def is_removal(self) -> bool:
        return self.day is None and self.instant is None

    @property
    def is_booked(self) -> bool:
        return not self.is_removal and not self.is_pending


class Standing(NamedTuple):
    """A row that counts."""

    name: str
    amount: int
    day: date | None
    reported: datetime
    instant: datetime | None


def place_all(
    records: Iterable[Record],
    reports: dict[datetime, int],
    zone: str,
    *,
    but: Collection[str] = (),
    missing: Collection[str] = (),
) -> dict[str, datetime]:
    """The place of every row that counts; those named by `but` do not, though they are booked.

    Those named by `missing` count as removed, because a window does not have them.
    """
    rows, first = _standing(records, but, missing)
    as_ofs = sorted(reports)
    effectives = {row.name: _effective(row, as_ofs) for row in rows}
    base = {row.name: _base(row, effectives[row.name], zone) for row in rows}
    places = dict(base)
    taken: set[str] = set()
    for p, q in reversed(list(pairwise(as_ofs))):
        taken = _evaluate(p, q, rows, base, places, effectives, reports[q] - reports[p], first, taken, zone)
    return places


def _standing(
    records: Iterable[Record], but: Collection[str], missing: Collection[str]
) -> tuple[list[Standing], datetime | None]:
    by_name: dict[str, list[Record]] = {}
    for record in records:
        by_name.setdefault(record.name, []).append(record)
    rows, removed = [], []
    firsts = []
    for name, of_name in by_name.items():
        booked = [record for record in of_name if record.is_booked]
        if not booked:
            continue
        reported = min(record.time for record in booked)
        firsts.append(reported)
        winner = max(of_name, key=lambda record: (record.time, record.is_removal, record.event_id))
        latest = max(booked, key=lambda record: (record.time, record.event_id))
        if winner.is_removal or name in missing:
            if latest.day is None:
                continue
            removed.append((reported, name, latest.day, latest.amount))
        elif winner.is_booked and name not in but:
            rows.append(Standing(name, winner.amount, winner.day, reported, winner.instant))
    rows.sort(key=lambda row: (row.reported, row.name))
    lent: dict[str, datetime] = {}
    for reported, _, day, amount in sorted(removed):
        for row in rows:
            if (row.day, row.amount) == (day, amount) and row.reported > reported and row.name not in lent:
                lent[row.name] = reported
                break
    rows = [row._replace(reported=lent.get(row.name, row.reported)) for row in rows]
    return sorted(rows), min(firsts, default=None)


def day_of(moment: datetime, zone: str) -> date:
    """The local day of a moment."""
    day = moment.astimezone(ZoneInfo(zone)).date()
    return day + timedelta(days=1) if moment >= first_instant(day + timedelta(days=1), zone) else day


def _base(row: Standing, effective: datetime, zone: str) -> datetime:
    if row.instant is not None:
        return row.instant
    assert row.day is not None
    return within(effective, row.day, zone)


def _effective(row: Standing, as_ofs: Sequence[datetime]) -> datetime:
    if row.day is None:
        return row.reported
    near = [as_of for as_of in as_ofs if as_of <= row.reported <= as_of + QUARTER]
    return max(near, default=row.reported)


_FOUND: dict[tuple[date, str], datetime] = {}


def first_instant(day: date, zone: str) -> datetime:
    """The first instant whose local date is not before `day`, found by trying each quarter of an hour."""
    if (day, zone) not in _FOUND:
        at = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=16)
        while at.astimezone(ZoneInfo(zone)).date() < day:
            at += QUARTER
        _FOUND[day, zone] = at
    return _FOUND[day, zone]


def last_instant(day: date, zone: str) -> datetime:
    """The last instant of a local day, to the microsecond."""
    return first_instant(day + timedelta(days=1), zone) - MICROSECOND


def within(moment: datetime, day: date, zone: str) -> datetime:
    """The moment, or the nearest one of a local day."""
    return min(max(moment, first_instant(day, zone)), last_instant(day, zone))


def _evaluate(
    p: datetime,
    q: datetime,
    rows: Sequence[Standing],
    base: dict[str, datetime],
    places: dict[str, datetime],
    effectives: dict[str, datetime],
    moved: int,
    first: datetime | None,
    taken: set[str],
    zone: str,
) -> set[str]:
    """Place the rows that the interval (p, q] decides about; returns those of T that moved."""
    day = day_of(p, zone)
    t, a, b, others = [], [], [], 0
    for row in rows:
        effective = effectives[row.name]
        if row.day is not None and effective == p and p <= row.reported <= p + QUARTER and base[row.name] == p:
            t.append(row)
        if row.name in taken:
            continue
        is_within = p < effective <= q
        if row.day is not None and is_within and row.day == day and base[row.name] > p:
            a.append(row)
        elif (
            row.day is not None
            and is_within
            and timedelta(days=1) <= day - row.day <= timedelta(days=7)
            and first is not None
            and row.reported > first + QUARTER
        ):
            b.append(row)
        elif p < base[row.name] <= q and effective <= q:
            others += row.amount
    gap = moved - others - sum(row.amount for row in a)
    if gap == 0:
        return set()
    after = {row.name: max(min(row.reported, last_instant(day, zone)), p + MICROSECOND) for row in rows}
    if t and sum(row.amount for row in t) == gap:
        chosen = t
    elif b and sum(row.amount for row in b) == gap:
        chosen = b
    elif a and sum(row.amount for row in a) == -gap:
        chosen = a
    else:
        one_t = [row for row in t if row.amount == gap][:1]
        one_a = [row for row in a if row.amount == -gap][:1]
        one_b = [row for row in b if row.amount == gap][:1]
        chosen = one_t or one_a or one_b
    for row in chosen:
        places[row.name] = p if row in a and row not in t else after[row.name]
    return {row.name for row in chosen if row in t}
