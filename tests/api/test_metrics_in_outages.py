"""GET /metrics while a server is away: the other one's figures, and who may see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from core.settings import Settings
from core.store.database import Sessions
from core.store.driver import Sql
from milepost.embedded.postgres import EmbeddedPostgres
from milepost.embedded.programs import free_port
from tests.api.metric_values import elsewhere, names, one, scrape


def test_without_the_stream_server_the_rest_is_shown(settings: Settings, new_key: Any) -> None:
    """While the stream server is away the scrape says so and has the database's figures."""
    with elsewhere(settings, new_key("admin"), redis_url=f"redis://127.0.0.1:{free_port()}/0") as client:
        stats = scrape(client)
    assert (one(stats, "up", part="stream"), one(stats, "up", part="database")) == (0, 1)
    assert "outbox_unannounced" in names(stats)
    assert "drain_alive" not in names(stats)


@pytest.fixture
def admit(postgres: EmbeddedPostgres, database_url: str) -> Callable[[bool], None]:
    """Has the database take connections, or none at all, as if it were away."""
    name = database_url.rpartition("/")[2]
    url = postgres.url.rpartition("/")[0].replace("postgresql+psycopg://", "postgresql://") + "/postgres"

    def admit(is_there: bool) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {is_there}")  # type: ignore[arg-type]
            if not is_there:
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name]
                )

    return admit


def test_without_the_database_a_known_key_sees_the_rest(client: Any, admit: Callable[[bool], None]) -> None:
    """While the database is away a key that was good before still sees the stream's figures; any other gets 503."""
    known, unknown = client("goals:read"), client("goals:read")
    scrape(known)
    admit(False)
    stats = scrape(known)
    assert (one(stats, "up", part="stream"), one(stats, "up", part="database")) == (1, 0)
    assert one(stats, "drain_events_total", shard="0") == 0
    # How far a shard is applied is in the database.
    assert not {"outbox_unannounced", "drain_alive"} & names(stats)
    assert unknown.get("/metrics").status_code == 503
    admit(True)
    assert one(scrape(unknown), "up", part="database") == 1


def test_a_revoked_key_is_not_known_any_more(
    client: Any, admit: Callable[[bool], None], session_factory: Sessions
) -> None:
    """A key that was found to be revoked gets nothing, also when the database goes away afterwards."""
    caller = client("goals:read")
    scrape(caller)
    with session_factory.begin() as session:
        Sql("UPDATE api_keys SET revoked_at = now()").run(session, {})
    assert caller.get("/metrics").status_code == 401
    admit(False)
    assert caller.get("/metrics").status_code == 503
