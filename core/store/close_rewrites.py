"""Rows of what closes were before they were written anew, and the closes of a past moment, read back from them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.store import bulk
from core.store.closes import Closes, DayRange
from core.store.goals import GoalRow

# (tenant, goal id, day), and the amount that stood there; None where the day had no row of its own.
ClosesBefore = Mapping[tuple[str, str, date], int | None]

_ROW = {
    "tenant": bulk.TEXT,
    "goal_id": bulk.TEXT,
    "rewritten_at": bulk.TIMESTAMPTZ,
    "day": bulk.DATE,
    "before_minor": bulk.INT8,
}
# As late as can be, since readers see the old closes until the commit, and behind every rewriting of these goals
# before, whatever clocks say.
_MOMENT = text(
    f"""SELECT greatest(CAST(:now AS timestamptz) + (clock_timestamp() - transaction_timestamp()),
        (SELECT max(last.rewritten_at) + interval '1 microsecond'
         FROM {bulk.keys("tenants", "goals")} AS k(tenant, goal_id) CROSS JOIN LATERAL (
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
_RECORDED_FROM = text("SELECT closes_recorded_from FROM tenants WHERE tenant = :tenant")


def note_rewrites(session: Session, before: ClosesBefore, now: datetime) -> None:
    """Note what closes of locked goals were before this transaction wrote them anew.

    `now` is the time at which the transaction began. To be called when the closes are written, as late as can be.
    """
    if before:
        goals = sorted({row[:2] for row in before})
        at = session.execute(_MOMENT, bulk.key_columns("goals", goals) | {"now": now}).scalar_one()
        rows = ((tenant, goal_id, at, day, before[tenant, goal_id, day]) for tenant, goal_id, day in sorted(before))
        bulk.copy_rows(session, "close_rewrites", _ROW, rows)


def recorded_from(session: Session, tenant: str) -> datetime | None:
    """Since when all rewritings of a tenant's closes are noted; None: since its first close."""
    found: datetime | None = session.execute(_RECORDED_FROM, {"tenant": tenant}).scalar_one()
    return found


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
