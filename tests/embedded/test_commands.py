"""The commands that talk to servers, on real ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from core.services.keys import key_hash
from core.settings import load_settings
from core.store.database import Sessions
from core.store.driver import Sql
from milepost import Unavailable, sync
from milepost.cli.processes import require_current_schema, require_stream
from milepost.embedded.valkey import EmbeddedValkey
from tests.conftest import Run


def listed_keys(run: Run, *arguments: str) -> list[dict[str, Any]]:
    status, out, _ = run("keys", "list", "--json", *arguments)
    assert status == 0
    keys: list[dict[str, Any]] = json.loads(out)
    return keys


def test_a_key_is_made_shown_once_and_listed(run: Run, session_factory: Sessions) -> None:
    """The printed secret is the one whose hash is stored, and the list shows the key without it."""
    status, out, _ = run("keys", "create", "--scope", "goals:read", "--scope", "events:write", "--label", "app")
    secret = out.strip()
    assert status == 0
    key = listed_keys(run)[-1]
    assert (key["label"], key["scopes"], key["revoked_at"]) == ("app", ["events:write", "goals:read"], None)
    assert secret not in json.dumps(key)
    with session_factory() as session:
        stored = Sql("SELECT key_hash FROM api_keys WHERE key_id = :key_id").value(session, {"key_id": key["key_id"]})
    assert bytes(stored) == key_hash(secret)


def test_a_revoked_key_says_when(run: Run) -> None:
    """`keys revoke` ends a key, the list tells the moment, and revoking what is not there is one line."""
    run("keys", "create", "--scope", "admin")
    key_id = listed_keys(run)[-1]["key_id"]
    assert run("keys", "revoke", key_id) == (0, f"revoked {key_id}\n", "")
    assert listed_keys(run)[-1]["revoked_at"].endswith("Z")
    assert run("keys", "revoke", "nobody") == (1, "", "milepost: Key not found\n")


def test_a_tenant_is_made_in_its_zone(run: Run, session_factory: Sessions) -> None:
    """`tenants create` makes a tenant whose keys are its own; a second of that name, or no zone, is one line."""
    assert run("tenants", "create", "acme", "--time-zone", "Europe/Prague")[0] == 0
    with session_factory() as session:
        found = Sql("SELECT time_zone FROM tenants WHERE tenant = 'acme'").value(session, {})
    assert found == "Europe/Prague"
    assert listed_keys(run, "--tenant", "acme") == []
    again = run("tenants", "create", "acme", "--time-zone", "UTC")
    assert again == (1, "", "milepost: there is a tenant acme already\n")
    status, _, errors = run("tenants", "create", "other", "--time-zone", "Mars/Olympus")
    assert (status, errors.count("\n")) == (1, 1)
    assert errors.startswith("milepost: time_zone: ")


def test_migrate_may_run_again(run: Run) -> None:
    """On a database that is up to date `migrate` changes nothing and ends well."""
    before = listed_keys(run)
    assert run("migrate") == (0, "the schema is up to date\n", "")
    assert listed_keys(run) == before


def started(*arguments: str) -> tuple[int, str, str]:
    """A command as a process of its own, which must end by itself: status, output, errors."""
    command = [sys.executable, "-P", "-m", "milepost", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [("worker", "--queues=jobs"), ("api", "--port", "0"), ("beat",)], ids=" ".join)
def test_without_the_tables_nothing_starts(run: Run, session_factory: Sessions, arguments: tuple[str, ...]) -> None:
    """On a database without tables a worker, API or beat says in a line what to run, and ends with 1."""
    assert run("migrate")[0] == 0
    with session_factory.begin() as session:
        Sql("DELETE FROM alembic_version").run(session, {})
    said = "milepost: the database does not have the tables of this version: run `milepost migrate` first\n"
    assert started(*arguments) == (1, "", said)


@pytest.mark.parametrize(
    "arguments", [("migrate",), ("api", "--port", "0"), ("worker", "--queues=drains"), ("beat",)], ids=" ".join
)
def test_a_database_of_an_unknown_revision_is_refused(
    run: Run, session_factory: Sessions, arguments: tuple[str, ...]
) -> None:
    """It is from before the first release: each command says so in a line, and ends with 1."""
    assert run("migrate")[0] == 0
    with session_factory.begin() as session:
        Sql("UPDATE alembic_version SET version_num = '0029'").run(session, {})
    said = (
        "milepost: the database is at revision 0029, which this version of Milepost cannot bring forward (no "
        "earlier release had it): keep it for the Milepost that made it, and set MILEPOST_DATABASE_URL to a new, "
        "empty database\n"
    )
    assert started(*arguments) == (1, "", said)


@pytest.fixture(scope="module")
def without_waitaof(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A stream server that does not sync each write and does not know WAITAOF, as Redis 7.0."""
    settings = {"rename-command": 'WAITAOF ""'}
    server = EmbeddedValkey.start(
        tmp_path_factory.mktemp("older") / "valkey", appendfsync="everysec", settings=settings
    )
    yield server.url
    server.stop()


OLDER = """
CREATE SCHEMA older;
CREATE FUNCTION older.current_setting(name text) RETURNS text LANGUAGE sql AS $$
    SELECT CASE name WHEN 'server_version_num' THEN '150014' WHEN 'server_version' THEN '15.14 (Debian 15.14-0+deb12u1)'
        ELSE pg_catalog.current_setting(name) END $$;
DO $$ BEGIN
    EXECUTE 'ALTER DATABASE ' || current_database() || ' SET search_path = older, pg_catalog, public';
END $$
"""


@pytest.fixture
def older_database(database_url: str) -> None:
    """Make the database report that it is PostgreSQL 15."""
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        connection.execute(OLDER)


@pytest.mark.usefixtures("older_database")
@pytest.mark.parametrize("arguments", [("migrate",), ("api", "--port", "0"), ("worker", "--queues=jobs")], ids=" ".join)
def test_an_older_postgres_is_refused(run: Run, arguments: tuple[str, ...]) -> None:
    """Each command says in a line what is there and what is needed, and ends with 1."""
    run("keys", "list")  # for the addresses that it sets
    said = "milepost: the database is PostgreSQL 15.14, which is too old: Milepost needs PostgreSQL 16 or newer\n"
    assert started(*arguments) == (1, "", said)


@pytest.mark.usefixtures("older_database")
def test_an_older_postgres_is_reported_by_doctor_and_easy_goals(run: Run, database_url: str) -> None:
    """`doctor` has one problem with the database, and easy_goals() refuses it as the commands do."""
    status, out, _ = run("doctor", "--json")
    problems = [found for found in json.loads(out) if found["state"] == "problem"]
    assert (status, problems[0]["check"], problems[0]["remedy"]) == (1, "database", "use PostgreSQL 16 or newer")
    assert [found["check"] for found in problems].count("database") == 1
    with sync.easy_goals(database_url=database_url) as manager, pytest.raises(Unavailable, match=r"PostgreSQL 15\.14,"):
        manager.list_goals()


@pytest.mark.parametrize("arguments", [("migrate",), ("api", "--port", "0"), ("worker", "--queues=jobs")], ids=" ".join)
def test_a_stream_server_that_cannot_confirm_is_refused(
    run: Run, without_waitaof: str, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """Each command says in a line what is needed, and ends with 1."""
    assert run("migrate")[0] == 0
    monkeypatch.setenv("MILEPOST_REDIS_URL", without_waitaof)
    said = (
        "milepost: the stream server has no WAITAOF, so it cannot say when an event is on disk: "
        "Milepost needs Redis 7.2, Valkey 8 or newer, or `appendfsync always`\n"
    )
    assert started(*arguments) == (1, "", said)


def test_status_reports_an_unknown_revision(run: Run, session_factory: Sessions) -> None:
    """It does not advise to migrate, and does not read tables that may have another schema."""
    with session_factory.begin() as session:
        Sql("UPDATE alembic_version SET version_num = '0029'").run(session, {})
    status, out, _ = run("status", "--json")
    found = json.loads(out)
    assert (status, found["schema_is_current"], found["counts"]) == (1, None, None)
    assert [line.startswith("the database is at revision 0029, which") for line in found["troubles"]] == [True]


def test_a_database_that_is_away_does_not_stop_a_start(redis_url: str) -> None:
    """A worker or API that starts before its database waits for it, like one that was running before."""
    away = load_settings(database_url="postgresql://someone@127.0.0.1:1/db", redis_url=redis_url)
    require_current_schema(away)
    require_stream(load_settings(database_url="postgresql://someone@127.0.0.1:1/db", redis_url="redis://127.0.0.1:1/0"))


def test_status_shows_counts_and_backlog(run: Run, stream: Any) -> None:
    """`status --json` on real servers shows versions, schema, counts and what waits on each shard."""
    stream.append("default", [("a", b"{}"), ("b", b"{}"), ("c", b"{}")])
    status, out, _ = run("status", "--json")
    found = json.loads(out)
    assert status == 0
    assert found["database"].startswith("PostgreSQL 18")
    assert found["stream"].startswith("Valkey 9")
    assert (found["schema_is_current"], found["troubles"], found["processes"]) == (True, [], None)
    assert found["counts"] == {"accounts": 0, "goals": 0, "dead_letters": 0}
    assert sum(shard["length"] for shard in found["shards"]) == 3


def test_status_for_people_names_each_part(run: Run) -> None:
    """Without --json the same is a table."""
    status, out, _ = run("status")
    assert status == 0
    for part in ("database", "schema", "stream", "accounts", "shard"):
        assert part in out


def test_status_says_what_is_wrong(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the stream server does not answer, status says so, still shows the database, and ends with 1."""
    monkeypatch.setenv("MILEPOST_REDIS_URL", "redis://:hidden-password@127.0.0.1:1/0")
    status, out, errors = run("status", "--json")
    found = json.loads(out)
    assert status == 1
    assert (found["stream"], found["shards"]) == (None, None)
    assert found["schema_is_current"] is True
    assert [line.startswith("the stream server") for line in found["troubles"]] == [True]
    assert "hidden-password" not in out + errors
