"""Servers for an application: those that run in its data directory, else new ones that run while anyone uses them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import IO

from psycopg import OperationalError
from pydantic import SecretStr

from core.settings import PREFIX, Settings
from core.store.database import open_sessions
from core.store.migrate import NotMigrated, UnknownRevision, require_current
from core.store.tenants import DEFAULT, read_tenants
from milepost.embedded.child import MARKER, WHILE_USED, describe_status
from milepost.embedded.datadir import DataDir, RunningServers, is_locked
from milepost.embedded.errors import DirectoryOfAnotherVersion, ServerFailed
from milepost.embedded.process import open_log
from milepost.embedded.users import UsersLock

# So that programs that run one after the other do not each start the servers again.
LINGER_S = 60.0
_POLL_S = 0.05
# Shorter waits are not reported.
_SILENT_S = 0.5
# Settings that the background supervisor gets as arguments of its command.
_PASSED_AS_ARGUMENTS = {"port", "data_dir"}


@dataclass(slots=True)
class Use:
    """Servers in use: they keep running until `close`, unless a person stops them. The addresses contain passwords."""

    running: RunningServers
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    _lock: UsersLock = field(repr=False)

    def close(self) -> None:
        """End the use; closing twice is harmless."""
        self._lock.release()


def use_servers(
    settings: Settings, *, say: Callable[[str], None], timeout_s: float = 120, linger_s: float | None = None
) -> Use:
    """The servers of the data directory that `settings` names, ready to use; started if none run there.

    A server that the settings name themselves is used and not started. `say` is called with what the caller waits for.
    `linger_s`: how long servers that are started here keep running after their last user, LINGER_S unless given. Raises
    ServerFailed, DirectoryUnusable.
    """
    linger_s = LINGER_S if linger_s is None else linger_s
    startup = _Startup(DataDir(settings.data_dir).open(), settings, say, time.monotonic() + timeout_s, linger_s)
    lock = startup.await_lock()
    try:
        running = startup.await_servers()
    except BaseException:
        lock.release()
        raise
    return Use(running, running.database_url, running.redis_url, lock)


@dataclass(slots=True)
class _Startup:
    """Waits for the servers of one data directory, and starts them if none run there."""

    data: DataDir
    settings: Settings
    say: Callable[[str], None]
    deadline: float
    linger_s: float
    _child: subprocess.Popen[bytes] | None = None
    _log_start: int = 0
    _waiting_since: float = field(default_factory=time.monotonic)
    _said: set[str] = field(default_factory=set)

    def await_lock(self) -> UsersLock:
        while (lock := UsersLock.try_share(self.data.path)) is None:
            self._wait("waiting for the servers that are stopping")
        return lock

    def await_servers(self) -> RunningServers:
        while (running := self._usable()) is None:
            self._note_end()
            if self._child is None and not is_locked(self.data.path):
                self._start()
            self._wait("waiting for the servers")
        return running

    def _usable(self) -> RunningServers | None:
        running = self.data.servers()
        if running is None or not running.is_prepared:
            return None
        _require_same("DATABASE_URL", self.settings.database_url, running.database_url, self.data.path)
        _require_same("REDIS_URL", self.settings.redis_url, running.redis_url, self.data.path)
        try:
            return running if _has_our_tables(running) else None
        except UnknownRevision as error:
            raise DirectoryOfAnotherVersion(self.data.path, error.revision) from error

    def _start(self) -> None:
        self._say_once(f"starting the servers in {self.data.path}; their log is {self.data.background_log}")
        command = [sys.executable, *MARKER, "up", WHILE_USED, "--linger-s", str(self.linger_s)]
        command += ["--port", "0", "--data-dir", str(self.data.path)]
        output, self._log_start = open_log(self.data.background_log)
        with output:
            try:
                self._child = _spawn_apart(command, self.data.path, output, _environment(self.settings))
            except OSError as error:
                raise ServerFailed(f"cannot start the servers with {sys.executable!r}: {error.strerror}") from None
        # Waited for by a thread, so that it leaves no zombie whenever it ends.
        Thread(target=self._child.wait, name="milepost-up", daemon=True).start()

    def _note_end(self) -> None:
        """Forget a supervisor that ended with 0, as it does if another one runs; raise ServerFailed if one failed."""
        if self._child is None or (status := self._child.poll()) is None:
            return
        self._child = None
        if status != 0:
            # A killed one has logged no reason.
            reason = (status > 0 and self._error_line()) or f"`milepost up` ended ({describe_status(status)})"
            raise ServerFailed(f"the servers did not start: {reason} (more in {self.data.background_log})")

    def _error_line(self) -> str:
        """The last line of this start's log; if the command line printed errors, the last of these."""
        log = self.data.background_log
        with log.open("rb") as file:
            file.seek(self._log_start if self._log_start <= log.stat().st_size else 0)
            lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
        errors = [line.removeprefix("milepost: ") for line in lines if line.startswith("milepost: ")]
        return (errors or lines or [""])[-1]

    def _wait(self, reason: str) -> None:
        now = time.monotonic()
        if now > self.deadline:
            waited_s, log = now - self._waiting_since, self.data.background_log
            raise ServerFailed(f"still no servers in {self.data.path} after {waited_s:.0f} s (more in {log})")
        if now - self._waiting_since > _SILENT_S:
            self._say_once(reason)
        time.sleep(_POLL_S)

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self.say(line)


def _spawn_apart(
    command: list[str], folder: Path, output: IO[bytes], environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own. Not by spawn(), which would end it with us while others use it."""
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _require_same(name: str, wanted: SecretStr | None, found: str, directory: Path) -> None:
    """Refuse a mix of servers: events on one would never be applied by the workers of another."""
    if wanted is not None and wanted.get_secret_value() != found:
        raise ServerFailed(f"what runs in {directory} uses another server than {PREFIX}{name} names; stop it first")


def _has_our_tables(running: RunningServers) -> bool:
    """Whether the database answers and has the schema of this version and the first tenant.

    Raises ServerFailed if its schema is that of an earlier release, UnknownRevision if it is of no known release.
    """
    try:
        with open_sessions(running.database_url, application_name="milepost") as sessions:
            require_current(sessions)
            with sessions() as session:
                return DEFAULT in read_tenants(session, [DEFAULT])
    except NotMigrated:
        pid = running.supervisor_pid
        raise ServerFailed(
            f"process {pid} runs servers of an older version; stop it, and new ones will be started"
        ) from None
    except OperationalError:
        # The server is being started again, or is stopping.
        return False


def _environment(settings: Settings) -> dict[str, str]:
    """Our environment, with our settings replaced by `settings`, some of which the caller may have passed in code."""
    others = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    given = {name: getattr(settings, name) for name in settings.model_fields_set - _PASSED_AS_ARGUMENTS}
    return {**others, **{PREFIX + name.upper(): _text(value) for name, value in given.items() if value is not None}}


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
