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
    _upgrade(engine, database_url, "0014_has_dates", ROWS)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT * FROM forecasts")).all() == []
        kept = text("SELECT job, min(period), max(period), count(*) FROM job_runs GROUP BY job ORDER BY job")
        assert connection.execute(kept).all() == [
            (JOB, "2026-03-08", "2026-03-08", CHUNKS),
            ("snapshot", "2026-03-08", "2026-03-09", 2 * CHUNKS),
        ]
    due = due_projections(session_factory)
    assert [(work.tenant.name, work.chunk) for work in due] == [("default", chunk) for chunk in range(CHUNKS)]


MESSAGES = """
    INSERT INTO tenants (tenant, time_zone, created_at) VALUES ('default', 'UTC', '2026-01-01');
    INSERT INTO goals (tenant, goal_id, user_id, name, type, tracking, currency, target_minor, start_minor,
            finish_minor, start_date, status, final_at, reached_at, acted_at, created_at, updated_at)
        SELECT 'default', 'goal_' || status, 'u', 'Trip', 'savings', 'change', 'USD', 100, 0, 100, '2026-01-01', status,
            final_at, reached_at, '2026-01-01', '2026-01-01', '2026-01-01'
        FROM (VALUES ('active', NULL::timestamptz, NULL::timestamptz),
            ('completed', '2026-03-02', '2026-03-01')) AS g(status, final_at, reached_at);
    INSERT INTO outbox (tenant, message_id, type, goal_id, payload, created_at)
        SELECT 'default', type || ':' || goal || ':' || minor, type, goal,
            '{"goal_id":"' || goal || '","user_id":"u","target_amount":1.10,"reached_at":"2026-03-01T09:00:00Z"}', at
        FROM (VALUES ('goal.reached', 'goal_completed', 90, timestamptz '2026-03-01'),
            ('goal.reached', 'goal_completed', 100, '2026-03-02'),
            ('milestone.reached', 'goal_active', 50, '2026-03-03'),
            ('milestone.reached', 'goal_deleted', 50, '2026-03-04')) AS m(type, goal, minor, at)"""


def test_messages_of_before_are_historical(engine: Engine, database_url: str) -> None:
    """They get numbers and the form of all others; those of deleted goals go; what is completed can be withdrawn."""
    _upgrade(engine, database_url, "0016_pace", MESSAGES)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT message_id, historical, payload, user_id FROM outbox ORDER BY 1")).all()
        counts = connection.execute(text("SELECT subject, times, holds FROM message_counts ORDER BY 1")).all()
    assert [row[0] for row in found] == [
        "goal_reached:goal_completed:1",
        "goal_reached:goal_completed:2",
        "milestone_reached:goal_active:50:1",
    ]
    assert {(row[1], row[3]) for row in found} == {(True, "u")}
    assert found[0][2] == (
        '{"type":"goal.reached","timestamp":"2026-03-01T09:00:00Z","data":{"type":"savings",'
        '"goal_id":"goal_completed","user_id":"u","target_amount":1.10,"reached_at":"2026-03-01T09:00:00Z"}}'
    )
    assert counts == [
        ("goal_completed:goal_completed", 1, True),
        ("goal_reached:goal_completed", 2, True),
        ("milestone_reached:goal_active:50", 1, True),
    ]


IDS = """
    INSERT INTO tenants (tenant, time_zone, created_at) VALUES ('default', 'UTC', '2026-01-01');
    INSERT INTO outbox (tenant, message_id, type, goal_id, user_id, payload, happened_at, created_at)
        SELECT 'default', type || subject, type, 'goal_1', 'u', '{}', '2026-03-01', '2026-03-01'
        FROM (VALUES ('goal.completed.withdrawn', ':goal_1:1'), ('goal.completed', ':goal_1:1'),
            ('milestone.reached', ':goal_1:-50:2')) AS m(type, subject);
    INSERT INTO message_counts (tenant, goal_id, subject, times, holds) VALUES
        ('default', 'goal_1', 'goal.completed:goal_1', 1, false),
        ('default', 'goal_1', 'milestone.reached:goal_1:-50', 2, true)"""


def test_ids_lose_their_full_stops(engine: Engine, database_url: str) -> None:
    """What happens again, or is withdrawn, after the upgrade gets the number that follows; types stay as they are."""
    _upgrade(engine, database_url, "0017_messages", IDS)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT message_id, type FROM outbox ORDER BY 1")).all()
        counts = connection.execute(text("SELECT subject, times, holds FROM message_counts ORDER BY 1")).all()
    assert found == [
        ("goal_completed:goal_1:1", "goal.completed"),
        ("goal_completed_withdrawn:goal_1:1", "goal.completed.withdrawn"),
        ("milestone_reached:goal_1:-50:2", "milestone.reached"),
    ]
    assert counts == [("goal_completed:goal_1", 1, False), ("milestone_reached:goal_1:-50", 2, True)]


def _upgrade(engine: Engine, database_url: str, revision: str, rows: str) -> None:
    """Make the database anew at a revision, put rows in it, and migrate it."""
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    config = _config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.rollback()
        connection.exec_driver_sql(rows)
        connection.commit()
    migrate(database_url)
