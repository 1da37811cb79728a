"""Crash points: the steps of a drain at which a test may have its process die, as a kill -9 there would.

A test names a folder (MILEPOST_CRASH_POINTS) and puts a file into it that is named like a point. The first process to
come by takes the file away and dies, so that one file is one death. `on_event` is no step but a poison: its file holds
an event's id and stays, and whoever reads that event dies, however often it is tried.

Without the folder, which is how it is outside of tests, a point is a comparison with None.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.stream.position import RawEntry

AFTER_READ = "after_read"
BEFORE_COMMIT = "before_commit"
AFTER_COMMIT = "after_commit"
AFTER_ACK = "after_ack"
POINTS = (AFTER_READ, BEFORE_COMMIT, AFTER_COMMIT, AFTER_ACK)
ON_EVENT = "on_event"


@dataclass(frozen=True, slots=True)
class CrashPoints:
    """The points of one process; without a folder none of them is ever a crash."""

    folder: Path | None = None

    def reach(self, point: str) -> None:
        """Die here, if that is wanted."""
        if self.folder is not None and _takes(self.folder / point):
            _die()

    def reach_read(self, entries: Sequence[RawEntry]) -> None:
        """The point after a read; die too if one of the entries holds the event that kills."""
        if self.folder is not None:
            self.reach(AFTER_READ)
            if _holds(entries, self.folder / ON_EVENT):
                _die()


NO_CRASHES = CrashPoints()


def _takes(file: Path) -> bool:
    """Whether the file was there; of several processes that come by, one takes it."""
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True


def _holds(entries: Sequence[RawEntry], file: Path) -> bool:
    try:
        event_id = file.read_bytes()
    except FileNotFoundError:
        return False
    return any(event is not None and event_id in event for _, _, event in entries)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
