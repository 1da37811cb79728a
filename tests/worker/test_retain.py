"""The task retain on a real database."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from core.settings import load_settings
from worker.app import make_worker_app

_OLD_KEYS = text(
    """INSERT INTO idempotency_keys (tenant, idempotency_key, route, body_hash, status, body, created_at)
    SELECT 'default', n::text, 'POST /goals', '', 201, '', now() - interval '2 days' FROM generate_series(1, 3) n"""
)


def test_the_task_drops_once_a_day(database_url: str, redis_url: str, session_factory: sessionmaker[Session]) -> None:
    """The first trigger of a day drops what is past retention; a second one finds the day done."""
    app = make_worker_app(load_settings(database_url=database_url, redis_url=redis_url))
    dropped = []
    for _ in range(2):
        with session_factory.begin() as session:
            session.execute(text("DELETE FROM idempotency_keys"))
            session.execute(_OLD_KEYS)
        dropped.append(app.tasks["milepost.retain"].apply(throw=True).get(disable_sync_subtasks=False))
    assert dropped == [3, 0]
