"""Rows of forecasts: the stored projections of goals, and what they were computed from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from core.store import driver
from core.store.days import CHUNKS
from core.store.driver import Session, Sql
from core.store.goals import GoalKey


@dataclass(frozen=True, slots=True)
class ForecastRow:
    """A projection as stored. It is valid for the goal at `goal_version` while `through_day` is the last closed day."""

    tenant: str
    goal_id: str
    through_day: date | None
    goal_version: int | None
    projected_completion_at: datetime | None
    projection_note: str | None
    monthly_minor: int | None


_COLUMNS = {
    "tenant": driver.TEXT,
    "goal_id": driver.TEXT,
    "through_day": driver.DATE,
    "goal_version": driver.INT8,
    "projected_completion_at": driver.TIMESTAMPTZ,
    "projection_note": driver.TEXT,
    "monthly_minor": driver.INT8,
}
_READ = Sql(
    f"SELECT {', '.join(f'f.{c}' for c in _COLUMNS)} FROM forecasts f WHERE f.tenant = :tenant AND f.goal_id = :goal_id"
)
# A goal that was deleted meanwhile must leave no forecast behind, so the same statement finds and locks the goal's row.
_WRITE = Sql(
    f"""WITH present AS (
        SELECT s.* FROM goals g JOIN staged_forecasts s USING (tenant, goal_id)
        ORDER BY s.tenant, s.goal_id FOR KEY SHARE OF g)
    INSERT INTO forecasts ({", ".join(_COLUMNS)}) SELECT {", ".join(_COLUMNS)} FROM present
    ON CONFLICT (tenant, goal_id) DO UPDATE SET
        {", ".join(f"{c} = EXCLUDED.{c}" for c in list(_COLUMNS)[2:])}
    WHERE forecasts.through_day IS NULL OR forecasts.through_day <= EXCLUDED.through_day"""
)
_DROP = Sql(
    f"""DELETE FROM forecasts f USING {driver.keys("tenants", "goals")} AS k(tenant, goal_id)
    WHERE f.tenant = k.tenant AND f.goal_id = k.goal_id"""
)
_ACTIVE = Sql(
    """SELECT g.goal_id FROM goals g WHERE g.tenant = :tenant AND g.status = 'active' AND g.goal_id > :after
      AND (hashtext(g.goal_id) & :mask) = :chunk
      AND (:again OR NOT EXISTS (SELECT 1 FROM forecasts f WHERE f.tenant = g.tenant AND f.goal_id = g.goal_id
          AND f.through_day = :through AND f.goal_version = g.version))
    ORDER BY g.goal_id LIMIT :limit"""
)


def read_forecast(session: Session, key: GoalKey) -> ForecastRow | None:
    """The stored projection of a goal, still valid or not."""
    row = _READ.first(session, {"tenant": key[0], "goal_id": key[1]})
    return None if row is None else ForecastRow(*row)


def write_forecasts(session: Session, rows: Sequence[ForecastRow]) -> None:
    """Store projections; each replaces one of the same or an earlier day."""
    if rows:
        values = (tuple(getattr(row, column) for column in _COLUMNS) for row in rows)
        driver.stage(session, "staged_forecasts", _COLUMNS, values)
        _WRITE.run(session, {})


def drop_forecasts(session: Session, keys: Iterable[GoalKey]) -> None:
    """Delete the projections of goals whose snapshots have changed."""
    wanted = sorted(set(keys))
    if wanted:
        _DROP.run(session, driver.key_columns("goals", wanted))


def active_goals(
    session: Session, tenant: str, chunk: int, through: date, *, again: bool, after: str, limit: int
) -> list[str]:
    """Ids of a chunk's active goals in order, starting after `after`.

    Goals with a valid projection from the day `through` are left out, unless `again` is given.
    """
    parameters = {
        "tenant": tenant,
        "chunk": chunk,
        "mask": CHUNKS - 1,
        "through": through,
        "again": again,
        "after": after,
        "limit": limit,
    }
    return [row[0] for row in _ACTIVE.rows(session, parameters)]
