"""One embedded Valkey server, for the event stream and the task queue, in a directory of its own."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from milepost.embedded.datadir import DirectoryLock, keep_secret, private_folder, write_private
from milepost.embedded.orphans import end_orphans
from milepost.embedded.process import ServerProcess, open_log, spawn, start_listening
from milepost.embedded.programs import stream_bytes, valkey_server

NAME = "Valkey"
HOST = "127.0.0.1"

AppendFsync = Literal["always", "everysec", "no"]

SETTINGS: Mapping[str, str] = {
    "appendonly": "yes",
    "save": '""',
    # Most entries of a stream are soon applied and trimmed: with a smaller size the file is rewritten while it fills.
    "auto-aof-rewrite-min-size": "256mb",
    "maxmemory-policy": "noeviction",
    "tcp-backlog": "128",
    "always-show-logo": "no",
}


@dataclass(slots=True)
class EmbeddedValkey:
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
        port: int | None = None,
        appendfsync: AppendFsync = "always",
        settings: Mapping[str, str] | None = None,
        log: Path | None = None,
        timeout_s: float = 120,
    ) -> EmbeddedValkey:
        """Start on `directory`, which is made if needed; returns when the append-only file has been loaded.

        `port`: None means any free one. `settings` are lines of valkey.conf; without `maxmemory` among them the
        server uses a share of the machine's memory, and refuses to append beyond it. Raises DirectoryInUse,
        DirectoryUnusable, ServerFailed.
        """
        directory = private_folder(directory)
        lock = DirectoryLock.acquire(directory)
        try:
            end_orphans(directory)
            password = keep_secret(directory / "password")
            lines = {**SETTINGS, "maxmemory": str(stream_bytes()), "appendfsync": appendfsync, **(settings or {})}
            server, chosen = start_listening(
                partial(_spawn, directory, password, lines, log or directory / "valkey.log"),
                partial(_is_ready, password),
                port=port,
                timeout_s=timeout_s,
            )
        except BaseException:
            end_orphans(directory)
            lock.release()
            raise
        return cls(directory, chosen, f"redis://:{password}@{HOST}:{chosen}/0", server, lock)

    @property
    def pid(self) -> int:
        return self.server.pid

    def exit_status(self) -> int | None:
        """None while it runs."""
        return self.server.exit_status()

    def stop(self, *, timeout_s: float = 10) -> None:
        """Sync the append-only file and end; killed after `timeout_s` (with fsync always that loses nothing)."""
        self.server.end(steps=[(signal.SIGTERM, timeout_s)])
        self._lock.release()

    def kill(self) -> None:
        """kill -9 of the server."""
        self.server.end(steps=[])
        end_orphans(self.directory)
        self._lock.release()


def _spawn(directory: Path, password: str, lines: Mapping[str, str], log: Path, port: int) -> ServerProcess:
    # The password goes through a private file: command lines and environments can be read by others.
    configuration = directory / "valkey.conf"
    all_lines = {"bind": HOST, "port": str(port), "dir": f'"{directory}"', "requirepass": password, **lines}
    write_private(configuration, "".join(f"{name} {value}\n" for name, value in all_lines.items()))
    output, size = open_log(log)
    command = [str(valkey_server()), str(configuration)]
    with output:
        process = spawn(command, death_signal=signal.SIGTERM, cwd=directory, output=output)
    return ServerProcess(NAME, process, log, size)


def _is_ready(password: str, server: ServerProcess, port: int) -> bool:
    """Whether our process answers and has loaded its file; another server on the port lacks our password and pid."""
    never_again = Retry(NoBackoff(), 0)
    with redis.Redis(host=HOST, port=port, password=password, socket_timeout=1, retry=never_again) as client:
        try:
            is_ours = int(client.info("server")["process_id"]) == server.pid
            return is_ours and not int(client.info("persistence")["loading"])
        except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError):
            return False
