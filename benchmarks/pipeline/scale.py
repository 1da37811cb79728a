"""Measures how the rate depends on the number of accounts: the scattered workload in databases of several sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from benchmarks.check import check_result
from benchmarks.pipeline.run import MARGIN, Bench, Plan, append_and_drain
from benchmarks.seed import seed
from benchmarks.servers import ServerUrls, database, database_bytes, unlimited
from benchmarks.workers import seconds
from benchmarks.workload import SPAN, Workload, make_events, sums
from milepost.ops.latency import StepProgress

SIZES = (10_000, 100_000, 1_000_000)


@dataclass(frozen=True, slots=True)
class ScaleStats:
    """The results for one number of accounts."""

    accounts: int
    events: int
    drain_seconds: float
    database_bytes: int
    """The size before the first event."""

    @property
    def pipeline_events_per_s(self) -> int:
        """The rate of the drains, from the first read to the last commit."""
        return round(self.events / self.drain_seconds)


def run_scale(plan: Plan, sizes: Sequence[int], servers: ServerUrls, progress: StepProgress) -> Iterator[ScaleStats]:
    """Measure each size in a fresh database; raises WrongResult."""
    for accounts in sizes:
        yield _measure(replace(plan, accounts=accounts), servers, progress)


def _measure(plan: Plan, servers: ServerUrls, progress: StepProgress) -> ScaleStats:
    since = datetime.now(UTC) - SPAN - MARGIN
    name = f"{plan.accounts:,} accounts"
    with database(servers.postgres_url, "bench_scale") as url:
        with progress.step(f"{name}: seed"), unlimited(url) as engine:
            seed(url, plan.accounts, since - MARGIN)
            size = database_bytes(engine)
        events = make_events(Workload.SCATTERED, plan.events, plan.accounts, since)
        _, drained = append_and_drain(Bench(plan, servers, Workload.SCATTERED, events, progress, name), url)
        with progress.step(f"{name}: check"), unlimited(url) as engine:
            check_result(engine, name, sums(events), plan.events, plan.accounts)
    return ScaleStats(plan.accounts, plan.events, seconds(drained), size)
