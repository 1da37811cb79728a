"""A data directory whose database is of another version: it is refused by name, and nothing in it changes."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import psycopg
import pytest

from milepost import Unavailable, sync
from milepost.embedded.datadir import DataDir
from milepost.embedded.postgres import EmbeddedPostgres
from tests.embedded.test_up import Up, milepost

REFUSED = (
    "{} holds a database at revision 0029, which this version of Milepost cannot bring forward (no earlier release had "
    "it): keep that directory for the Milepost that made it, and choose a new one with --data-dir or MILEPOST_DATA_DIR"
)


@pytest.fixture(autouse=True)
def no_servers_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other servers of this machine must not be used."""
    for name in ("DATABASE_URL", "REDIS_URL", "DATA_DIR"):
        monkeypatch.delenv(f"MILEPOST_{name}", raising=False)


@pytest.fixture
def older(place: Path) -> Path:
    """A data directory whose database has a revision from before the first release."""
    data = DataDir(place / "data").open()
    server = EmbeddedPostgres.start(data.postgres, home=data.path)
    _set_revision(server.url)
    server.stop()
    return data.path


def _set_revision(database_url: str) -> None:
    with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num varchar(32) PRIMARY KEY)")
        connection.execute("DELETE FROM alembic_version")
        connection.execute("INSERT INTO alembic_version VALUES ('0029')")


def test_up_and_easy_goals_refuse_an_older_directory(older: Path) -> None:
    """`milepost up` ends with 1 and one line that names the directory; easy_goals() says the same."""
    command = milepost("up", "--port", "0", "--data-dir", str(older))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, f"milepost: {REFUSED.format(older)}\n")
    assert "ready" not in done.stdout
    with sync.easy_goals(data_dir=older) as manager, pytest.raises(Unavailable) as refused:
        manager.list_goals()
    assert REFUSED.format(older) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_easy_goals_refuses_running_servers_of_another_version(place: Path) -> None:
    """Where a `milepost up` of another version runs, its database is not touched."""
    up = Up.start(place / "data")
    running = DataDir(up.directory).servers()
    assert running is not None
    _set_revision(running.database_url)
    with sync.easy_goals(data_dir=up.directory) as manager, pytest.raises(Unavailable) as refused:
        manager.list_goals()
    assert str(refused.value) == REFUSED.format(up.directory)
    assert up.end(signal.SIGINT) == 0
