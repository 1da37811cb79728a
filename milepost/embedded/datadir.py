"""The data directory of an embedded Milepost: its files, who may read them, its secrets, and its lock."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import simplejson

from milepost.embedded.errors import DirectoryInUse, DirectoryUnusable
from milepost.embedded.trust import (
    open_trusted,
    read_trusted,
    require_our_tree,
    require_trusted,
    require_trusted_links,
    trusted_folder,
)

# All permissions of group and others, but for the group's to pass through, which the server's user may need.
_OPEN_TO_OTHERS = 0o067
# A process that only calls `is_locked` has the lock for an instant; a start must wait that long.
_PATIENCE_S = 0.5
_NOTE_BYTES = 512
KEY_PREFIX = "mp_"
_LOCKS = ("lock", "users", "postgres/lock", "valkey/lock")
_SECRETS = ("postgres/password", "valkey/password")


@dataclass(slots=True)
class DirectoryLock:
    """A lock that we have; the kernel releases it when the process ends, however it ends."""

    path: Path
    _descriptor: int | None

    @classmethod
    def acquire(cls, directory: Path, *, note: str = "") -> DirectoryLock:
        """Take the lock of `directory`, and write our pid and a note into its file.

        Raises DirectoryInUse with the pid and note of the process that has it, and Untrusted.
        """
        path = directory / "lock"
        descriptor = open_trusted(path, os.O_RDWR | os.O_CREAT)
        deadline = time.monotonic() + _PATIENCE_S
        while not try_lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                holder = os.pread(descriptor, _NOTE_BYTES, 0).decode("ascii", "replace").strip() or "unknown"
                os.close(descriptor)
                raise DirectoryInUse(directory, holder)
            time.sleep(0.02)
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}{note}\n".encode("ascii"), 0)
        except OSError:
            # A full disk: release the lock, so that we can try again.
            os.close(descriptor)
            raise
        return cls(path, descriptor)

    def release(self) -> None:
        """Release the lock; releasing twice is harmless."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@dataclass(frozen=True, slots=True)
class RunningServers:
    """What other commands need to find a running `milepost up`; the addresses contain passwords."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    api_url: str
    supervisor_pid: int
    child_pids: dict[str, int]

    @property
    def is_prepared(self) -> bool:
        """Whether the schema and the first tenant are there: the supervisor makes them before it starts a child."""
        return bool(self.child_pids)


@dataclass(frozen=True, slots=True)
class DataDir:
    """A data directory; nothing is made or read before a method is called."""

    path: Path

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def valkey(self) -> Path:
        return self.path / "valkey"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def background_log(self) -> Path:
        """The log of supervisors that an application started in the background."""
        return self.logs / "up.log"

    @property
    def _servers(self) -> Path:
        return self.path / "servers.json"

    @property
    def _key(self) -> Path:
        return self.path / "key"

    @property
    def _secrets_key(self) -> Path:
        return self.path / "secrets_key"

    def open(self) -> DataDir:
        """Make the directory if need be, with mode 700; returns it with its absolute path. Raises DirectoryUnusable."""
        self.require_trusted()
        path = private_folder(self.path)
        private_folder(path / "logs")
        return DataDir(path)

    def require_trusted(self) -> None:
        """Raise Untrusted if another user owns or may write the directory or a file in it that Milepost acts on.

        All are checked, whichever the caller needs, so that a refusal comes before anything is started.
        """
        files = [self._key, self._servers, self._secrets_key, self.background_log]
        for path in (*files, *(self.path / name for name in (*_LOCKS, *_SECRETS))):
            require_trusted(path)
        require_our_tree(self.valkey)
        # Its contents belong to the user that the server runs as, and are checked before the server is started.
        with suppress(OSError):
            require_trusted_links(self.postgres / "data")

    def lock(self, *, note: str = "") -> DirectoryLock:
        """Take the lock to run servers here; raises DirectoryInUse with the pid and note of the process that has it."""
        return DirectoryLock.acquire(self.path, note=note)

    def keep_key(self, wanted: str | None) -> str:
        """The first API key in clear: `wanted`, else the one stored here, else a new one; it is stored."""
        if wanted is not None:
            write_private(self._key, wanted + "\n")
            return wanted
        return keep_secret(self._key, prefix=KEY_PREFIX)

    def renew_key(self) -> str:
        """A new first API key in clear; it replaces the stored one."""
        self._key.unlink(missing_ok=True)
        return self.keep_key(None)

    def keep_secrets_key(self) -> str:
        """The key that encrypts the secrets of webhooks, stored here; a new one if there is none yet."""
        return keep_secret(self._secrets_key)

    def secrets_key(self) -> str | None:
        """The key that `keep_secrets_key` has stored here; None if there is none."""
        return self.keep_secrets_key() if os.path.lexists(self._secrets_key) else None

    def publish(self, servers: RunningServers) -> None:
        """Write where the servers are, for other commands of the same user."""
        write_private(self._servers, simplejson.dumps(asdict(servers), indent=2) + "\n")

    def withdraw(self) -> None:
        """Remove what `publish` wrote: nothing runs here any more."""
        self._servers.unlink(missing_ok=True)

    def servers(self) -> RunningServers | None:
        """Where the servers are; None if no supervisor runs here now, even if a killed one left its file.

        Raises Untrusted.
        """
        self.require_trusted()
        try:
            text = read_trusted(self._servers)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return None
        return RunningServers(**simplejson.loads(text)) if is_locked(self.path) else None


def private_folder(path: Path) -> Path:
    """Make `path` if it is not there, with mode 700; returns it absolute. Raises DirectoryUnusable."""
    try:
        require_trusted_links(path)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with trusted_folder(path) as folder:
            if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
                raise DirectoryUnusable(f"{path} is not yours to write")
            if stat.S_IMODE(os.fstat(folder).st_mode) & _OPEN_TO_OTHERS:
                _restrict(path, folder)
    except OSError as error:
        raise DirectoryUnusable(f"cannot use {path}: {error.strerror or error}") from None
    return path.resolve()


def write_private(path: Path, text: str) -> None:
    """Replace the whole file atomically, with mode 600, synced to disk."""
    fresh = f"{path.name}.new"
    with trusted_folder(path.parent) as folder:
        with suppress(FileNotFoundError):
            os.unlink(fresh, dir_fd=folder)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path.name, src_dir_fd=folder, dst_dir_fd=folder)


def keep_secret(path: Path, *, prefix: str = "") -> str:
    """The secret in the file; if there is none yet, a new one, safe in a URL, which is stored."""
    with suppress(FileNotFoundError):
        if stored := read_trusted(path).strip():
            return stored
    write_private(path, prefix + secrets.token_urlsafe(32) + "\n")
    return read_trusted(path).strip()


def is_locked(directory: Path) -> bool:
    """Whether some process has the lock of `directory` now; raises Untrusted."""
    try:
        descriptor = open_trusted(directory / "lock", os.O_RDWR)
    except (FileNotFoundError, PermissionError):
        return False
    try:
        # A shared lock: two processes that ask at the same time must not see each other's.
        return not try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def try_lock(descriptor: int, kind: int) -> bool:
    """Try to lock an open file, `kind` being LOCK_EX or LOCK_SH; returns whether we have the lock now."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _restrict(path: Path, folder: int) -> None:
    """Give a folder mode 700; refuse one that is not ours yet and contains other things."""
    if not (path / "lock").exists() and any(path.iterdir()):
        raise DirectoryUnusable(f"{path} holds other things and is open to others; choose a folder of its own")
    os.fchmod(folder, 0o700)
