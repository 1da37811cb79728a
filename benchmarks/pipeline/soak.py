"""A soak: sends many events through a whole Milepost and records the memory of its drains.

Events are made as they are appended, and the stream is trimmed after they are applied, so that only Postgres grows.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path

from redis import Redis
from sqlalchemy import Engine

from benchmarks.check import check_live
from benchmarks.memory import rss_bytes_of
from benchmarks.pipeline.live import Live, milepost_up
from benchmarks.pipeline.run import Plan, await_applied, drain_settings
from benchmarks.seed import HAS_BEGUN, seed
from benchmarks.servers import ServerUrls, database, database_bytes, empty, unlimited
from benchmarks.workers import Work, work_side_by_side
from benchmarks.workload import Workload, account_id, each_event
from core.errors import MilepostError, StreamUnavailable
from core.jobs.sweep import sweep
from core.settings import Settings
from core.store.database import Sessions, open_sessions
from core.store.tenants import DEFAULT
from core.stream.stats import read_drain_stats
from core.stream.stream import EventStream, connect
from milepost.ops.latency import Reached, StepProgress

INTERVALS = 20
_APPENDED_EVENTS = 1_000
_TRIM_EVERY = 50_000
# Enough for every drain to find full batches.
_UNAPPLIED_MOST = 20_000
_POLL_S = 0.02
# As measured: rows, their indexes, and the space that checkpoints and the write-ahead log need in addition.
_DISK_BYTES_AN_EVENT, _DISK_BYTES_AT_LEAST = 1_500, 4 * 2**30
_FLAT_WITHIN = 0.10


class DiskTooSmall(MilepostError):
    """The rows of the events would fill the disk."""

    def __init__(self, folder: str, needed: int, free: int) -> None:
        super().__init__(
            f"so many events need some {needed / 2**30:,.0f} GB in {folder}, which has {free / 2**30:,.0f} GB: "
            "soak with fewer, or set TMPDIR to a folder on a larger disk"
        )


class NoProcesses(MilepostError):
    """The drains' processes are not visible."""


@dataclass(frozen=True, slots=True)
class SoakPoint:
    """One interval of the events: the values at its end, and the most memory of the largest drain within it."""

    events: int
    seconds: float
    drain_rss_bytes: int
    stream_bytes: int
    database_bytes: int


@dataclass(frozen=True, slots=True)
class SoakStats:
    """All intervals in order; each has the same number of events."""

    workload: str
    points: list[SoakPoint]

    @property
    def growth(self) -> float:
        """The growth of the drains' memory after the first tenth, as a share of their memory in the first tenth."""
        first = len(self.points) // 10 or 1
        early = max(point.drain_rss_bytes for point in self.points[:first])
        late = max(point.drain_rss_bytes for point in self.points[first:] or self.points)
        return round(late / early - 1, 3)

    @property
    def is_flat(self) -> bool:
        """Whether it grew by at most a tenth."""
        return self.growth <= _FLAT_WITHIN


def require_disk(events: int) -> None:
    """Raise DiskTooSmall unless the temporary folder has space for the rows of that many events."""
    folder = tempfile.gettempdir()
    needed, free = events * _DISK_BYTES_AN_EVENT + _DISK_BYTES_AT_LEAST, shutil.disk_usage(folder).free
    if free < needed:
        raise DiskTooSmall(folder, needed, free)


def run_soak(plan: Plan, workload: Workload, servers: ServerUrls, progress: StepProgress) -> SoakStats:
    """Send the plan's events through a Milepost of its own; raises WrongResult if any was lost or changed."""
    with database(servers.postgres_url, "bench_soak") as url, unlimited(url) as engine:
        since, settings = datetime.now(UTC), drain_settings(plan, servers, url)
        with progress.step("soak: seed"):
            seed(url, plan.accounts, since, is_closed=True)
        empty(servers)
        with connect(servers.redis_url) as client, milepost_up(settings) as live:
            with progress.step("soak", plan.events) as reached:
                monitor = Monitor(plan.events, settings.shards, live, client, engine, reached)
                feed = partial(prepare_feed, settings, plan, workload, since + HAS_BEGUN)
                (fed,) = work_side_by_side([feed], monitor.collect)
                monitor.collect()
            with progress.step("soak: check"):
                check_live(engine, "the soak", fed.result, plan.events)
    return SoakStats(workload, monitor.points)


def prepare_feed(settings: Settings, plan: Plan, workload: Workload, since: datetime) -> Work[dict[str, int]]:
    """The work appends all events, never far ahead of the drains, and waits until they are applied.

    It returns their sums by account, in minor units.
    """
    assert settings.redis_url is not None, "the bench names both servers"
    stream = EventStream(connect(settings.redis_url.get_secret_value()), settings.shards)
    sessions = open_sessions(settings, application_name="milepost bench")

    def work() -> dict[str, int]:
        totals: dict[str, int] = {}
        events = each_event(workload, plan.events, plan.accounts, since, timedelta(seconds=1))
        for number, some in enumerate(iter(lambda: list(islice(events, _APPENDED_EVENTS)), [])):
            for event in some:
                name = account_id(event.account)
                totals[name] = totals.get(name, 0) + event.amount_minor
            await_applied(sessions, stream, but=_UNAPPLIED_MOST)
            _append(sessions, stream, [(account_id(event.account), event.to_json()) for event in some])
            if number % (_TRIM_EVERY // _APPENDED_EVENTS) == 0:
                sweep(sessions, stream)
        await_applied(sessions, stream)
        sweep(sessions, stream)
        return totals

    return work


def _append(sessions: Sessions, stream: EventStream, bodies: list[tuple[str, bytes]]) -> None:
    """Append, and try again while the stream is full: an event that is there twice changes nothing."""
    while True:
        try:
            stream.append(DEFAULT, bodies)
        except StreamUnavailable:
            sweep(sessions, stream)
            time.sleep(_POLL_S)
        else:
            return


@dataclass(slots=True)
class Monitor:
    """Collects the drains' memory twice a second, and records a point at the end of every interval."""

    events: int
    shards: int
    live: Live
    client: Redis
    engine: Engine
    reached: Reached
    points: list[SoakPoint] = field(default_factory=list)
    _began_s: float = field(default_factory=time.monotonic)
    _most: int = 0

    def collect(self) -> None:
        """Read the drains' memory; at the end of an interval, record everything."""
        self._most = max(self._most, self._largest_drain())
        applied = sum(stats.events for stats in read_drain_stats(self.client, range(self.shards)).values())
        self.reached(min(applied, self.events))
        while len(self.points) < INTERVALS and applied >= self.events * (len(self.points) + 1) // INTERVALS:
            self._end_interval(applied)

    def _end_interval(self, applied: int) -> None:
        stream_bytes = int(self.client.info("memory")["used_memory"])
        seconds = round(time.monotonic() - self._began_s, 1)
        self.points.append(SoakPoint(applied, seconds, self._most, stream_bytes, database_bytes(self.engine)))
        self._most = self._largest_drain()

    def _largest_drain(self) -> int:
        pids = children_of(self.live.pids["worker drains"])
        sizes = [size for pid in pids if (size := rss_bytes_of(pid)) is not None]
        if not sizes:
            raise NoProcesses("the memory of the drains cannot be read: a soak needs Linux's /proc, and running drains")
        return max(sizes)


def children_of(pid: int) -> list[int]:
    """The living processes that `pid` has started, in order of their ids."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # Split after the last bracket: the process name before it may contain anything, brackets too.
            state, parent = path.read_text("utf-8", "replace").rpartition(")")[2].split()[:2]
            if int(parent) == pid and state not in {"Z", "X"}:
                found.append(int(path.parent.name))
    return sorted(found)
