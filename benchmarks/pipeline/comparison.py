"""The comparison: the usual way, the latency at a tenth of the drains' rate, and requests over REST."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from benchmarks.check import check_live
from benchmarks.pipeline.live import milepost_up
from benchmarks.pipeline.neighbours import NeighbourStats, measure_neighbours
from benchmarks.pipeline.rest import RestMemory, RestPlan, RestStats, measure_rest, measure_rest_memory
from benchmarks.pipeline.run import MARGIN, Plan, await_applied, drain_settings
from benchmarks.pipeline.under_load import Load, LoadedLatency, measure_under_load
from benchmarks.seed import HAS_BEGUN, seed
from benchmarks.servers import ServerUrls, database, empty, unlimited
from benchmarks.usual_way.run import UsualWay, measure_usual_way
from benchmarks.workload import SPAN, Workload, make_events, sums
from core.store.database import open_sessions
from core.stream.stream import EventStream, connect
from milepost.ops.latency import StepProgress

# Latency is measured at a tenth of full load: on a system that is not at its limit.
_SHARE_OF_FULL_LOAD = 10


@dataclass(frozen=True, slots=True)
class ComparisonPlan:
    """How many events are applied in the usual way, how long probes are sent, and what is requested over REST."""

    usual_events: int
    probe_seconds: float
    warm_up_seconds: float
    rest: RestPlan
    rest_requests: int | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The results with which the drains are compared."""

    usual_way: UsualWay
    latency: LoadedLatency
    rest: list[RestStats]
    neighbours: NeighbourStats
    rest_memory: RestMemory | None


def run_comparison(
    plan: Plan, comparison: ComparisonPlan, full_events_per_s: int, servers: ServerUrls, progress: StepProgress
) -> Comparison:
    """Measure all of it with the plan's number of accounts; raises WrongResult if a result does not fit its events."""
    usual_way = _run_usual_way(plan, comparison, servers, progress)
    load = Load(max(1, full_events_per_s // _SHARE_OF_FULL_LOAD), comparison.probe_seconds, comparison.warm_up_seconds)
    with database(servers.postgres_url, "bench_live") as url, unlimited(url) as engine:
        seeded_at, settings = datetime.now(UTC), drain_settings(plan, servers, url)
        with progress.step("live: seed"):
            seed(url, plan.accounts, seeded_at, is_closed=True)
        empty(servers)
        with milepost_up(settings) as live:
            # Dated as if they happened now, so that they change no closed day.
            since, span = seeded_at + HAS_BEGUN, timedelta(seconds=1)
            events = make_events(Workload.SCATTERED, load.events, plan.accounts, since, span)
            with progress.step("live: latency under load"):
                probed = measure_under_load(load, live, settings, events)
            with progress.step("live: check"):
                assert settings.redis_url is not None, "the bench names both servers"
                with (
                    connect(settings.redis_url.get_secret_value()) as client,
                    open_sessions(url, application_name="milepost bench", limits={}) as sessions,
                ):
                    await_applied(sessions, EventStream(client, settings.shards))
                number = len(events) + probed.latency.probes
                check_live(engine, "the load", sums(events) | probed.sums, number)
            rest = measure_rest(comparison.rest, live, engine, url, progress)
            neighbours = measure_neighbours(comparison.rest, live, url, progress)
            memory = None
            if comparison.rest_requests:
                memory = measure_rest_memory(comparison.rest, comparison.rest_requests, live, engine, progress)
    return Comparison(usual_way, probed.latency, rest, neighbours, memory)


def _run_usual_way(plan: Plan, comparison: ComparisonPlan, servers: ServerUrls, progress: StepProgress) -> UsualWay:
    since = datetime.now(UTC) - SPAN - MARGIN
    with database(servers.postgres_url, "bench_usual_way") as url:
        with progress.step("usual way: seed"):
            seed(url, plan.accounts, since - MARGIN)
        empty(servers)
        with progress.step("usual way"):
            return measure_usual_way(url, servers.redis_url, comparison.usual_events, plan.accounts, since)
