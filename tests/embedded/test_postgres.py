"""The embedded PostgreSQL server: start, durability, refusals, recovery."""

from __future__ import annotations

import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from milepost.embedded.errors import DirectoryInUse, ServerFailed
from milepost.embedded.postgres import EmbeddedPostgres

QUICK = {"fsync": "off"}


@pytest.fixture
def directory(place: Path) -> Path:
    """A directory with a database in which one row is committed, and no server."""
    server = EmbeddedPostgres.start(place / "pg", settings=QUICK)
    with connect(server) as connection:
        connection.execute("CREATE TABLE stored_rows (n int)")
        connection.execute("INSERT INTO stored_rows VALUES (7)")
    server.stop()
    return place / "pg"


@pytest.fixture
def server(directory: Path) -> Iterator[EmbeddedPostgres]:
    """The server of that directory, running."""
    running = EmbeddedPostgres.start(directory, settings=QUICK)
    yield running
    running.stop()


def connect(server: EmbeddedPostgres) -> psycopg.Connection[tuple[int]]:
    return psycopg.connect(server.url.replace("+psycopg", ""))


def stored_rows(server: EmbeddedPostgres) -> list[tuple[int]]:
    with connect(server) as connection:
        return connection.execute("SELECT n FROM stored_rows").fetchall()


def test_data_outlives_a_stop(server: EmbeddedPostgres) -> None:
    """What was committed is there after a stop and a start."""
    assert stored_rows(server) == [(7,)]


def test_data_outlives_a_kill(server: EmbeddedPostgres) -> None:
    """What was committed is there after kill -9 of all server processes, with nothing done by hand."""
    with connect(server) as connection:
        connection.execute("INSERT INTO stored_rows VALUES (8)")
    server.kill()
    again = EmbeddedPostgres.start(server.directory, settings=QUICK)
    try:
        assert stored_rows(again) == [(7,), (8,)]
    finally:
        again.stop()


def test_the_older_version_starts_too(place: Path) -> None:
    """PostgreSQL 16 starts from the same wheel, and its directory is not opened by 18."""
    server = EmbeddedPostgres.start(place / "pg16", version=16, settings=QUICK)
    with connect(server) as connection:
        assert connection.info.server_version // 10_000 == 16
    server.stop()
    with pytest.raises(ServerFailed, match="made by PostgreSQL 16 and cannot be opened by 18"):
        EmbeddedPostgres.start(place / "pg16", settings=QUICK)


def test_an_orphan_backend_is_ended(server: EmbeddedPostgres) -> None:
    """A backend that a killed server left behind, unable to notice, does not keep the next start from working."""
    with connect(server) as connection:
        orphan = connection.info.backend_pid
        os.kill(orphan, signal.SIGSTOP)
        server.server.end(steps=[])
        server._lock.release()
        again = EmbeddedPostgres.start(server.directory, settings=QUICK)
    try:
        assert stored_rows(again) == [(7,)]
        assert not _is_running(orphan)
    finally:
        again.stop()


def test_a_reused_pid_does_not_refuse_for_ever(directory: Path) -> None:
    """A stale postmaster.pid that names a living process, which is no server, is set aside."""
    lines = [str(os.getpid()), str(directory / "data"), "1", "5432", "", "127.0.0.1", "", "ready"]
    (directory / "data" / "postmaster.pid").write_text("\n".join(lines) + "\n")
    server = EmbeddedPostgres.start(directory, settings=QUICK)
    try:
        assert stored_rows(server) == [(7,)]
    finally:
        server.stop()


def test_a_half_made_database_is_made_again(place: Path) -> None:
    """The files of a killed initdb are removed, not started."""
    directory = place / "pg"
    directory.mkdir(mode=0o700)
    (directory / "data.new" / "base").mkdir(parents=True)
    (directory / "data.new" / "PG_VERSION").write_text("18\n")
    server = EmbeddedPostgres.start(directory, settings=QUICK)
    try:
        with connect(server) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == ("milepost",)
    finally:
        server.stop()


def test_a_second_start_names_the_process_that_has_the_lock(server: EmbeddedPostgres) -> None:
    """A second start on the same directory fails and names the process that has it."""
    with pytest.raises(DirectoryInUse, match=rf"in use by process {os.getpid()}\b"):
        EmbeddedPostgres.start(server.directory)


def test_a_taken_port_is_reported(directory: Path) -> None:
    """A port that somebody listens on is an error that says so, and the directory is free again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerFailed, match="could not create any TCP/IP sockets"):
            EmbeddedPostgres.start(directory, port=port, settings=QUICK)
    EmbeddedPostgres.start(directory, port=port, settings=QUICK).stop()


def test_stop_ends_every_process(server: EmbeddedPostgres, processes_in: Callable[[Path], list[int]]) -> None:
    """After a stop nothing works in the directory any more, although a session was open."""
    with closing(connect(server)) as connection:
        connection.execute("SELECT 1")
        assert processes_in(server.directory)
        server.stop()
        assert processes_in(server.directory) == []


def test_only_the_owner_can_read(server: EmbeddedPostgres) -> None:
    """The folder, the data and the password are closed to others."""
    modes = {name: _mode(server.directory / name) for name in (".", "data", "password", "postgres.log")}
    assert modes == {".": 0o700, "data": 0o700, "password": 0o600, "postgres.log": 0o600}


def test_the_password_is_on_no_command_line(server: EmbeddedPostgres) -> None:
    """The password is in neither the arguments nor the environment of the server, and it is needed."""
    password = (server.directory / "password").read_text().strip()
    process = Path("/proc") / str(server.pid)
    assert password not in (process / "cmdline").read_text() + (process / "environ").read_text()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(host="127.0.0.1", port=server.port, user="milepost", password="wrong", dbname="milepost")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _is_running(pid: int) -> bool:
    try:
        return " Z " not in (Path("/proc") / str(pid) / "stat").read_text()
    except FileNotFoundError:
        return False
