"""Accounts are locked in one order, whatever the order of ids is in the database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime

import psycopg
import pytest

from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.services.keys import bootstrap
from core.store.database import Sessions, open_sessions
from core.store.driver import Sql
from core.store.migrate import migrate
from milepost.embedded.postgres import EmbeddedPostgres
from tests.acts import paid
from tests.conftest import KEY, NOW


@pytest.fixture
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A fresh migrated database that sorts as people do, `a` before `B`, which a server of one's own often does."""
    name = "sorted_as_people_do"
    plain = postgres.url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(plain, autocommit=True) as connection:
        try:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'en_US.UTF-8'")
        except psycopg.errors.WrongObjectType:
            pytest.skip("the machine has no locale en_US.UTF-8")
    url = f"{postgres.url.rpartition('/')[0]}/{name}"
    migrate(url)
    with open_sessions(url, application_name="tests") as sessions, sessions.begin() as session:
        bootstrap(session, key=KEY, now=NOW)
    yield url
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_batch_locks_accounts_in_the_order_of_everyone_else(
    session_factory: Sessions, until_waiting: Callable[[int], None], now: datetime
) -> None:
    """A batch that waits for the first of its accounts holds none of the others, or it and a request deadlock."""

    def apply(name: str) -> None:
        bodies = [paid(f"{name}-{account}", 1_00, now, account) for account in ("B", "a")]
        entries = [StreamEntry(0, f"1-{n}", now, "default", body) for n, body in enumerate(bodies)]
        with session_factory.begin() as session:
            apply_events(session, entries, now)

    apply("first")
    thread = threading.Thread(target=apply, args=("second",))
    with session_factory.begin() as holding:
        Sql("SELECT 1 FROM accounts WHERE account_id = 'a' FOR NO KEY UPDATE").run(holding, {})
        thread.start()
        until_waiting(1)
        with session_factory.begin() as other:
            free = Sql("SELECT account_id FROM accounts FOR NO KEY UPDATE SKIP LOCKED").values(other, {})
    thread.join()
    assert free == ["B"]
