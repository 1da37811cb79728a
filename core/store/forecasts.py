"""Rows of forecasts: what the closes of goals say of their pace, as the job project has computed it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from core.goals.projection import Pace
from core.store import driver
from core.store.days import CHUNKS
from core.store.driver import Row, Session, Sql
from core.store.goals import GoalKey

JOB = "project"
"""The job that stores the paces, as its runs name it."""


@dataclass(frozen=True, slots=True)
class ForecastRow:
    """A goal's pace as stored, and when it was computed."""

    tenant: str
    goal_id: str
    pace: Pace
    projected_at: datetime


_COLUMNS = {
    "tenant": driver.TEXT,
    "goal_id": driver.TEXT,
    "through_day": driver.DATE,
    "trend_minor": driver.INT8,
    "trend_days": driver.INT4,
    "contributed_minor": driver.INT8,
    "contribution_months": driver.INT4,
    "projected_at": driver.TIMESTAMPTZ,
}
STORED = "f.through_day, f.trend_minor, f.trend_days, f.contributed_minor, f.contribution_months, f.projected_at"
"""SQL for what `forecast_of` reads, of a row `f`."""
IS_USED = "f.through_day >= t.closed_through - 1"
"""SQL: whether a row `f` is used, of a tenant `t`. Those of the last closed day but one are, until the night's run has
replaced them. An older row is of a goal that rested, or of a time without runs.
"""
# A goal that was deleted meanwhile must leave no forecast behind, so the same statement finds and locks the goal's row.
_WRITE = Sql(
    f"""WITH present AS (
        SELECT s.* FROM goals g JOIN staged_forecasts s USING (tenant, goal_id)
        ORDER BY s.tenant, s.goal_id FOR KEY SHARE OF g)
    INSERT INTO forecasts ({", ".join(_COLUMNS)}) SELECT {", ".join(_COLUMNS)} FROM present
    ON CONFLICT (tenant, goal_id) DO UPDATE SET
        {", ".join(f"{c} = EXCLUDED.{c}" for c in list(_COLUMNS)[2:])}
    WHERE forecasts.through_day <= EXCLUDED.through_day"""
)
_DROP = Sql(
    f"""WITH changed AS (SELECT tenant, goal_id FROM {driver.keys("tenants", "goals")} AS k(tenant, goal_id)),
    dropped AS (
        DELETE FROM forecasts f USING changed k WHERE f.tenant = k.tenant AND f.goal_id = k.goal_id),
    done AS (
        SELECT tenant, job, period, chunk FROM job_runs WHERE job = '{JOB}' AND period = :period
          AND (tenant, chunk) IN (SELECT tenant, hashtext(goal_id) & :mask FROM changed)
        ORDER BY tenant, chunk FOR UPDATE)
    DELETE FROM job_runs r USING done d
    WHERE r.tenant = d.tenant AND r.job = d.job AND r.period = d.period AND r.chunk = d.chunk"""
)
_ACTIVE = Sql(
    """SELECT g.goal_id FROM goals g WHERE g.tenant = :tenant AND g.status = 'active' AND g.goal_id > :after
      AND (hashtext(g.goal_id) & :mask) = :chunk
      AND (:again OR NOT EXISTS (SELECT 1 FROM forecasts f WHERE f.tenant = g.tenant AND f.goal_id = g.goal_id
          AND f.through_day = :through))
    ORDER BY g.goal_id LIMIT :limit"""
)


def forecast_of(key: GoalKey, row: Row) -> ForecastRow | None:
    """The pace of a goal in a row of STORED; None if it is empty."""
    return None if row[0] is None else ForecastRow(*key, Pace(*row[:5]), row[5])


def write_forecasts(session: Session, rows: Sequence[ForecastRow]) -> None:
    """Store paces; each replaces one of the same or an earlier day."""
    if rows:
        driver.stage(session, "staged_forecasts", _COLUMNS, map(_values, rows))
        _WRITE.run(session, {})


def drop_forecasts(session: Session, keys: Iterable[GoalKey], *, due_again: date | None) -> None:
    """Delete the paces of goals whose snapshots have changed.

    The next run of the job stores those up to the day `due_again`; with None only its run for a later day does.
    """
    wanted = sorted(set(keys))
    if wanted:
        period = None if due_again is None else due_again.isoformat()
        _DROP.run(session, driver.key_columns("goals", wanted) | {"mask": CHUNKS - 1, "period": period})


def active_goals(
    session: Session, tenant: str, chunk: int, through: date, *, again: bool, after: str, limit: int
) -> list[str]:
    """Ids of a chunk's active goals in order, starting after `after`.

    Goals whose pace up to the day `through` is stored are left out, unless `again` is given.
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


def _values(row: ForecastRow) -> tuple[object, ...]:
    pace = row.pace
    moved = pace.trend_minor, pace.trend_days, pace.contributed_minor, pace.contribution_months
    return row.tenant, row.goal_id, pace.through, *moved, row.projected_at
