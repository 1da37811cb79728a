"""What a migration makes of a database that has rows already."""

from __future__ import annotations

from alembic import command
from sqlalchemy import Engine, text

from core.jobs.project import due_projections
from core.store.database import Sessions
from core.store.days import CHUNKS
from core.store.forecasts import JOB
from core.store.migrate import _config, migrate

ROWS = f"""
    INSERT INTO tenants (tenant, time_zone, created_at, closed_through) VALUES
        ('default', 'UTC', '2026-01-01', '2026-03-09'), ('other', 'UTC', '2026-01-01', NULL);
    INSERT INTO forecasts (tenant, goal_id, through_day, goal_version, monthly_minor) VALUES
        ('default', 'goal_1', '2026-03-09', 7, 30437);
    INSERT INTO job_runs (tenant, job, period, chunk, started_at, finished_at, result)
        SELECT 'default', job, period, chunk, now(), now(), ''
        FROM unnest(ARRAY['{JOB}', 'snapshot']) AS job, unnest(ARRAY['2026-03-08', '2026-03-09']) AS period,
            generate_series(0, {CHUNKS - 1}) AS chunk"""


def test_the_pace_of_the_last_closed_day_is_due_once_forecasts_have_it(
    engine: Engine, database_url: str, session_factory: Sessions
) -> None:
    """The rows of the version before go, and what it did for the last closed day is due again; earlier days are not."""
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    config = _config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0014_has_dates")
        connection.rollback()
        connection.execute(text(ROWS))
        connection.commit()
    migrate(database_url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT * FROM forecasts")).all() == []
        kept = text("SELECT job, min(period), max(period), count(*) FROM job_runs GROUP BY job ORDER BY job")
        assert connection.execute(kept).all() == [
            (JOB, "2026-03-08", "2026-03-08", CHUNKS),
            ("snapshot", "2026-03-08", "2026-03-09", 2 * CHUNKS),
        ]
    due = due_projections(session_factory)
    assert [(work.tenant.name, work.chunk) for work in due] == [("default", chunk) for chunk in range(CHUNKS)]
