"""Rows of job runs: which job has done which period of which tenant's chunk, when, and with what result."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class JobRun:
    """One finished run; `period` is the day it was for, `result` a JSON text."""

    tenant: str
    job: str
    period: str
    chunk: int
    started_at: datetime
    finished_at: datetime
    result: str


_COLUMNS = "tenant, job, period, chunk, started_at, finished_at, result"
_CLAIM = text(
    f"""INSERT INTO job_runs ({_COLUMNS})
    VALUES (:tenant, :job, :period, :chunk, :started_at, :finished_at, :result)
    ON CONFLICT (tenant, job, period, chunk) DO NOTHING RETURNING chunk"""
)
_NOTE = text(
    f"""INSERT INTO job_runs AS noted ({_COLUMNS})
    VALUES (:tenant, :job, :period, :chunk, :started_at, :finished_at, :result)
    ON CONFLICT (tenant, job, period, chunk) DO UPDATE SET
        started_at = EXCLUDED.started_at, finished_at = EXCLUDED.finished_at, result = EXCLUDED.result
    WHERE noted.finished_at IS NULL OR noted.finished_at <= EXCLUDED.finished_at"""
)
_COUNT = text("SELECT count(*) FROM job_runs WHERE tenant = :tenant AND job = :job AND period = :period")
_LAST = text(
    f"""SELECT DISTINCT ON (job) {_COLUMNS} FROM job_runs WHERE tenant = :tenant AND finished_at IS NOT NULL
    ORDER BY job, finished_at DESC"""
)
_FORGET = text(
    """DELETE FROM job_runs WHERE (tenant, job, period, chunk) IN (
        SELECT tenant, job, period, chunk FROM job_runs o
        WHERE finished_at < :before AND EXISTS (
            SELECT FROM job_runs n WHERE n.tenant = o.tenant AND n.job = o.job AND n.finished_at > o.finished_at)
        LIMIT :most FOR UPDATE OF o SKIP LOCKED)"""
)


def claim_run(session: Session, run: JobRun) -> bool:
    """Note a run in the transaction of its work; False if the same was noted before, by whomever."""
    return session.execute(_CLAIM, asdict(run)).first() is not None


def note_run(session: Session, run: JobRun) -> None:
    """Note a run that is done again, in place of what was noted of it, unless that finished later."""
    session.execute(_NOTE, asdict(run))


def count_runs(session: Session, tenant: str, job: str, period: str) -> int:
    """How many chunks of a period are done."""
    parameters = {"tenant": tenant, "job": job, "period": period}
    return int(session.execute(_COUNT, parameters).scalar_one())


def last_runs(session: Session, tenant: str) -> list[JobRun]:
    """The latest finished run of each job of a tenant, by job."""
    return [JobRun(*row) for row in session.execute(_LAST, {"tenant": tenant}).all()]


def forget_runs(session: Session, before: datetime, most: int = 10_000) -> int:
    """Drop at most `most` runs that finished before a moment, but for the last of each job of a tenant; how many.

    For the retain stage, which calls it until it drops none.
    """
    return session.execute(_FORGET, {"before": before, "most": most}).rowcount  # type: ignore[attr-defined, no-any-return]
