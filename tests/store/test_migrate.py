"""Two migrations at once: one waits for the other, and as long as the other may take."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, event, text

from core.store import migrate as migrate_module
from core.store.driver import Session, Sql
from core.store.migrate import LOCK_KEY, migrate

LIMIT_S = 0.2
WAITS_LONGER_THAN_THE_LIMIT = text(
    f"""SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'milepost migrate'
    AND wait_event = 'advisory' AND clock_timestamp() - query_start > interval '{2 * LIMIT_S} s'"""
)
BOUNDS = "SELECT current_setting('lock_timeout'), current_setting('statement_timeout')"


@pytest.fixture(autouse=True)
def _short_limit(engine: Engine) -> None:
    """A migrated database with a short limit on statements."""
    with engine.begin() as connection:
        name = connection.scalar(text("SELECT current_database()"))
        connection.execute(text(f"ALTER DATABASE {name} SET statement_timeout = '{int(LIMIT_S * 1000)}ms'"))


def test_a_migration_waits_longer_than_a_statement_may_take(
    engine: Engine, database_url: str, eventually: Callable[[Callable[[], object], float], bool]
) -> None:
    """While another migration has the lock, the database's limit on statements does not end the wait."""
    trouble: list[Exception] = []

    def migrate_second() -> None:
        try:
            migrate(database_url)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            trouble.append(error)

    waiting = threading.Thread(target=migrate_second)
    with engine.begin() as holder:
        holder.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        waiting.start()

        def has_waited() -> bool:
            with engine.connect() as connection:
                return bool(connection.scalar(WAITS_LONGER_THAN_THE_LIMIT)) or bool(trouble)

        assert eventually(has_waited, 10)
        assert trouble == []
    waiting.join(30)
    assert (waiting.is_alive(), trouble) == (False, [])


def test_the_wait_for_another_and_for_a_table_are_bounded(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of migrations is waited for a minute; while migrating, a table's lock for seconds only."""
    found: list[tuple[str, str]] = []

    class Lock(Sql):
        def run(self, session: Session, parameters: Mapping[str, object]) -> int:
            found.append(Sql(BOUNDS).one(session, {}))
            return super().run(session, parameters)

    def note(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "alembic_version" in statement:
            cursor.execute(BOUNDS)
            found.append(cursor.fetchone())

    monkeypatch.setattr(migrate_module, "_LOCK", Lock("SELECT pg_advisory_lock(:key)"))
    event.listen(Engine, "before_cursor_execute", note)
    try:
        migrate(database_url)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert found[0] == ("1min", "0")
    assert set(found[1:]) == {("5s", "1min")}


def test_trouble_with_the_database_is_told_in_the_drivers_words(database_url: str, engine: Engine) -> None:
    """Whether it is away or a step of the migration fails."""
    with pytest.raises(psycopg.OperationalError):
        migrate("postgresql+psycopg://a:b@127.0.0.1:1/c")
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
    with pytest.raises(psycopg.errors.DuplicateTable):
        migrate(database_url)
