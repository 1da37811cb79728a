"""One bench: a world is seeded once, and each workload measured in copies of it, beside what bare writes take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import Engine

from benchmarks.check import check_bare, check_result, count_entries
from benchmarks.pipeline.baseline_rows import Shard
from benchmarks.pipeline.baseline_writes import prepare_bare_copy, prepare_bare_writes
from benchmarks.pipeline.drains import prepare_drain
from benchmarks.seed import seed
from benchmarks.servers import Place, database, empty, world
from benchmarks.workers import Stint, Work, seconds, work_side_by_side
from benchmarks.workload import SPAN, BenchEvent, Workload, account_id, make_events, sums
from core.errors import MilepostError
from core.settings import Settings, load_settings
from core.store.engine import make_engine
from core.store.tenants import DEFAULT
from core.stream.stream import EventStream, connect
from milepost.ops.progress import Watch

# Between the seed and the first event, so that every link has begun.
MARGIN = timedelta(hours=1)
_SEEDED = "bench_seeded"
_STALLED_S = 60.0
_LOOK_S = 0.02

_PrepareBare = Callable[[str, str, Shard], Work[int]]


class NotDrained(MilepostError):
    """The drains did not come to the end of the stream."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure; `workers` is the number of drain processes, and of shards."""

    events: int
    accounts: int
    workers: int
    batch_events: int
    workloads: Sequence[Workload]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one workload took. Rates are events per second, rounded."""

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
        """The drain: first read to last commit."""
        return round(self.events / self.drain_seconds)

    @property
    def end_to_end_events_per_s(self) -> int:
        """All appended to the stream, and after that all drained."""
        return round(self.events / (self.append_seconds + self.drain_seconds))

    @property
    def copy_events_per_s(self) -> int:
        """The bare COPY and commit."""
        return round(self.events / self.copy_seconds)

    @property
    def bare_writes_events_per_s(self) -> int:
        """All rows of the pipeline's batches, by one who knows them before."""
        return round(self.events / self.bare_writes_seconds)

    @property
    def pipeline_to_copy(self) -> float:
        """How much of the bare COPY's rate the drain reaches."""
        return round(self.copy_seconds / self.drain_seconds, 3)

    @property
    def pipeline_to_bare_writes(self) -> float:
        """How much of the bare writes' rate the drain reaches."""
        return round(self.bare_writes_seconds / self.drain_seconds, 3)


@dataclass(frozen=True, slots=True)
class Bench:
    """One workload on its way: what to measure, where, and the events."""

    plan: Plan
    place: Place
    workload: Workload
    events: Sequence[BenchEvent]
    watch: Watch
    name: str


def run_plan(plan: Plan, place: Place, watch: Watch) -> Iterator[Figures]:
    """Measure each workload of the plan; raises WrongResult if what was applied is not what the events say."""
    seeded_at = datetime.now(UTC) - SPAN - 2 * MARGIN
    with database(place.postgres_url, _SEEDED) as seeded_url:
        with watch.step("seed"), unlimited(seeded_url) as engine:
            seed(engine, plan.accounts, seeded_at)
        for workload in plan.workloads:
            events = make_events(workload, plan.events, plan.accounts, seeded_at + MARGIN)
            yield _measure(Bench(plan, place, workload, events, watch, workload))


def _measure(bench: Bench) -> Figures:
    plan, workload = bench.plan, bench.workload
    with world(bench.place.postgres_url, f"bench_{workload}", template=_SEEDED) as url:
        append_s, drained = append_and_drain(bench, url)
        with bench.watch.step(f"{workload}: check"), unlimited(url) as engine:
            check_result(engine, workload, sums(bench.events), plan.events, plan.accounts)
            entries = count_entries(engine)
        copy_s = _time_bare(bench, "bare COPY", prepare_bare_copy, url, entries=None)
        bare_writes_s = _time_bare(bench, "bare writes", prepare_bare_writes, url, entries=entries)
    return Figures(
        workload=workload,
        events=plan.events,
        accounts=plan.accounts,
        workers=plan.workers,
        batch_events=plan.batch_events,
        append_seconds=append_s,
        drain_seconds=seconds(drained),
        copy_seconds=copy_s,
        bare_writes_seconds=bare_writes_s,
        peak_rss_bytes=max(stint.peak_rss_bytes for stint in drained),
    )


def append_and_drain(bench: Bench, database_url: str) -> tuple[float, list[Stint[int]]]:
    """Append the events to an emptied stream, then drain it; the seconds of the first, and what each drain did."""
    plan, place, name = bench.plan, bench.place, bench.name
    settings = drain_settings(plan, place, database_url)
    bodies = [(account_id(event.account), event.to_json()) for event in bench.events]
    empty(place)
    with connect(place.redis_url) as client:
        stream = EventStream(client, settings.shards)
        with bench.watch.step(f"{name}: append", len(bodies)):
            append_s = _timed_append(stream, bodies)
        with bench.watch.step(f"{name}: drain", len(bodies)) as reached:
            drains = [partial(prepare_drain, settings, shard) for shard in range(settings.shards)]
            drained = work_side_by_side(drains, lambda: reached(len(bodies) - unapplied(stream)))
    return append_s, drained


def drain_settings(plan: Plan, place: Place, database_url: str) -> Settings:
    """The settings of the drains."""
    return load_settings(
        database_url=database_url,
        redis_url=place.redis_url,
        shards=plan.workers,
        batch_events=plan.batch_events,
        stream_durability="auto",
    )


def _time_bare(bench: Bench, name: str, prepare: _PrepareBare, drained_url: str, *, entries: int | None) -> float:
    """Seconds to write the drained rows into a copy of the same world, batch by batch, on the drains' connections."""
    plan, workload = bench.plan, bench.workload
    with (
        bench.watch.step(f"{workload}: {name}"),
        world(bench.place.postgres_url, "bench_bare", template=_SEEDED) as bare_url,
    ):
        shards = [Shard(number, plan.workers, plan.batch_events) for number in range(plan.workers)]
        writers = [partial(prepare, drained_url, bare_url, shard) for shard in shards]
        written = work_side_by_side(writers, lambda: None)
        with unlimited(bare_url) as engine:
            check_bare(engine, f"{workload}, {name}", sums(bench.events), plan.events, entries)
    return seconds(written)


@contextmanager
def unlimited(database_url: str) -> Iterator[Engine]:
    """An engine without limits: the seed and the checks are long statements."""
    engine = make_engine(database_url, application_name="milepost bench", limits={})
    try:
        yield engine
    finally:
        engine.dispose()


def _timed_append(stream: EventStream, bodies: Sequence[tuple[str, bytes]]) -> float:
    began_s = time.monotonic()
    stream.append(DEFAULT, bodies)
    return time.monotonic() - began_s


def await_applied(stream: EventStream, *, but: int = 0) -> None:
    """Wait until all entries but so many are applied; raises NotDrained when the drains stand still."""
    least: int | None = None
    while (left := unapplied(stream)) > but:
        if least is None or left < least:
            least, progressed_s = left, time.monotonic()
        if time.monotonic() - progressed_s > _STALLED_S:
            raise NotDrained(f"{left:,} events are on the stream, and none was applied in {_STALLED_S:g} s")
        time.sleep(_LOOK_S)


def unapplied(stream: EventStream) -> int:
    """How many entries wait on all shards."""
    return sum(shard.unapplied for shard in stream.status())
