"""The lock that lets one process at a time use a directory, and tells the others who that is."""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

from milepost.embedded.errors import DirectoryInUse

# Someone who only asks `is_held` has the lock for an instant; that must not refuse a start.
_PATIENCE_S = 0.5
_NOTE_BYTES = 512


@dataclass(slots=True)
class DirectoryLock:
    """A held lock; the kernel releases it when the process ends, however it ends."""

    path: Path
    _descriptor: int | None

    @classmethod
    def acquire(cls, directory: Path, *, note: str = "") -> DirectoryLock:
        """Take the lock of `directory` and leave our pid and a note; raises DirectoryInUse telling its holder's."""
        path = directory / "lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
            # A full disk: whoever tries again must not find the lock held, by us.
            os.close(descriptor)
            raise
        return cls(path, descriptor)

    def release(self) -> None:
        """Let the next one in; releasing twice is harmless."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_held(directory: Path) -> bool:
    """Whether some process holds the lock of `directory` now."""
    try:
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return False
    try:
        # Shared: two that ask at once must not take each other for a holder.
        return not try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def try_lock(descriptor: int, kind: int) -> bool:
    """Whether we have the lock of an open file now, `kind` being LOCK_EX or LOCK_SH."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
