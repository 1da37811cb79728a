"""What a job is: one record in its module, which the schedule, the worker, the command line and the metrics read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Protocol

from sqlalchemy.orm import Session, sessionmaker

from core.stream.stream import EventStream

DRAIN_TASK = "milepost.apply_events"
DRAIN_QUEUE = "milepost.drains"
JOB_QUEUE = "milepost.jobs"

TIME_SLICE_S = 60.0
"""How long a part of a job may work before it gives way to others and is sent again."""

NIGHTLY_QUIET = timedelta(hours=30)
"""A day, one in which clocks go back, and the hours of the beat until all jobs had their turn."""

Sessions = sessionmaker[Session]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class WholeRun:
    """What `milepost run` gives a job. `through` is the last day it is for, None: the last one that has closed."""

    sessions: Sessions
    stream: EventStream
    now: datetime
    through: date | None
    on_progress: Say


class Servers(Protocol):
    """What a worker gives a job: its servers, the time, and ways to start other work."""

    @property
    def sessions(self) -> Sessions:
        """Sessions of the database."""

    @property
    def stream(self) -> EventStream:
        """The stream of events."""

    def now(self) -> datetime:
        """The clock of the worker's process."""

    def database_now(self) -> datetime:
        """The database's clock, which decides when a day is over."""

    def start_drains(self, shards: Iterable[int]) -> None:
        """Start a drain of each of these shards."""

    def start_job(self, job: Job) -> None:
        """Start a job before its schedule does."""


@dataclass(frozen=True, slots=True)
class PartDone:
    """What a part did, as a number for the log; `rest` is what it is sent again with, None if it is done."""

    count: int
    rest: tuple[Any, ...] | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """How a job's work is divided: each part is a message of its own, so that several workers share the job.

    `due` gives the arguments of each part that has something to do, as JSON values in the order of `arguments`; `run`
    takes them after the servers. A part that may take longer than other tasks says so in `longest_s`: its message is
    then acknowledged before it is run, since the broker would deliver it again while it runs.
    """

    name: str
    arguments: tuple[str, ...]
    due: Callable[[Servers], Iterable[tuple[Any, ...]]]
    run: Callable[..., PartDone]
    longest_s: int | None = None

    @property
    def task(self) -> str:
        """The name of its task."""
        return f"milepost.{self.name}"


@dataclass(frozen=True, slots=True)
class Job:
    """One job. Its cadence is in `schedules/table.py`.

    `run` does the whole job now and returns a dataclass that says what it did. `scheduled` is what the schedule
    starts: parts, or a function that returns a number for the log. `name` is also what it notes its runs under.

    A message that starts the job or a part of it is dropped once it is `expires_s` old. `quiet_after` is how long after
    the last noted run something is wrong, None for a job that notes none; a job that `is_for_each_tenant` notes runs
    under each, another under the tenant `default`. An audit's runs say how many `violations` they found.
    """

    name: str
    run: Callable[[WholeRun], Any]
    scheduled: Parts | Callable[[Servers], int]
    queue: str = JOB_QUEUE
    expires_s: float = 3_000.0
    takes_day: bool = False
    quiet_after: timedelta | None = NIGHTLY_QUIET
    is_for_each_tenant: bool = True
    is_audit: bool = False

    @property
    def task(self) -> str:
        """The name of the task that the schedule starts."""
        return f"milepost.{self.name}"
