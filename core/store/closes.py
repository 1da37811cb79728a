"""Rows of closes and what they are computed from: what accounts moved, what was typed, and the sparse snapshots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.events.calendar import day_start
from core.goals.amounts import ManualAmount
from core.store import driver
from core.store.accounts import AccountKey
from core.store.driver import moments
from core.store.goals import GoalKey, GoalRow

# (day, amount in minor units), in order of day; a day without one has the amount of the last one before it.
Closes = list[tuple[date, int]]

_DAY = timedelta(days=1)
# (tenant, goal id, day), and the amount that stood there; None where the day had no row of its own.
ClosesBefore = Mapping[tuple[str, str, date], int | None]


@dataclass(frozen=True, slots=True)
class DayRange:
    """Days that are asked for, both included; `last` is None for all there are, future ones too."""

    first: date
    last: date | None


@dataclass(frozen=True, slots=True)
class AccountDays:
    """(day, worth moved, inflow) of the days that moved, in order, and the worth at the close of the last one asked.

    `anchor_minor` is None where the days reach to the present: then the account's own row says the worth.
    """

    days: list[tuple[date, int, int]]
    anchor_minor: int | None


@dataclass(frozen=True, slots=True)
class StoredCloses:
    """The close that stands just before a range, and the rows in it."""

    before_minor: int | None
    rows: dict[date, int]


# Two columns of text and a range of days, each row with its number.
_RANGES = (
    f"unnest({driver.split('tenants')}, {driver.split('names')}, CAST(:firsts AS date[]), CAST(:lasts AS date[]))"
    " WITH ORDINALITY"
)
# Facts have moments, and where a day begins is known in Python alone: each falls into the day whose start is the last
# before it. OFFSET 0 lets nobody join in another way than by key, whatever is known of the tables.
_READ_DAYS = text(
    f"""SELECT k.n, width_bucket(f.at, :starts), sum(f.worth_minor), sum(f.inflow_minor)
    FROM unnest({driver.split("tenants")}, {driver.split("names")}, :sinces, :untils)
        WITH ORDINALITY AS k(tenant, account_id, since, until, n)
    CROSS JOIN LATERAL (
        SELECT t.posted_at AS at, t.amount_minor AS worth_minor, greatest(t.amount_minor, 0) AS inflow_minor
        FROM transactions t
        WHERE t.tenant = k.tenant AND t.account_id = k.account_id AND t.counts
          AND t.posted_at >= k.since AND t.posted_at < coalesce(k.until, 'infinity')
        UNION ALL
        SELECT r.as_of, r.residual_minor, 0 FROM reports r
        WHERE r.tenant = k.tenant AND r.account_id = k.account_id AND r.residual_minor <> 0
          AND r.as_of >= k.since AND r.as_of < coalesce(k.until, 'infinity')
        OFFSET 0) AS f
    GROUP BY 1, 2 HAVING sum(f.worth_minor) <> 0 OR sum(f.inflow_minor) <> 0
    ORDER BY 1, 2"""
)
# The worth at a close: what the last report before it told and what came after that; before the first report, what that
# told without what came up to it; without any, the present worth without what came later. A report stands behind the
# transactions of its own moment.
_READ_ANCHORS = text(
    f"""SELECT k.n, CASE
        WHEN before.as_of IS NOT NULL THEN s.sign * before.current_minor
            + (SELECT coalesce(sum(t.amount_minor), 0) FROM transactions t
               WHERE t.tenant = k.tenant AND t.account_id = k.account_id AND t.counts
                 AND t.posted_at > before.as_of AND t.posted_at < k.until)
        ELSE coalesce(s.sign * first.current_minor, a.worth_minor)
            - (SELECT coalesce(sum(t.amount_minor), 0) FROM transactions t
               WHERE t.tenant = k.tenant AND t.account_id = k.account_id AND t.counts
                 AND t.posted_at >= k.until AND t.posted_at <= coalesce(first.as_of, 'infinity')) END
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
_READ_MANUAL = text(
    f"""SELECT k.tenant, k.goal_id, CAST(NULL AS timestamptz) AS manual_at, e.after_minor
    FROM {driver.keys("tenants", "goals")} AS k(tenant, goal_id)
    JOIN goal_entries e ON e.tenant = k.tenant AND e.goal_id = k.goal_id AND e.entry = 1
    UNION ALL
    SELECT k.tenant, k.goal_id, t.manual_at, t.amount_minor
    FROM {driver.keys("tenants", "goals")} AS k(tenant, goal_id)
    JOIN manual_amounts t ON t.tenant = k.tenant AND t.goal_id = k.goal_id
    ORDER BY 1, 2, 3 NULLS FIRST"""
)
_READ_BEFORE = text(
    f"""SELECT k.n, b.amount_minor
    FROM {_RANGES} AS k(tenant, goal_id, first, last, n)
    JOIN LATERAL (
        SELECT s.amount_minor FROM goal_snapshots s
        WHERE s.tenant = k.tenant AND s.goal_id = k.goal_id AND s.day < k.first
        ORDER BY s.day DESC LIMIT 1) b ON true"""
)
_READ_ROWS = text(
    f"""SELECT k.n, s.day, s.amount_minor
    FROM {_RANGES} AS k(tenant, goal_id, first, last, n)
    JOIN goal_snapshots s ON s.tenant = k.tenant AND s.goal_id = k.goal_id
        AND s.day BETWEEN k.first AND coalesce(k.last, 'infinity')
    ORDER BY k.n, s.day"""
)
_CLOSE = {"tenant": driver.TEXT, "goal_id": driver.TEXT, "day": driver.DATE, "amount_minor": driver.INT8}
_ALTER = text(
    """UPDATE goal_snapshots g SET amount_minor = s.amount_minor FROM staged_closes s
    WHERE (g.tenant, g.goal_id, g.day) = (s.tenant, s.goal_id, s.day) AND s.amount_minor IS NOT NULL"""
)
_DROP = text(
    """DELETE FROM goal_snapshots g USING staged_closes s
    WHERE (g.tenant, g.goal_id, g.day) = (s.tenant, s.goal_id, s.day) AND s.amount_minor IS NULL"""
)
_DROP_FORECASTS = text(
    f"""DELETE FROM forecasts f USING {driver.keys("tenants", "goals")} AS k(tenant, goal_id)
    WHERE f.tenant = k.tenant AND f.goal_id = k.goal_id"""
)
_REWRITE = {
    "tenant": driver.TEXT,
    "goal_id": driver.TEXT,
    "rewritten_at": driver.TIMESTAMPTZ,
    "day": driver.DATE,
    "before_minor": driver.INT8,
}
# As late as can be, since readers see the old closes until the commit, and behind every rewriting of these goals
# before, whatever clocks say.
_REWRITTEN_AT = text(
    f"""SELECT greatest(CAST(:now AS timestamptz) + (clock_timestamp() - transaction_timestamp()),
        (SELECT max(last.rewritten_at) + interval '1 microsecond'
         FROM {driver.keys("tenants", "goals")} AS k(tenant, goal_id) CROSS JOIN LATERAL (
            SELECT r.rewritten_at FROM close_rewrites r WHERE r.tenant = k.tenant AND r.goal_id = k.goal_id
            ORDER BY r.rewritten_at DESC LIMIT 1) last))"""
)
# Undone: of each day the first rewriting after the moment, which tells what stood there then. A goal whose first day
# had no row then was not closed at all.
_AS_KNOWN = text(
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
_KNOWN_THROUGH = text("SELECT max(day) FROM closed_days WHERE tenant = :tenant AND closed_at <= :at")


def read_account_days(
    session: Session, wanted: Mapping[AccountKey, DayRange], through: date, zone: ZoneInfo
) -> dict[AccountKey, AccountDays]:
    """What accounts moved on the days asked for, which are those of the time zone.

    No range ends after `through`, and of what comes later the day is not told: all of it is given as the day after.
    """
    keys = sorted(wanted)
    if not keys:
        return {}
    first = min(days.first for days in wanted.values())
    starts = [day_start(first + n * _DAY, zone) for n in range((through - first).days + 2)]
    untils = [None if (last := wanted[key].last) is None else day_start(last + _DAY, zone) for key in keys]
    ranges = {
        "sinces": moments([day_start(wanted[key].first, zone) for key in keys]),
        "untils": moments(untils),
        "starts": moments(starts),
    }
    days: list[list[tuple[date, int, int]]] = [[] for _ in keys]
    for n, bucket, worth, inflow in session.execute(_READ_DAYS, driver.key_columns("names", keys) | ranges).all():
        days[n - 1].append((first + (bucket - 1) * _DAY, int(worth), int(inflow)))
    ending = [(key, until) for key, until in zip(keys, untils, strict=True) if until is not None]
    anchors: dict[AccountKey, int] = {}
    if ending:
        asked = driver.key_columns("names", [key for key, _ in ending]) | {"untils": moments([at for _, at in ending])}
        anchors = {ending[n - 1][0]: int(worth) for n, worth in session.execute(_READ_ANCHORS, asked).all()}
    return {key: AccountDays(days[n], anchors.get(key)) for n, key in enumerate(keys)}


def read_manual_amounts(session: Session, keys: Iterable[GoalKey]) -> dict[GoalKey, list[ManualAmount]]:
    """All that was typed for goals, in order of time, after the amount given at creation, which opens the ledger."""
    wanted = sorted(keys)
    manual: dict[GoalKey, list[ManualAmount]] = {}
    if wanted:
        for row in session.execute(_READ_MANUAL, driver.key_columns("goals", wanted)).all():
            manual.setdefault((row[0], row[1]), []).append(ManualAmount(row[2], row[3]))
    return manual


def read_closes(session: Session, wanted: Sequence[tuple[GoalKey, DayRange]]) -> list[StoredCloses]:
    """The stored closes of each range of a goal, in the order asked."""
    if not wanted:
        return []
    parameters = _ranges(wanted)
    before = {row[0]: row[1] for row in session.execute(_READ_BEFORE, parameters).all()}
    rows: list[dict[date, int]] = [{} for _ in wanted]
    for n, day, amount in session.execute(_READ_ROWS, parameters).all():
        rows[n - 1][day] = amount
    return [StoredCloses(before.get(n + 1), found) for n, found in enumerate(rows)]


def write_closes(
    session: Session,
    new: Sequence[tuple[GoalKey, date, int]],
    altered: Sequence[tuple[GoalKey, date, int | None]],
) -> None:
    """Add rows of locked goals, and alter those that are there; None drops a row."""
    if new:
        driver.copy_rows(session, "goal_snapshots", _CLOSE, ((*key, day, amount) for key, day, amount in new))
    if altered:
        driver.stage(session, "staged_closes", _CLOSE, ((*key, day, amount) for key, day, amount in altered))
        session.execute(_ALTER)
        session.execute(_DROP)


def drop_forecasts(session: Session, keys: Iterable[GoalKey]) -> None:
    """Forget what was projected from closes that are others now."""
    wanted = sorted(set(keys))
    if wanted:
        session.execute(_DROP_FORECASTS, driver.key_columns("goals", wanted))


def note_rewrites(session: Session, before: ClosesBefore, now: datetime) -> None:
    """Note what closes of locked goals were before this transaction wrote them anew.

    `now` is the time at which the transaction began. To be called when the closes are written, as late as can be.
    """
    if before:
        goals = sorted({row[:2] for row in before})
        at = session.execute(_REWRITTEN_AT, driver.key_columns("goals", goals) | {"now": now}).scalar_one()
        rows = ((tenant, goal_id, at, day, before[tenant, goal_id, day]) for tenant, goal_id, day in sorted(before))
        driver.copy_rows(session, "close_rewrites", _REWRITE, rows)


def known_through(session: Session, tenant: str, at: datetime) -> date | None:
    """The last day that was closed for a tenant at a moment; None if none was."""
    found: date | None = session.execute(_KNOWN_THROUGH, {"tenant": tenant, "at": at}).scalar_one()
    return found


def read_closes_as_known(session: Session, goal: GoalRow, days: DayRange, at: datetime) -> Closes:
    """The sparse closes of a range as they stood at a moment, the first of them that which stood at its beginning.

    The days must all have been closed then. Empty for a goal that was not closed yet.
    """
    asked = {"first": days.first, "last": days.last, "start_date": goal.start_date, "at": at}
    rows = session.execute(_AS_KNOWN, asked | {"tenant": goal.tenant, "goal_id": goal.goal_id}).all()
    return [(max(day, days.first), amount) for day, amount in rows]


def _ranges(wanted: Sequence[tuple[tuple[str, str], DayRange]]) -> dict[str, object]:
    return {
        "tenants": driver.joined(key[0] for key, _ in wanted),
        "names": driver.joined(key[1] for key, _ in wanted),
        "firsts": [days.first for _, days in wanted],
        "lasts": [days.last for _, days in wanted],
    }
