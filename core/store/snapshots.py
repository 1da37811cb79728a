"""Rows of snapshots, and what these are computed from: how accounts moved day by day, and the manual amounts.

A snapshot is a goal's amount at the end of one local day. A row is stored only for a day whose
amount differs from that of the day before.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from core.events.calendar import day_start
from core.goals.amounts import ManualAmount
from core.goals.projection import PaceDays
from core.store import driver
from core.store.accounts import AccountKey
from core.store.driver import Session, Sql, dates, moments
from core.store.goals import GoalKey, GoalRow

# (day, amount in minor units), in order of day; a day that is left out has the amount of the last day before it.
Snapshots = list[tuple[date, int]]

_DAY = timedelta(days=1)
# By (tenant, goal id, day) the amount that was stored before; None where the day had no row.
SnapshotsBefore = Mapping[tuple[str, str, date], int | None]


@dataclass(frozen=True, slots=True)
class DayRange:
    """A range of days, both ends included; with `last` None it has no end and includes future days."""

    first: date
    last: date | None


@dataclass(frozen=True, slots=True)
class AccountDays:
    """(day, change of worth, inflow) of the days on which an account moved, in order, and its worth after the range.

    `anchor_minor` is the end-of-day worth of the last day of the range. It is None for a range without an end: then
    the account's own row has the worth.
    """

    days: list[tuple[date, int, int]]
    anchor_minor: int | None


@dataclass(frozen=True, slots=True)
class StoredSnapshots:
    """The last stored amount before a range, and the rows in the range."""

    before_minor: int | None
    rows: dict[date, int]


class Close(NamedTuple):
    """The amount at the end of a day, and since which day it has been that."""

    since: date
    amount_minor: int


class Closes(NamedTuple):
    """The closes of a goal on the days that say its pace."""

    through: Close
    month_begin: Close
    begin: Close


_FACTS = """
        SELECT t.posted_at AS at, t.amount_minor AS worth_minor, greatest(t.amount_minor, 0) AS inflow_minor
        FROM transactions t
        WHERE t.tenant = k.tenant AND t.account_id = k.account_id AND t.counts
          AND t.posted_at >= k.since AND t.posted_at < coalesce(k.until, 'infinity')
        UNION ALL
        SELECT r.as_of, r.residual_minor, 0 FROM reports r
        WHERE r.tenant = k.tenant AND r.account_id = k.account_id AND r.residual_minor <> 0
          AND r.as_of >= k.since AND r.as_of < coalesce(k.until, 'infinity')
        OFFSET 0"""
# Facts have instants, and only Python computes where a local day begins. So `starts` lists the first instant of each
# day, and a fact belongs to the day with the last start before it. OFFSET 0 makes the planner look facts up by key,
# whatever statistics it has. A sum may be larger than any integer of Postgres, so it comes as text.
_READ_DAYS = Sql(
    f"""SELECT k.n, width_bucket(f.at, :starts), CAST(sum(f.worth_minor) AS text), CAST(sum(f.inflow_minor) AS text)
    FROM unnest({driver.split("tenants")}, {driver.split("names")}, :sinces, :untils)
        WITH ORDINALITY AS k(tenant, account_id, since, until, n)
    CROSS JOIN LATERAL ({_FACTS}) AS f
    GROUP BY 1, 2 HAVING sum(f.worth_minor) <> 0 OR sum(f.inflow_minor) <> 0
    ORDER BY 1, 2"""
)
# The end-of-day worth: the last report before the end of the day, plus the transactions after that report. Before the
# first report: that report minus the transactions up to it. Without any report: the present worth minus the later
# transactions. A report comes after the transactions of its own instant.
_READ_ANCHORS = Sql(
    f"""SELECT k.n, CAST(CASE
        WHEN before.as_of IS NOT NULL THEN s.sign * before.current_minor
            + (SELECT coalesce(sum(t.amount_minor), 0) FROM transactions t
               WHERE t.tenant = k.tenant AND t.account_id = k.account_id AND t.counts
                 AND t.posted_at > before.as_of AND t.posted_at < k.until)
        ELSE coalesce(s.sign * first.current_minor, a.worth_minor)
            - (SELECT coalesce(sum(t.amount_minor), 0) FROM transactions t
               WHERE t.tenant = k.tenant AND t.account_id = k.account_id AND t.counts
                 AND t.posted_at >= k.until AND t.posted_at <= coalesce(first.as_of, 'infinity')) END AS text)
    FROM unnest({driver.split("tenants")}, {driver.split("names")}, :untils)
        WITH ORDINALITY AS k(tenant, account_id, until, n)
    JOIN accounts a ON a.tenant = k.tenant AND a.account_id = k.account_id
    CROSS JOIN LATERAL (SELECT CASE a.kind WHEN 'liability' THEN -1 ELSE 1 END AS sign) s
    LEFT JOIN LATERAL (
        SELECT r.as_of, r.current_minor FROM reports r
        WHERE r.tenant = k.tenant AND r.account_id = k.account_id AND r.as_of < k.until
        ORDER BY r.as_of DESC LIMIT 1) before ON true
    LEFT JOIN LATERAL (
        SELECT r.as_of, r.current_minor FROM reports r
        WHERE r.tenant = k.tenant AND r.account_id = k.account_id AND before.as_of IS NULL
        ORDER BY r.as_of LIMIT 1) first ON true"""
)
_READ_MOVEMENTS = Sql(
    f"""SELECT k.n, f.at, CAST(sum(f.worth_minor) AS bigint), CAST(sum(f.inflow_minor) AS bigint)
    FROM unnest({driver.split("tenants")}, {driver.split("names")}, :sinces, :untils)
        WITH ORDINALITY AS k(tenant, account_id, since, until, n)
    CROSS JOIN LATERAL ({_FACTS}) AS f
    GROUP BY 1, 2 ORDER BY 1, 2"""
)
_READ_MANUAL = Sql(
    f"""SELECT k.tenant, k.goal_id, CAST(NULL AS timestamptz) AS manual_at,
        CASE WHEN g.starts_at_balance THEN coalesce(g.start_minor, e.after_minor) ELSE e.after_minor END
    FROM {driver.keys("tenants", "goals")} AS k(tenant, goal_id)
    JOIN goals g ON g.tenant = k.tenant AND g.goal_id = k.goal_id
    JOIN goal_entries e ON e.tenant = k.tenant AND e.goal_id = k.goal_id AND e.entry = 1
    UNION ALL
    SELECT k.tenant, k.goal_id, t.manual_at, t.amount_minor
    FROM {driver.keys("tenants", "goals")} AS k(tenant, goal_id)
    JOIN manual_amounts t ON t.tenant = k.tenant AND t.goal_id = k.goal_id
    ORDER BY 1, 2, 3 NULLS FIRST"""
)
# The rows of each range, and the last one before it.
_READ_STORED = Sql(
    f"""SELECT k.n, s.day, s.amount_minor
    FROM unnest({driver.split("tenants")}, {driver.split("names")}, :firsts, :lasts)
        WITH ORDINALITY AS k(tenant, goal_id, first, last, n)
    CROSS JOIN LATERAL (
        (SELECT day, amount_minor FROM goal_snapshots
        WHERE tenant = k.tenant AND goal_id = k.goal_id AND day < k.first
        ORDER BY day DESC LIMIT 1)
        UNION ALL
        SELECT day, amount_minor FROM goal_snapshots
        WHERE tenant = k.tenant AND goal_id = k.goal_id AND day BETWEEN k.first AND coalesce(k.last, 'infinity')) AS s
    ORDER BY k.n, s.day"""
)
# The newest row on each of three days or before it, looked up only where it is not that of a later one of them.
_CLOSE = """SELECT s.day, s.amount_minor FROM goal_snapshots s
        WHERE s.tenant = k.tenant AND s.goal_id = k.goal_id AND s.day <= k.{}"""
_READ_CLOSES = Sql(
    f"""SELECT k.n, t.day, t.amount_minor, coalesce(m.day, t.day), coalesce(m.amount_minor, t.amount_minor),
        coalesce(b.day, m.day, t.day), coalesce(b.amount_minor, m.amount_minor, t.amount_minor)
    FROM unnest({driver.split("tenants")}, {driver.split("names")}, :throughs, :month_begins, :begins)
        WITH ORDINALITY AS k(tenant, goal_id, through, month_begin, begin, n)
    CROSS JOIN LATERAL ({_CLOSE.format("through")} ORDER BY s.day DESC LIMIT 1) AS t
    LEFT JOIN LATERAL (
        {_CLOSE.format("month_begin")} AND t.day > k.month_begin ORDER BY s.day DESC LIMIT 1) AS m ON true
    LEFT JOIN LATERAL (
        {_CLOSE.format("begin")} AND coalesce(m.day, t.day) > k.begin ORDER BY s.day DESC LIMIT 1) AS b ON true"""
)
_FIRST_DAY = Sql(
    """SELECT day FROM goal_snapshots
    WHERE tenant = :tenant AND goal_id = :goal_id AND day BETWEEN :first AND coalesce(:last, date 'infinity')
      AND :direction * amount_minor >= :direction * :threshold
    ORDER BY day LIMIT 1"""
)
_SNAPSHOT = {"tenant": driver.TEXT, "goal_id": driver.TEXT, "day": driver.DATE, "amount_minor": driver.INT8}
_CHANGE = Sql(
    """UPDATE goal_snapshots g SET amount_minor = s.amount_minor FROM staged_snapshots s
    WHERE (g.tenant, g.goal_id, g.day) = (s.tenant, s.goal_id, s.day) AND s.amount_minor IS NOT NULL"""
)
_DROP = Sql(
    """DELETE FROM goal_snapshots g USING staged_snapshots s
    WHERE (g.tenant, g.goal_id, g.day) = (s.tenant, s.goal_id, s.day) AND s.amount_minor IS NULL"""
)
_REWRITE = {
    "tenant": driver.TEXT,
    "goal_id": driver.TEXT,
    "rewritten_at": driver.TIMESTAMPTZ,
    "day": driver.DATE,
    "before_minor": driver.INT8,
}
# The time of a rewrite is as late in the transaction as possible, since readers see the old snapshots until the commit.
# It is always after every earlier rewrite of these goals, whatever the clocks say.
_REWRITTEN_AT = Sql(
    f"""SELECT greatest(CAST(:now AS timestamptz) + (clock_timestamp() - transaction_timestamp()),
        (SELECT max(last.rewritten_at) + interval '1 microsecond'
         FROM {driver.keys("tenants", "goals")} AS k(tenant, goal_id) CROSS JOIN LATERAL (
            SELECT r.rewritten_at FROM close_rewrites r WHERE r.tenant = k.tenant AND r.goal_id = k.goal_id
            ORDER BY r.rewritten_at DESC LIMIT 1) last))"""
)
# `undone` has for each day its first rewrite after the moment, which has the amount stored at the moment. A goal whose
# first day had no row at the moment was not closed at all then.
_AS_KNOWN = Sql(
    """WITH undone AS MATERIALIZED (
        SELECT DISTINCT ON (day) day, before_minor FROM close_rewrites
        WHERE tenant = :tenant AND goal_id = :goal_id AND rewritten_at > :at AND day <= :last
        ORDER BY day, rewritten_at),
    known AS MATERIALIZED (
        SELECT day, before_minor AS amount_minor FROM undone WHERE before_minor IS NOT NULL
        UNION ALL
        SELECT s.day, s.amount_minor FROM goal_snapshots s
        WHERE s.tenant = :tenant AND s.goal_id = :goal_id AND s.day <= :last
          AND NOT EXISTS (SELECT FROM undone WHERE undone.day = s.day))
    SELECT day, amount_minor FROM known
    WHERE day >= coalesce((SELECT max(day) FROM known WHERE day <= :first), :first)
      AND NOT EXISTS (SELECT FROM undone WHERE day = :start_date AND before_minor IS NULL)
    ORDER BY day"""
)
_KNOWN_THROUGH = Sql("SELECT max(day) FROM closed_days WHERE tenant = :tenant AND closed_at <= :at")


def read_account_days(
    session: Session, wanted: Mapping[AccountKey, DayRange], through: date, zone: ZoneInfo
) -> dict[AccountKey, AccountDays]:
    """How accounts moved on the wanted days, which are local days of `zone`.

    No range may end after `through`. In a range without an end, all facts after `through` are summed up under the day
    that follows it.
    """
    keys = sorted(wanted)
    if not keys:
        return {}
    first = min(days.first for days in wanted.values())
    starts = [day_start(first + n * _DAY, zone) for n in range((through - first).days + 2)]
    untils = [None if (last := wanted[key].last) is None else day_start(last + _DAY, zone) for key in keys]
    columns: dict[str, object] = {**driver.key_columns("names", keys), "starts": moments(starts)}
    columns |= {"sinces": moments([day_start(wanted[key].first, zone) for key in keys]), "untils": moments(untils)}
    days: list[list[tuple[date, int, int]]] = [[] for _ in keys]
    for n, bucket, worth, inflow in _READ_DAYS.rows(session, columns):
        days[n - 1].append((first + (bucket - 1) * _DAY, int(worth), int(inflow)))
    ending = [(key, until) for key, until in zip(keys, untils, strict=True) if until is not None]
    anchors: dict[AccountKey, int] = {}
    if ending:
        ends: dict[str, object] = {**driver.key_columns("names", [key for key, _ in ending])}
        ends |= {"untils": moments([at for _, at in ending])}
        anchors = {ending[n - 1][0]: int(worth) for n, worth in _READ_ANCHORS.rows(session, ends)}
    return {key: AccountDays(days[n], anchors.get(key)) for n, key in enumerate(keys)}


def read_movements(
    session: Session, spans: Sequence[tuple[AccountKey, datetime, datetime | None]]
) -> list[list[tuple[datetime, int, int]]]:
    """(moment, change of worth, inflow), in order, of an account in each span: from `since` on and before `until`."""
    found: list[list[tuple[datetime, int, int]]] = [[] for _ in spans]
    if spans:
        columns: dict[str, object] = {**driver.key_columns("names", [each[0] for each in spans])}
        columns |= {"sinces": moments([each[1] for each in spans]), "untils": moments([each[2] for each in spans])}
        for n, at, worth_minor, inflow_minor in _READ_MOVEMENTS.rows(session, columns):
            found[n - 1].append((at, worth_minor, inflow_minor))
    return found


def first_day_at(
    session: Session, key: GoalKey, threshold_minor: int, days: DayRange, *, direction: int
) -> date | None:
    """The first stored row in a range of days with an amount at or beyond a threshold; None if there is none."""
    parameters = {"first": days.first, "last": days.last, "threshold": threshold_minor, "direction": direction}
    found: date | None = _FIRST_DAY.value(session, parameters | {"tenant": key[0], "goal_id": key[1]})
    return found


def read_manual_amounts(session: Session, keys: Iterable[GoalKey]) -> dict[GoalKey, list[ManualAmount]]:
    """All manual amounts of goals, in order of time.

    The first of each goal is the amount given at creation, which is read from the first line of the ledger; for a debt
    that starts at its first balance it is that balance.
    """
    wanted = sorted(keys)
    manual: dict[GoalKey, list[ManualAmount]] = {}
    if wanted:
        for row in _READ_MANUAL.rows(session, driver.key_columns("goals", wanted)):
            manual.setdefault((row[0], row[1]), []).append(ManualAmount(row[2], row[3]))
    return manual


def read_stored_snapshots(session: Session, wanted: Sequence[tuple[GoalKey, DayRange]]) -> list[StoredSnapshots]:
    """The stored snapshots in each (goal, range), in the order of `wanted`."""
    if not wanted:
        return []
    ranges = [days for _, days in wanted]
    columns: dict[str, object] = {**driver.key_columns("names", [key for key, _ in wanted])}
    columns |= {"firsts": dates([each.first for each in ranges]), "lasts": dates([each.last for each in ranges])}
    before: dict[int, int] = {}
    rows: list[dict[date, int]] = [{} for _ in wanted]
    for n, day, amount in _READ_STORED.rows(session, columns):
        if day < ranges[n - 1].first:
            before[n - 1] = amount
        else:
            rows[n - 1][day] = amount
    return [StoredSnapshots(before.get(n), found) for n, found in enumerate(rows)]


def read_closes(session: Session, wanted: Sequence[tuple[GoalKey, PaceDays]]) -> list[Closes | None]:
    """The stored closes of goals on the days that say their paces, in the order of `wanted`.

    None for a goal that was not closed yet on the first of them.
    """
    closes: list[Closes | None] = [None] * len(wanted)
    if wanted:
        days = [each for _, each in wanted]
        columns: dict[str, object] = {**driver.key_columns("names", [key for key, _ in wanted])}
        columns |= {"throughs": dates([each.through for each in days])}
        columns |= {"month_begins": dates([each.month_begin for each in days])}
        columns |= {"begins": dates([each.begin for each in days])}
        for n, *found in _READ_CLOSES.rows(session, columns):
            begin = Close(*found[4:])
            if begin.since <= days[n - 1].begin:
                closes[n - 1] = Closes(Close(*found[:2]), Close(*found[2:4]), begin)
    return closes


def write_snapshots(
    session: Session, new: Sequence[tuple[GoalKey, date, int]], changed: Sequence[tuple[GoalKey, date, int | None]]
) -> None:
    """Add rows of locked goals, and change those that are stored; None deletes a row."""
    if new:
        driver.copy_rows(session, "goal_snapshots", _SNAPSHOT, ((*key, day, amount) for key, day, amount in new))
    if changed:
        driver.stage(session, "staged_snapshots", _SNAPSHOT, ((*key, day, amount) for key, day, amount in changed))
        _CHANGE.run(session, {})
        if any(amount is None for _, _, amount in changed):
            _DROP.run(session, {})


def note_rewrites(session: Session, before: SnapshotsBefore, now: datetime) -> None:
    """Record what snapshots of locked goals were before this transaction rewrote them.

    `now` is the time at which the transaction began. Call it when the snapshots are written, as late as possible.
    """
    if before:
        goals = sorted({row[:2] for row in before})
        at = _REWRITTEN_AT.value(session, driver.key_columns("goals", goals) | {"now": now})
        rows = ((tenant, goal_id, at, day, before[tenant, goal_id, day]) for tenant, goal_id, day in sorted(before))
        driver.copy_rows(session, "close_rewrites", _REWRITE, rows)


def known_through(session: Session, tenant: str, at: datetime) -> date | None:
    """The last day that was closed for a tenant at a moment; None if no day was."""
    found: date | None = _KNOWN_THROUGH.value(session, {"tenant": tenant, "at": at})
    return found


def read_snapshots_as_known(session: Session, goal: GoalRow, days: DayRange, at: datetime) -> Snapshots:
    """The snapshots of a range as they were stored at a moment, without the days that equal the day before.

    The first one has the amount of the range's first day. All days of the range must have been closed at the moment.
    Empty for a goal that was not closed yet.
    """
    parameters = {"first": days.first, "last": days.last, "start_date": goal.start_date, "at": at}
    rows = _AS_KNOWN.rows(session, parameters | {"tenant": goal.tenant, "goal_id": goal.goal_id})
    return [(max(day, days.first), amount) for day, amount in rows]
