"""One embedded PostgreSQL server in a directory of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg
from psycopg import sql

from milepost.embedded.datadir import DirectoryLock, keep_secret, private_folder
from milepost.embedded.errors import ServerFailed
from milepost.embedded.launch import OTHER_ID, OTHER_USER
from milepost.embedded.orphans import can_see_processes, end_orphans, kill_servers
from milepost.embedded.process import ServerProcess, open_log, spawn, start_listening
from milepost.embedded.programs import buffer_bytes, postgres_program
from milepost.embedded.run_as import choose_run_as, prepare_folder, require_passable

NAME = "PostgreSQL"
USER = DATABASE = "milepost"
HOST = "127.0.0.1"
_INITDB_TIMEOUT_S = 120

# For one installation on one machine: enough for a few workers, small enough for a laptop.
SETTINGS: Mapping[str, str] = {
    "max_connections": "100",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "wal_compression": "off",
    "min_wal_size": "128MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    # In the data directory, not in /dev/shm: containers have 64 MB of that, and a killed server leaves its files there.
    "dynamic_shared_memory_type": "mmap",
    # A query on both cores would delay the drains; no query here is large enough to need that.
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
    # An error names a row without its values: ids of accounts and transactions must not be logged.
    "log_error_verbosity": "terse",
}


@dataclass(slots=True)
class EmbeddedPostgres:
    """A running server; it ends when the thread that started it ends."""

    directory: Path
    port: int
    url: str
    server: ServerProcess
    _lock: DirectoryLock

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        version: int = 18,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        home: Path | None = None,
        log: Path | None = None,
        timeout_s: float = 120,
    ) -> EmbeddedPostgres:
        """Start on `directory`, whatever a crash left there; returns when it accepts connections.

        `port`: None means any free one. `settings` are added to SETTINGS. `home`: the highest folder that is
        ours, if not `directory` itself. Raises DirectoryInUse, DirectoryUnusable, ServerFailed.
        """
        directory = private_folder(directory)
        lock = DirectoryLock.acquire(directory)
        try:
            cluster = _Cluster.prepare(directory, version, settings or {}, (home or directory).resolve())
            server, chosen = cluster.run(port, log or directory / "postgres.log", timeout_s)
            url = f"postgresql+psycopg://{USER}:{cluster.password}@{HOST}:{chosen}/{DATABASE}"
            _make_database(chosen, cluster.password)
        except BaseException:
            kill_servers(directory)
            lock.release()
            raise
        return cls(directory, chosen, url, server, lock)

    @property
    def pid(self) -> int:
        return self.server.pid

    def exit_status(self) -> int | None:
        """None while it runs."""
        return self.server.exit_status()

    def stop(self, *, timeout_s: float = 10) -> None:
        """End sessions, write a checkpoint and end; after `timeout_s` end without it, and the next start recovers."""
        self.server.end(steps=[(signal.SIGINT, timeout_s), (signal.SIGQUIT, 1.0)])
        end_orphans(self.directory)
        self._lock.release()

    def kill(self) -> None:
        """kill -9 of the server and all its processes."""
        self.server.end(steps=[])
        kill_servers(self.directory)
        self._lock.release()


@dataclass(frozen=True, slots=True)
class _Cluster:
    """A database directory that exists, belongs to the right user, and in which no process works."""

    data: Path
    program: Path
    run_as: str
    password: str
    settings: Mapping[str, str]

    @classmethod
    def prepare(cls, directory: Path, version: int, settings: Mapping[str, str], home: Path) -> _Cluster:
        program = postgres_program("postgres", version)
        run_as = choose_run_as(program)
        if run_as == OTHER_USER:
            require_passable(program)
        end_orphans(directory)
        password = keep_secret(directory / "password")
        data = directory / "data"
        if not data.exists():
            _initialise(directory, version, run_as, password, home, is_durable=settings.get("fsync") != "off")
        _require_version(data, version)
        prepare_folder(data, run_as, home=home)
        if can_see_processes():
            # We have the lock and ended the servers here: a process that has that pid now is another program.
            (data / "postmaster.pid").unlink(missing_ok=True)
        buffers_mb = buffer_bytes() // 2**20
        memory = {"shared_buffers": f"{buffers_mb}MB", "effective_cache_size": f"{4 * buffers_mb}MB"}
        return cls(data, program, run_as, password, {**memory, **SETTINGS, **settings})

    def run(self, port: int | None, log: Path, timeout_s: float) -> tuple[ServerProcess, int]:
        """Start the server and wait until it accepts connections."""
        return start_listening(partial(self._spawn, log), self._is_ready, port=port, timeout_s=timeout_s)

    def _spawn(self, log: Path, port: int) -> ServerProcess:
        command = [str(self.program), "-D", str(self.data), "-p", str(port)]
        command += ["-c", f"listen_addresses={HOST}", "-c", "unix_socket_directories="]
        for name, value in self.settings.items():
            command += ["-c", f"{name}={value}"]
        output, size = open_log(log)
        with output:
            process = spawn(command, death_signal=signal.SIGQUIT, cwd=self.data, output=output, run_as=self.run_as)
        return ServerProcess(NAME, process, log, size)

    def _is_ready(self, server: ServerProcess, _port: int) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text("utf-8").splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(server.pid) and lines[7].strip() == "ready"


def _initialise(directory: Path, version: int, run_as: str, password: str, home: Path, *, is_durable: bool) -> None:
    """Make the database in a sibling folder, then rename it: a half-made one would start without tables."""
    fresh = directory / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    prepare_folder(fresh, run_as, home=home)
    log = directory / "initdb.log"
    log.unlink(missing_ok=True)
    output, size = open_log(log)
    reader = _pipe_with(password, owner=OTHER_ID if run_as == OTHER_USER else None)
    command = [str(postgres_program("initdb", version)), "-D", str(fresh), *_initdb_options(version, reader)]
    if not is_durable:
        command.append("--no-sync")
    try:
        with output:
            process = spawn(
                command, death_signal=signal.SIGKILL, cwd=fresh, output=output, run_as=run_as, pass_fds=[reader]
            )
    finally:
        os.close(reader)
    _await_initdb(ServerProcess("initdb", process, log, size))
    fresh.rename(directory / "data")


def _initdb_options(version: int, password_fd: int) -> list[str]:
    options = ["-U", USER, "--auth=scram-sha-256", f"--pwfile=/dev/fd/{password_fd}", "--encoding=UTF8"]
    if version >= 17:
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return [*options, "--locale=C", "--data-checksums"]


def _await_initdb(initdb: ServerProcess) -> None:
    try:
        status = initdb.process.wait(_INITDB_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        initdb.process.kill()
        raise ServerFailed(f"initdb took more than {_INITDB_TIMEOUT_S} s; its log is {initdb.log}") from None
    if status != 0:
        raise ServerFailed(f"initdb failed: {initdb.error_line()}; its log is {initdb.log}")


def _pipe_with(text: str, *, owner: int | None) -> int:
    reader, writer = os.pipe()
    # The reader opens /dev/fd/N again, and must own the pipe for that.
    if owner is not None:
        os.fchown(reader, owner, owner)
    with os.fdopen(writer, "w", encoding="ascii") as file:
        file.write(text + "\n")
    return reader


def _require_version(data: Path, version: int) -> None:
    found = (data / "PG_VERSION").read_text("ascii").strip()
    if found != str(version):
        raise ServerFailed(f"{data} was made by PostgreSQL {found} and cannot be opened by {version}")


def _make_database(port: int, password: str) -> None:
    with psycopg.connect(
        host=HOST, port=port, user=USER, password=password, dbname="postgres", autocommit=True
    ) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
        if found is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
