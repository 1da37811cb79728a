"""Crash points: steps of a drain or deliverer at which a test makes the process kill itself, as `kill -9` there would.

A test names a folder in CHAOS_CRASH_POINTS and puts a file into it that is named like a step. The first process that
comes to this step removes the file and kills itself, so one file kills one process. The file `on_event` is not removed:
it contains a text, and every process that reads an event with this text kills itself.

The product has no crash points. A process of the tests replaces the worker's drain by CrashingDrain, and what sends
messages by CrashingSender.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from core.delivery import deliverer
from core.delivery.sender import Outcome
from core.delivery.side_by_side import Parcel, SideBySide
from core.ingestion.apply import Applied
from core.ingestion.decode import Batch, Decoded
from core.ingestion.drain import ShardDrain, Step
from core.store.deliveries import Claimed, Ready, claim_deliveries
from core.store.driver import Session
from core.store.positions import Position
from core.stream.entries import RawEntry
from worker import context

VARIABLE = "CHAOS_CRASH_POINTS"
AFTER_BEGIN = "after_begin"
AFTER_READ = "after_read"
BEFORE_COMMIT = "before_commit"
AFTER_COMMIT = "after_commit"
POINTS = (AFTER_BEGIN, AFTER_READ, BEFORE_COMMIT, AFTER_COMMIT)
ON_EVENT = "on_event"
BEFORE_CLAIM = "before_claim"
AFTER_CLAIM = "after_claim"
BEFORE_RECORD = "before_record"
DELIVERY_POINTS = (BEFORE_CLAIM, AFTER_CLAIM, BEFORE_RECORD)


@dataclass(frozen=True, slots=True)
class CrashPoints:
    """The folder with the files that name crash points."""

    folder: Path

    @classmethod
    def of_environment(cls) -> CrashPoints:
        """The folder that the test has set in this process's environment."""
        return cls(Path(os.environ[VARIABLE]))

    def reach(self, point: str) -> None:
        """Kill this process if a file of this name is there."""
        if _remove(self.folder / point):
            _die()

    def reach_read(self, entries: Sequence[RawEntry]) -> None:
        """The step after a read; kills this process also if one of the entries contains the text of `on_event`."""
        self.reach(AFTER_READ)
        if _contains(entries, self.folder / ON_EVENT):
            _die()


@dataclass(frozen=True)
class CrashingDrain(ShardDrain):
    """The product's drain with a crash point at each of its steps."""

    crash_points: CrashPoints = field(default_factory=CrashPoints.of_environment)

    def _begin(self) -> Step:
        """The step after the begin is noted."""
        step = super()._begin()
        if step.goes_on:
            self.crash_points.reach(AFTER_BEGIN)
        return step

    def _decoded(self, session: Session, batch: Batch) -> Decoded:
        """The step after the read."""
        self.crash_points.reach_read(batch.raw)
        return super()._decoded(session, batch)

    def _pass(self, session: Session, position: Position, batch: Batch, *, goes_on: bool) -> None:
        """The step before the commit."""
        super()._pass(session, position, batch, goes_on=goes_on)
        self.crash_points.reach(BEFORE_COMMIT)

    def _finish(self, batch: Batch, applied: Applied, began: float) -> None:
        """The step after the commit."""
        self.crash_points.reach(AFTER_COMMIT)
        super()._finish(batch, applied, began)


class CrashingSender(SideBySide):
    """What sends the product's messages, with a crash point before it sends and one after it has answers."""

    def send(self, parcels: Sequence[Parcel]) -> None:
        """The step after the claim is committed, when nothing is sent."""
        if parcels:
            CrashPoints.of_environment().reach(AFTER_CLAIM)
        super().send(parcels)

    def take(self) -> list[tuple[object, Outcome]]:
        """The step between an answer and its record."""
        taken = super().take()
        if taken:
            CrashPoints.of_environment().reach(BEFORE_RECORD)
        return taken


def use_crashing_deliverer() -> None:
    """Make the deliverer of this process have crash points."""
    deliverer.SideBySide = CrashingSender  # type: ignore[attr-defined]  # where the deliverer finds what sends
    deliverer.claim_deliveries = _claim  # type: ignore[attr-defined]  # and what claims


def _claim(session: Session, endpoints: Sequence[Ready], now: datetime, most: int, failing_most: int) -> list[Claimed]:
    """The step before the claim of what is due."""
    CrashPoints.of_environment().reach(BEFORE_CLAIM)
    return claim_deliveries(session, endpoints, now, most, failing_most)


def use_drain(drain: type[ShardDrain]) -> None:
    """Make the worker of this process use another class of drain."""
    context.ShardDrain = drain  # type: ignore[attr-defined]  # where the worker finds the class of its drains


def _remove(file: Path) -> bool:
    """Whether the file was there; of several processes only one removes it."""
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True


def _contains(entries: Sequence[RawEntry], file: Path) -> bool:
    try:
        wanted = file.read_bytes()
    except FileNotFoundError:
        return False
    return any(wanted in event for _, _, event in entries)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
