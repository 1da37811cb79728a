"""Two migrations at once: one waits for the other, and as long as the other may take."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from core.store.engine import make_engine
from core.store.migrate import LOCK_KEY, migrate

LIMIT_S = 0.2
WAITS_LONGER_THAN_ITS_LIMIT = text(
    f"""SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'second'
    AND wait_event = 'advisory' AND clock_timestamp() - query_start > interval '{2 * LIMIT_S} s'"""
)


@pytest.fixture
def second(database_url: str) -> Any:
    """An engine on a migrated database, with a short limit on statements."""
    limits = {"statement_timeout": f"{int(LIMIT_S * 1000)}ms"}
    engine = make_engine(database_url, application_name="second", limits=limits)
    yield engine
    engine.dispose()


def test_a_migration_waits_longer_than_a_statement_may_take(
    engine: Engine, second: Engine, eventually: Callable[[Callable[[], object], float], bool]
) -> None:
    """While another migration has the lock, the engine's limit on statements does not end the wait."""
    trouble: list[Exception] = []

    def migrate_second() -> None:
        try:
            migrate(second)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            trouble.append(error)

    waiting = threading.Thread(target=migrate_second)
    with engine.begin() as holder:
        holder.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        waiting.start()

        def has_waited() -> bool:
            with engine.connect() as connection:
                return bool(connection.scalar(WAITS_LONGER_THAN_ITS_LIMIT)) or bool(trouble)

        assert eventually(has_waited, 10)
        assert trouble == []
    waiting.join(30)
    assert (waiting.is_alive(), trouble) == (False, [])


def test_the_wait_for_another_and_for_a_table_are_bounded(second: Engine) -> None:
    """The lock of migrations is waited for a minute; while migrating, a table's lock for seconds only."""
    found: list[tuple[str, str]] = []

    @event.listens_for(second, "before_cursor_execute")
    def note(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "pg_advisory_lock" in statement or "alembic_version" in statement:
            cursor.execute("SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")
            found.append(cursor.fetchone())

    migrate(second)
    assert found[0] == ("1min", "0")
    assert set(found[1:]) == {("5s", "1min")}
