"""Who uses the servers of a data directory: each process that does shares the lock of one file in it.

The kernel gives a share back however its process ends, so no user has to say goodbye. Nobody gets servers that are
about to end for want of users:
1. a user takes its share, then looks for servers: those it finds are not ended for want of users.
2. a supervisor takes the whole lock, then ends its servers, then lets go: whoever comes meanwhile waits in 1, and then
   finds none and starts new ones.
A crash after either step gives the lock back.
"""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

from milepost.embedded.lock import try_lock

# Programs that run one after the other should not start the servers anew each time.
LINGER_S = 10.0


@dataclass(slots=True)
class UsersLock:
    """A share in the lock. A fork has it, too: it is given back when the last of them has ended or let go."""

    _descriptor: int | None

    @classmethod
    def try_share(cls, directory: Path) -> UsersLock | None:
        """Take a share; None while a supervisor has the lock, which is for an instant, or until it has ended."""
        descriptor = _open(directory)
        if try_lock(descriptor, fcntl.LOCK_SH):
            return cls(descriptor)
        os.close(descriptor)
        return None

    def release(self) -> None:
        """Give the share back; releasing twice is harmless."""
        if self._descriptor is not None:
            # Closed and not unlocked: that would take the share from our forks as well.
            os.close(self._descriptor)
            self._descriptor = None


class Disuse:
    """Tells the supervisor of `directory` when nobody has used it for `linger_s`; None: that never comes."""

    def __init__(self, directory: Path, linger_s: float | None) -> None:
        self._linger_s = linger_s
        self._descriptor = None if linger_s is None else _open(directory)
        self._since: float | None = None

    def has_come(self) -> bool:
        """Whether it is so now; once it is, newcomers wait until `close`."""
        if self._descriptor is None or self._linger_s is None:
            return False
        if not try_lock(self._descriptor, fcntl.LOCK_EX):
            self._since = None
            return False
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since >= self._linger_s:
            return True
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return False

    def close(self) -> None:
        """Let newcomers in."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _open(directory: Path) -> int:
    return os.open(directory / "users", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
