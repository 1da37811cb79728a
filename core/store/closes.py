"""Rows of closes and what they are computed from: the days of accounts, what was typed, and the sparse snapshots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.goals.closes import Typed
from core.store import bulk
from core.store.accounts import AccountKey
from core.store.goals import GoalKey

# (day, amount in minor units), in order of day; a day without one has the amount of the last one before it.
Closes = list[tuple[date, int]]


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
    f"unnest({bulk.split('tenants')}, {bulk.split('names')}, CAST(:firsts AS date[]), CAST(:lasts AS date[]))"
    " WITH ORDINALITY"
)
_READ_DAYS = text(
    f"""SELECT k.n, d.day, d.moved_minor + d.residual_minor, d.inflow_minor
    FROM {_RANGES} AS k(tenant, account_id, first, last, n)
    JOIN account_days d ON d.tenant = k.tenant AND d.account_id = k.account_id
        AND d.day BETWEEN k.first AND coalesce(k.last, 'infinity')
    ORDER BY k.n, d.day"""
)
# The worth at the close of a day: what the last report told and what came after it, or the present worth without what
# came later.
_READ_ANCHORS = text(
    """SELECT k.n, CASE WHEN r.as_of IS NULL THEN
        a.worth_minor - (SELECT coalesce(sum(d.moved_minor + d.residual_minor), 0) FROM account_days d
            WHERE d.tenant = k.tenant AND d.account_id = k.account_id AND d.day > k.last)
        ELSE CASE a.kind WHEN 'liability' THEN -1 ELSE 1 END * r.current_minor
            + (SELECT coalesce(sum(t.amount_minor), 0) FROM transactions t
               WHERE t.tenant = k.tenant AND t.account_id = k.account_id AND t.counts
                 AND t.posted_at > r.as_of AND t.posted_at < k.closed_at) END
    FROM unnest(string_to_array(:tenants, chr(31)), string_to_array(:names, chr(31)),
        CAST(:lasts AS date[]), CAST(:moments AS timestamptz[])) WITH ORDINALITY
        AS k(tenant, account_id, last, closed_at, n)
    JOIN accounts a ON a.tenant = k.tenant AND a.account_id = k.account_id
    LEFT JOIN LATERAL (
        SELECT r.as_of, r.current_minor FROM reports r
        WHERE r.tenant = k.tenant AND r.account_id = k.account_id AND r.as_of < k.closed_at
        ORDER BY r.as_of DESC LIMIT 1) r ON true"""
)
_READ_TYPED = text(
    f"""SELECT k.tenant, k.goal_id, CAST(NULL AS timestamptz) AS typed_at, e.after_minor
    FROM {bulk.keys("tenants", "goals")} AS k(tenant, goal_id)
    JOIN goal_entries e ON e.tenant = k.tenant AND e.goal_id = k.goal_id AND e.entry = 1
    UNION ALL
    SELECT k.tenant, k.goal_id, t.typed_at, t.amount_minor
    FROM {bulk.keys("tenants", "goals")} AS k(tenant, goal_id)
    JOIN typed_amounts t ON t.tenant = k.tenant AND t.goal_id = k.goal_id
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
_CLOSE = {"tenant": bulk.TEXT, "goal_id": bulk.TEXT, "day": bulk.DATE, "amount_minor": bulk.INT8}
_ALTER = text(
    """UPDATE goal_snapshots g SET amount_minor = s.amount_minor FROM staged_closes s
    WHERE (g.tenant, g.goal_id, g.day) = (s.tenant, s.goal_id, s.day) AND s.amount_minor IS NOT NULL"""
)
_DROP = text(
    """DELETE FROM goal_snapshots g USING staged_closes s
    WHERE (g.tenant, g.goal_id, g.day) = (s.tenant, s.goal_id, s.day) AND s.amount_minor IS NULL"""
)
_DROP_FORECASTS = text(
    f"""DELETE FROM forecasts f USING {bulk.keys("tenants", "goals")} AS k(tenant, goal_id)
    WHERE f.tenant = k.tenant AND f.goal_id = k.goal_id"""
)


def read_account_days(
    session: Session, wanted: Mapping[AccountKey, DayRange], closed_at: Mapping[AccountKey, datetime]
) -> dict[AccountKey, AccountDays]:
    """What accounts moved on the days asked for; `closed_at` is the close of the last day, where there is one."""
    keys = sorted(wanted)
    if not keys:
        return {}
    days: list[list[tuple[date, int, int]]] = [[] for _ in keys]
    for n, day, worth, inflow in session.execute(_READ_DAYS, _ranges([(key, wanted[key]) for key in keys])).all():
        days[n - 1].append((day, worth, inflow))
    bounded = [key for key in keys if key in closed_at]
    anchors: dict[AccountKey, int] = {}
    if bounded:
        moments = {"moments": [closed_at[key] for key in bounded]}
        rows = session.execute(_READ_ANCHORS, _ranges([(key, wanted[key]) for key in bounded]) | moments).all()
        anchors = {bounded[n - 1]: int(worth) for n, worth in rows}
    return {key: AccountDays(days[n], anchors.get(key)) for n, key in enumerate(keys)}


def read_typed(session: Session, keys: Iterable[GoalKey]) -> dict[GoalKey, list[Typed]]:
    """All that was typed for goals, in order of time, after the amount given at creation, which opens the ledger."""
    wanted = sorted(keys)
    typed: dict[GoalKey, list[Typed]] = {}
    if wanted:
        for row in session.execute(_READ_TYPED, bulk.key_columns("goals", wanted)).all():
            typed.setdefault((row[0], row[1]), []).append(Typed(row[2], row[3]))
    return typed


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
        bulk.copy_rows(session, "goal_snapshots", _CLOSE, ((*key, day, amount) for key, day, amount in new))
    if altered:
        bulk.stage(session, "staged_closes", _CLOSE, ((*key, day, amount) for key, day, amount in altered))
        session.execute(_ALTER)
        session.execute(_DROP)


def drop_forecasts(session: Session, keys: Iterable[GoalKey]) -> None:
    """Forget what was projected from closes that are others now."""
    wanted = sorted(set(keys))
    if wanted:
        session.execute(_DROP_FORECASTS, bulk.key_columns("goals", wanted))


def _ranges(wanted: Sequence[tuple[tuple[str, str], DayRange]]) -> dict[str, object]:
    return {
        "tenants": bulk.joined(key[0] for key, _ in wanted),
        "names": bulk.joined(key[1] for key, _ in wanted),
        "firsts": [days.first for _, days in wanted],
        "lasts": [days.last for _, days in wanted],
    }
