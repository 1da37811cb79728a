"""The record of a job, one in each module of this folder. Schedule, worker, command line and metrics read them.

The API reads them for its metrics. It must not import `schedules`: an application that runs it in its own process may
have a package of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from importlib import import_module
from operator import attrgetter
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Protocol

from core.settings import Settings
from core.store.database import Sessions
from core.stream.stream import EventStream

if TYPE_CHECKING:
    from core.delivery.deliverer import Deliverer

DRAIN_TASK = "milepost.apply_events"
DRAIN_QUEUE = "milepost.drains"
JOB_QUEUE = "milepost.jobs"
DELIVERY_QUEUE = "milepost.deliveries"

TIME_SLICE_S = 60.0
"""How long a part of a job may work before it stops, to let others work, and is sent again."""

NIGHTLY_QUIET = timedelta(hours=30)
"""A day of up to 25 hours, since clocks may go back, and the hours until the scheduler has started every job."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class WholeRun:
    """What `milepost run` passes to a job. `through` is the last day to work on; None: the last closed day."""

    sessions: Sessions
    stream: EventStream
    settings: Settings
    now: datetime
    through: date | None
    on_progress: Say


class Servers(Protocol):
    """What a worker passes to a job: its servers, the time, and ways to start other work."""

    @property
    def sessions(self) -> Sessions:
        """Sessions of the database."""

    @property
    def stream(self) -> EventStream:
        """The stream of events."""

    @property
    def deliverer(self) -> Deliverer:
        """What delivers messages, with what it has in progress."""

    def now(self) -> datetime:
        """The clock of the worker's process."""

    def database_now(self) -> datetime:
        """The database's clock, which decides when a day is over."""

    def start_drains(self, shards: Iterable[int]) -> None:
        """Start a drain of each of these shards."""

    def start_job(self, job: Job) -> None:
        """Start a job now, before the schedule does."""


@dataclass(frozen=True, slots=True)
class PartDone:
    """How much a part did, for the log. `rest`: the arguments to send it again with; None if it is done."""

    count: int
    rest: tuple[Any, ...] | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """How a job's work is divided. Each part is a message of its own, so that several workers share the job.

    `due` returns the arguments of each part that has something to do, as JSON values in the order of `arguments`; `run`
    gets them after the servers. `longest_s` is set for a part that may take longer than other tasks: its message is
    acknowledged before the part runs, since otherwise the broker would deliver it again meanwhile.
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

    `run` does the whole job now and returns a dataclass that says what it did. `scheduled` is what the schedule starts:
    parts, or a function that returns a number for the log. Runs are noted under `name`.

    A message that starts the job or a part of it is dropped once it is `expires_s` old. If no run was noted for
    `quiet_after`, something is wrong; it is None for a job that notes no runs. A job that `is_for_each_tenant` notes a
    run for each tenant, any other under the tenant `default`. Runs of an audit say how many `violations` they found.
    A message is `acked_early`, before it is run, if nothing is lost with it: the next one comes soon.
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
    acked_early: bool = False

    @property
    def task(self) -> str:
        """The name of the task that the schedule starts."""
        return f"milepost.{self.name}"


@cache
def jobs() -> tuple[Job, ...]:
    """All jobs, sorted by name: a module of this folder that has a record is found without being listed anywhere."""
    folder = __name__.rpartition(".")[0]
    names = (f"{folder}.{each.name}" for each in iter_modules(import_module(folder).__path__))
    values = [value for name in names for value in vars(import_module(name)).values()]
    # A record is in the namespace of each module that imports it.
    found = {id(value): value for value in values if isinstance(value, Job)}
    listed = sorted(job.name for job in found.values())
    if len(listed) > len(set(listed)):
        raise ValueError(f"two jobs have one name: {', '.join(listed)}")
    return tuple(sorted(found.values(), key=attrgetter("name")))


def job_named(name: str) -> Job:
    """The job of this name; raises KeyError."""
    return {job.name: job for job in jobs()}[name]
