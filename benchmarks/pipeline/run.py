"""Measures each workload in copies of one seeded database, and baseline writes of the same rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from benchmarks.check import check_baseline, check_result, count_entries
from benchmarks.pipeline.baseline_rows import Shard
from benchmarks.pipeline.baseline_writes import prepare_baseline_copy, prepare_baseline_writes
from benchmarks.pipeline.drains import prepare_drain
from benchmarks.seed import seed
from benchmarks.servers import ServerUrls, database, empty, unlimited, world
from benchmarks.workers import Run, Work, seconds, work_side_by_side
from benchmarks.workload import SPAN, BenchEvent, Workload, account_id, make_events, sums
from core.errors import MilepostError
from core.settings import Settings, load_settings
from core.store.database import Sessions, open_sessions
from core.store.tenants import DEFAULT
from core.stream.backlog import shard_statuses
from core.stream.stream import EventStream, connect
from milepost.ops.latency import StepProgress

# The time between the seed and the first event, so that every link has begun.
MARGIN = timedelta(hours=1)
_SEEDED = "bench_seeded"
_STALLED_S = 60.0
_POLL_S = 0.02

_PrepareBaseline = Callable[[str, str, Shard], Work[int]]


class NotDrained(MilepostError):
    """The drains did not reach the end of the stream."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure; `workers` is the number of drain processes, and of shards."""

    events: int
    accounts: int
    workers: int
    batch_events: int
    workloads: Sequence[Workload]


@dataclass(frozen=True, slots=True)
class WorkloadStats:
    """The results of one workload. Rates are events per second, rounded."""

    workload: str
    events: int
    accounts: int
    workers: int
    batch_events: int
    append_seconds: float
    drain_seconds: float
    copy_seconds: float
    bare_writes_seconds: float
    peak_rss_bytes: int

    @property
    def pipeline_events_per_s(self) -> int:
        """The rate of the drains, from the first read to the last commit."""
        return round(self.events / self.drain_seconds)

    @property
    def end_to_end_events_per_s(self) -> int:
        """The rate of appending all events to the stream and then draining it."""
        return round(self.events / (self.append_seconds + self.drain_seconds))

    @property
    def copy_events_per_s(self) -> int:
        """The rate of the baseline COPY of the same transactions."""
        return round(self.events / self.copy_seconds)

    @property
    def bare_writes_events_per_s(self) -> int:
        """The rate of the baseline writes: all rows of the pipeline's batches, known to the process in advance."""
        return round(self.events / self.bare_writes_seconds)

    @property
    def pipeline_to_copy(self) -> float:
        """The drains' rate as a share of the baseline COPY's."""
        return round(self.copy_seconds / self.drain_seconds, 3)

    @property
    def pipeline_to_bare_writes(self) -> float:
        """The drains' rate as a share of the baseline writes'."""
        return round(self.bare_writes_seconds / self.drain_seconds, 3)


@dataclass(frozen=True, slots=True)
class Bench:
    """One workload that is being measured: the plan, the servers, and the events."""

    plan: Plan
    servers: ServerUrls
    workload: Workload
    events: Sequence[BenchEvent]
    progress: StepProgress
    name: str


def run_plan(plan: Plan, servers: ServerUrls, progress: StepProgress) -> Iterator[WorkloadStats]:
    """Measure each workload of the plan; raises WrongResult if the result does not fit the events."""
    seeded_at = datetime.now(UTC) - SPAN - 2 * MARGIN
    with database(servers.postgres_url, _SEEDED) as seeded_url:
        with progress.step("seed"):
            seed(seeded_url, plan.accounts, seeded_at)
        for workload in plan.workloads:
            events = make_events(workload, plan.events, plan.accounts, seeded_at + MARGIN)
            yield _measure(Bench(plan, servers, workload, events, progress, workload))


def _measure(bench: Bench) -> WorkloadStats:
    plan, workload = bench.plan, bench.workload
    with world(bench.servers.postgres_url, f"bench_{workload}", template=_SEEDED) as url:
        append_s, drained = append_and_drain(bench, url)
        with bench.progress.step(f"{workload}: check"), unlimited(url) as engine:
            check_result(engine, workload, sums(bench.events), plan.events, plan.accounts)
            entries = count_entries(engine)
        copy_s = _time_baseline(bench, "baseline COPY", prepare_baseline_copy, url, entries=None)
        bare_writes_s = _time_baseline(bench, "baseline writes", prepare_baseline_writes, url, entries=entries)
    return WorkloadStats(
        workload=workload,
        events=plan.events,
        accounts=plan.accounts,
        workers=plan.workers,
        batch_events=plan.batch_events,
        append_seconds=append_s,
        drain_seconds=seconds(drained),
        copy_seconds=copy_s,
        bare_writes_seconds=bare_writes_s,
        peak_rss_bytes=max(run.peak_rss_bytes for run in drained),
    )


def append_and_drain(bench: Bench, database_url: str) -> tuple[float, list[Run[int]]]:
    """Append the events to an emptied stream, then drain it; returns the seconds of appending and each drain's run."""
    plan, servers, name = bench.plan, bench.servers, bench.name
    settings = drain_settings(plan, servers, database_url)
    bodies = [(account_id(event.account), event.to_json()) for event in bench.events]
    empty(servers)
    with (
        connect(servers.redis_url) as client,
        open_sessions(database_url, application_name="milepost bench", limits={}) as sessions,
    ):
        stream = EventStream(client, settings.shards)
        with bench.progress.step(f"{name}: append", len(bodies)):
            append_s = _timed_append(stream, bodies)
        with bench.progress.step(f"{name}: drain", len(bodies)) as reached:
            drains = [partial(prepare_drain, settings, shard) for shard in range(settings.shards)]
            drained = work_side_by_side(drains, lambda: reached(len(bodies) - unapplied(sessions, stream)))
    return append_s, drained


def drain_settings(plan: Plan, servers: ServerUrls, database_url: str) -> Settings:
    """The settings of the drains."""
    return load_settings(
        database_url=database_url,
        redis_url=servers.redis_url,
        shards=plan.workers,
        batch_events=plan.batch_events,
        stream_durability="auto",
    )


def _time_baseline(
    bench: Bench, name: str, prepare: _PrepareBaseline, drained_url: str, *, entries: int | None
) -> float:
    """Seconds to write the drained rows into a copy of the seeded database, with the same processes and batches."""
    plan, workload = bench.plan, bench.workload
    with (
        bench.progress.step(f"{workload}: {name}"),
        world(bench.servers.postgres_url, "bench_baseline", template=_SEEDED) as baseline_url,
    ):
        shards = [Shard(number, plan.workers, plan.batch_events) for number in range(plan.workers)]
        writers = [partial(prepare, drained_url, baseline_url, shard) for shard in shards]
        written = work_side_by_side(writers, lambda: None)
        with unlimited(baseline_url) as engine:
            check_baseline(engine, f"{workload}, {name}", sums(bench.events), plan.events, entries)
    return seconds(written)


def _timed_append(stream: EventStream, bodies: Sequence[tuple[str, bytes]]) -> float:
    began_s = time.monotonic()
    stream.append(DEFAULT, bodies)
    return time.monotonic() - began_s


def await_applied(sessions: Sessions, stream: EventStream, *, but: int = 0) -> None:
    """Wait until at most `but` entries are left to apply; raises NotDrained if the drains make no progress."""
    least: int | None = None
    while (left := unapplied(sessions, stream)) > but:
        if least is None or left < least:
            least, progressed_s = left, time.monotonic()
        if time.monotonic() - progressed_s > _STALLED_S:
            raise NotDrained(f"{left:,} events are on the stream, and none was applied in {_STALLED_S:g} s")
        time.sleep(_POLL_S)


def unapplied(sessions: Sessions, stream: EventStream) -> int:
    """The number of entries that wait on all shards."""
    return sum(shard.unapplied for shard in shard_statuses(sessions, stream))
