"""One bench: servers of its own in a folder that is gone afterwards, and each workload in a fresh database."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import create_engine, text

from core.settings import Settings, load_settings
from core.store.engine import make_engine
from core.store.stream import EventStream, connect
from core.store.tenants import DEFAULT
from milepost.bench.baseline import time_bare_copy
from milepost.bench.check import check_result
from milepost.bench.drains import ShardDrained, drain_all
from milepost.bench.seed import seed
from milepost.bench.watch import Watch
from milepost.bench.workload import SPAN, BenchEvent, Workload, account_id, make_events, sums
from milepost.embedded.postgres import EmbeddedPostgres
from milepost.embedded.valkey import EmbeddedValkey

# Between the seed and the first event, so that every link has begun.
_MARGIN = timedelta(hours=1)


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
    def pipeline_to_copy(self) -> float:
        """How much of the bare COPY's rate the drain reaches."""
        return round(self.copy_seconds / self.drain_seconds, 3)


@dataclass(frozen=True, slots=True)
class Place:
    """Two running servers."""

    postgres_url: str
    redis_url: str


@contextmanager
def bench_servers() -> Iterator[Place]:
    """A durable Postgres and Valkey in a temporary folder, both gone when the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="milepost-bench-"))
    try:
        postgres = EmbeddedPostgres.start(folder / "postgres", home=folder)
        try:
            valkey = EmbeddedValkey.start(folder / "valkey", appendfsync="always")
            try:
                yield Place(postgres.url, valkey.url)
            finally:
                valkey.stop()
        finally:
            postgres.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_plan(plan: Plan, place: Place, watch: Watch) -> Iterator[Figures]:
    """Measure each workload of the plan; raises WrongResult if what was applied is not what the events say."""
    for workload in plan.workloads:
        with _database(place, f"bench_{workload}") as database_url:
            settings = load_settings(
                database_url=database_url,
                redis_url=place.redis_url,
                shards=plan.workers,
                batch_events=plan.batch_events,
                stream_durability="auto",
            )
            yield _measure(plan, workload, settings, watch)


@contextmanager
def _database(place: Place, name: str) -> Iterator[str]:
    server = create_engine(place.postgres_url, isolation_level="AUTOCOMMIT")
    try:
        with server.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
            yield place.postgres_url.rpartition("/")[0] + f"/{name}"
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        server.dispose()


def _measure(plan: Plan, workload: Workload, settings: Settings, watch: Watch) -> Figures:
    seeded_at = datetime.now(UTC) - SPAN - 2 * _MARGIN
    # No limits: the seed and the check are long statements.
    engine = make_engine(settings, application_name="milepost bench", limits={})
    try:
        with watch.step(f"{workload}: seed"):
            seed(engine, plan.accounts, seeded_at)
        events = make_events(workload, plan.events, plan.accounts, seeded_at + _MARGIN)
        append_s, drained = _apply(workload, events, settings, watch)
        with watch.step(f"{workload}: check"):
            check_result(engine, workload, sums(events), plan.events, plan.accounts)
        with watch.step(f"{workload}: bare COPY"):
            copy_s = time_bare_copy(engine, plan.batch_events)
    finally:
        engine.dispose()
    return Figures(
        workload=workload,
        events=plan.events,
        accounts=plan.accounts,
        workers=plan.workers,
        batch_events=plan.batch_events,
        append_seconds=append_s,
        drain_seconds=max(d.ended_s for d in drained) - min(d.began_s for d in drained),
        copy_seconds=copy_s,
        peak_rss_bytes=max(d.peak_rss_bytes for d in drained),
    )


def _apply(
    workload: Workload, events: Sequence[BenchEvent], settings: Settings, watch: Watch
) -> tuple[float, list[ShardDrained]]:
    """Append the events to an emptied stream, then drain it; the seconds of the first, and what each drain did."""
    assert settings.redis_url is not None, "the plan names both servers"
    bodies = [(account_id(event.account), event.to_json()) for event in events]
    with connect(settings.redis_url.get_secret_value()) as client:
        client.flushall()
        stream = EventStream(client, settings.shards)
        with watch.step(f"{workload}: append", len(events)):
            append_s = _timed_append(stream, bodies)
        with watch.step(f"{workload}: drain", len(events)) as reached:
            drained = drain_all(settings, lambda: reached(len(events) - _unapplied(stream)))
    return append_s, drained


def _timed_append(stream: EventStream, bodies: Sequence[tuple[str, bytes]]) -> float:
    began_s = time.monotonic()
    stream.append(DEFAULT, bodies)
    return time.monotonic() - began_s


def _unapplied(stream: EventStream) -> int:
    return sum(shard.unapplied for shard in stream.status())
