"""Who uses the servers of a data directory: a lock that users share, and how long it has had no users."""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

from milepost.embedded.datadir import try_lock
from milepost.embedded.errors import DirectoryUnusable
from milepost.embedded.trust import open_trusted

_NAME = "users"


@dataclass(slots=True)
class UsersLock:
    """A shared lock. Forks share it: it is released when the last of them has ended or released it."""

    _descriptor: int | None

    @classmethod
    def try_share(cls, directory: Path) -> UsersLock | None:
        """Take a shared lock; None while a supervisor has it: for an instant, or, if it is stopping, until it ends."""
        return cls._share(_open(directory))

    @classmethod
    def _share(cls, descriptor: int) -> UsersLock | None:
        if try_lock(descriptor, fcntl.LOCK_SH):
            return cls(descriptor)
        os.close(descriptor)
        return None

    @classmethod
    def hold_idle(cls, directory: Path) -> UsersLock | None:
        """Share the lock while a process is still starting, so that servers which nobody uses do not stop meanwhile.

        None if there is nothing to hold, and then nothing is made; opening the servers says why.
        """
        try:
            return cls._share(open_trusted(directory / _NAME, os.O_RDWR))
        except (OSError, DirectoryUnusable):
            return None

    def release(self) -> None:
        """Release the lock; releasing twice is harmless."""
        if self._descriptor is not None:
            # Close, do not unlock: unlocking would take the lock from our forks as well.
            os.close(self._descriptor)
            self._descriptor = None


class IdleTimer:
    """Says when nobody has used the servers of `directory` for `linger_s`; with None it never does."""

    def __init__(self, directory: Path, linger_s: float | None) -> None:
        self._linger_s = linger_s
        self._descriptor = None if linger_s is None else _open(directory)
        self._idle_since: float | None = None

    def has_expired(self) -> bool:
        """Whether nobody has used them for so long; once it is True, new users wait until `close`."""
        if self._descriptor is None or self._linger_s is None:
            return False
        if not try_lock(self._descriptor, fcntl.LOCK_EX):
            self._idle_since = None
            return False
        now = time.monotonic()
        self._idle_since = now if self._idle_since is None else self._idle_since
        if now - self._idle_since >= self._linger_s:
            return True
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return False

    def close(self) -> None:
        """Let new users in."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _open(directory: Path) -> int:
    return open_trusted(directory / _NAME, os.O_RDWR | os.O_CREAT)
