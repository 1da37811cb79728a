"""GET /metrics: the metrics of the whole system, in the text format of Prometheus."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from threading import Lock

from anyio.to_thread import run_sync
from fastapi import Request
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import Response

from api.auth import KeyContexts, Unauthenticated, contexts_by_key
from api.context import DatabaseAway, backends_of
from api.routing import Routes
from api.schemas.documented import answers
from core.services.metrics import DatabaseStats, ShardStats, StreamStats, read_database_stats, read_stream_stats
from core.store.endpoints import DisabledReason
from core.stream.server import StreamServer
from core.stream.stats import MICROSECOND_BOUNDS, MILLISECOND_BOUNDS, SIZE_BOUNDS, DeliveryStats, DrainStats

router = Routes(tags=["health"])

_TEXT = {"description": "The metrics", "content": {"text/plain": {"schema": {"type": "string"}}}}
_MICROSECONDS = 1_000_000
Series = Iterable[tuple[str, float | None]]


class KnownScrapers:
    """The hashes of the latest keys that were valid when the database was last asked about them.

    Keys are stored in the database. While it is away, a key that is known here still gets the metrics that do not need
    the database: monitoring needs them most during an outage.
    """

    MOST = 64

    def __init__(self) -> None:
        self._known: dict[bytes, None] = {}
        self._lock = Lock()

    def remember(self, secret: str) -> None:
        """Remember a key that the database found valid."""
        with self._lock:
            self._known.pop(_hash(secret), None)
            self._known[_hash(secret)] = None
            if len(self._known) > self.MOST:
                del self._known[next(iter(self._known))]

    def forget(self, secret: str) -> None:
        """Forget a key that the database found invalid."""
        with self._lock:
            self._known.pop(_hash(secret), None)

    def knows(self, secret: str) -> bool:
        """Whether a key was valid when the database was last asked about it."""
        return _hash(secret) in self._known


@router.get(
    "",
    summary="Prometheus metrics",
    operation_id="getMetrics",
    responses=answers(200, None, "The metrics", 501, never=(403,)) | {200: _TEXT},
)
async def metrics(request: Request) -> Response:
    """Get the metrics for monitoring, of all tenants together and naming none; takes any key.

    If a server is away, `milepost_up` says so, and the metrics of the other server still come.
    """
    read = partial(_read_metrics, request)
    try:
        return await contexts_by_key(request).run(read)
    except DatabaseAway:
        return await run_sync(read, limiter=request.app.state.reading)


def _read_metrics(request: Request) -> Response:
    now = datetime.now(UTC)
    backends = backends_of(request)
    database = _database_stats(request.app.state.scrapers, contexts_by_key(request), now)
    positions = None if database is None else database.positions
    stream = read_stream_stats(backends.stream.client, backends.stream, positions, now)
    families = [up_family({"database": database is not None, "stream": stream is not None})]
    families += [] if database is None else database_families(database, now)
    families += [] if stream is None else stream_families(stream, now)
    families += request.app.state.request_metrics.families()
    return Response(generate_latest(_Page(families)), media_type=CONTENT_TYPE_PLAIN_0_0_4)


def up_family(parts: Mapping[str, bool]) -> Metric:
    """The metric that says which servers answered."""
    return _gauge("up", "1 if the server answered this scrape.", "part", parts.items())


def database_families(stats: DatabaseStats, now: datetime) -> Iterator[Metric]:
    """The metrics of what is in the database."""
    yield _gauge(
        "dead_letters_waiting", "Dead letters neither replayed nor discarded.", "code", stats.dead_letters.items()
    )
    outbox = stats.outbox
    yield _single("outbox_unannounced", "Messages that are not in the feed yet.", outbox.messages)
    yield _single("outbox_oldest_age_seconds", "Age of the oldest of them.", _age(outbox.oldest_at, now) or 0)
    deliveries = stats.deliveries
    yield _single("deliveries_due", "Deliveries whose time has come, in progress or not.", deliveries.due)
    yield _single(
        "deliveries_oldest_due_seconds",
        "How long the first of them has been due; 0: there is none.",
        _age(deliveries.oldest_due_at, now) or 0,
    )
    yield _gauge(
        "endpoints_disabled",
        "Endpoints to which nothing is sent.",
        "reason",
        ((reason, deliveries.disabled.get(reason, 0)) for reason in DisabledReason),
    )
    yield _single("endpoints_failing", "Other endpoints of which the last attempt failed.", deliveries.failing)
    refreshes = stats.refreshes
    yield _gauge(
        "refresh_requests_open",
        "Things that webhooks pointed to and nobody pulled since.",
        "provider",
        refreshes.by_provider.items(),
    )
    yield _single(
        "refresh_requests_oldest_age_seconds", "Age of the oldest of them.", _age(refreshes.oldest_at, now) or 0
    )
    facts = stats.waiting_facts
    yield _gauge("facts_not_due", "Facts dated too far ahead to count yet.", "kind", facts.by_kind.items())
    yield _single(
        "facts_overdue_seconds",
        "How long a fact has been due that does not count yet; 0: there is none.",
        _age(facts.next_at, now) or 0,
    )
    days_behind = stats.days_behind
    yield _single(
        "snapshot_lag_days",
        "Local days over and not closed, of the tenant furthest behind.",
        max(days_behind, default=0),
    )
    yield _single("snapshot_tenants_behind", "Tenants with such days.", sum(days > 0 for days in days_behind))
    if stats.accounts_with_difference is not None:
        yield _single(
            "accounts_with_unexplained_difference",
            "Accounts with a difference that three further balances did not take back, by the last audits.",
            stats.accounts_with_difference,
        )
    yield from _job_families(stats, now)


def stream_families(stats: StreamStats, now: datetime) -> Iterator[Metric]:
    """The metrics of the stream server and the drains; without those that need positions if these are not known."""
    yield from _server_families(stats.server)
    if stats.shards:
        yield from _shard_families(stats.shards, now)
    yield from _drain_families({str(shard): drains for shard, drains in stats.drains.items()}, now)
    yield from _delivery_families(stats.deliveries)


class _Page(Collector):
    """The metric families of one scrape."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def _database_stats(scrapers: KnownScrapers, contexts: KeyContexts, now: datetime) -> DatabaseStats | None:
    """The stats of the database; None while it is away, if the key is known here. Raises as `contexts.open` does."""
    try:
        contexts.look_up()
        with contexts.open(None) as context:
            scrapers.remember(contexts.secret)
            return read_database_stats(context.session, now)
    except Unauthenticated:
        scrapers.forget(contexts.secret)
        raise
    except DatabaseAway:
        if scrapers.knows(contexts.secret):
            return None
        raise


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def _job_families(stats: DatabaseStats, now: datetime) -> Iterator[Metric]:
    yield _gauge(
        "job_furthest_run_age_seconds",
        "Time since a job last finished for the tenant for which that is longest ago.",
        "job",
        ((run.job, _age(run.furthest_at, now)) for run in stats.runs),
    )
    yield _gauge(
        "job_last_run_age_seconds",
        "Time since a job last finished for any tenant.",
        "job",
        ((run.job, _age(run.newest_at, now)) for run in stats.runs),
    )
    yield _single("job_tenants_unseen", "Tenants that the metrics of jobs leave out.", stats.tenants_unseen)
    for run in stats.runs:
        if run.violations is not None:
            yield _gauge("job_last_run_ok", "1 if its last runs found nothing.", "job", [(run.job, run.is_ok)])
            yield _single("verify_violations", "Values that the last audit found to break a promise.", run.violations)


def _server_families(server: StreamServer) -> Iterator[Metric]:
    yield _single("stream_memory_bytes", "Memory that the stream server uses.", server.used_bytes)
    yield _single("stream_memory_limit_bytes", "Its limit; 0: none.", server.max_bytes)
    if server.is_last_write_ok is not None:
        yield _single(
            "stream_aof_last_write_ok", "1 if its last write to the append-only file worked.", server.is_last_write_ok
        )


def _shard_families(shards: Sequence[ShardStats], now: datetime) -> Iterator[Metric]:
    names = [str(each.status.shard) for each in shards]
    statuses = [each.status for each in shards]

    def of_shards(name: str, text: str, values: Iterable[float | None]) -> Metric:
        return _gauge(name, text, "shard", zip(names, values, strict=True))

    yield of_shards(
        "stream_oldest_age_seconds",
        "Age of the oldest entry that is not applied; 0: there is none.",
        (_age(status.oldest_at, now) or 0 for status in statuses),
    )
    yield of_shards("stream_entries", "Entries on the stream, applied or not.", (s.length for s in statuses))
    yield of_shards("stream_pending", "Entries that were tried in vain, and come again.", (s.pending for s in statuses))
    yield of_shards(
        "stream_pending_idle_seconds",
        "How long a drain has been trying what follows the position.",
        (s.idle_s or 0 for s in statuses),
    )
    yield of_shards(
        "drain_alive", "0 if an event has waited 30 s without any commit.", (each.is_alive for each in shards)
    )


def _drain_families(drains: Mapping[str, DrainStats], now: datetime) -> Iterator[Metric]:
    yield _gauge(
        "drain_last_commit_age_seconds",
        "Time since the last committed batch.",
        "shard",
        ((shard, _age(stats.last_commit_at, now)) for shard, stats in drains.items()),
    )
    for name, text in (
        ("events", "Events in committed batches, duplicates and dead letters included."),
        ("duplicates", "Events that changed nothing, since what they state was known or older."),
        ("dead_letters", "Events set aside as dead letters, again when delivered again."),
    ):
        counter = CounterMetricFamily(f"milepost_drain_{name}", text, labels=["shard"])
        for shard, stats in drains.items():
            counter.add_metric([shard], getattr(stats, name))
        yield counter
    sizes = HistogramMetricFamily("milepost_drain_batch_events", "Events in a batch.", labels=["shard"])
    seconds = HistogramMetricFamily(
        "milepost_drain_batch_seconds", "Time from the begin of a batch to its commit.", labels=["shard"]
    )
    for shard, stats in drains.items():
        sizes.add_metric([shard], _buckets(SIZE_BOUNDS, 1, stats.sizes, stats.batches), stats.events)
        buckets = _buckets(MICROSECOND_BOUNDS, _MICROSECONDS, stats.durations, stats.batches)
        seconds.add_metric([shard], buckets, stats.microseconds / _MICROSECONDS)
    yield from (sizes, seconds)


def _delivery_families(stats: DeliveryStats) -> Iterator[Metric]:
    attempts = CounterMetricFamily(
        "milepost_delivery_attempts",
        "Attempts to deliver a message, by what the endpoint answered.",
        labels=["outcome"],
    )
    for outcome, number in stats.outcomes.items():
        attempts.add_metric([outcome], number)
    yield attempts
    seconds = HistogramMetricFamily("milepost_delivery_seconds", "How long an attempt took.")
    buckets = _buckets(MILLISECOND_BOUNDS, 1_000, stats.durations, sum(stats.outcomes.values()))
    seconds.add_metric([], buckets, stats.milliseconds / 1_000)
    yield seconds


def _buckets(bounds: Sequence[int], unit: int, counts: Sequence[int], all: int) -> list[tuple[str, float]]:
    named = [(str(bound / unit), float(count)) for bound, count in zip(bounds, counts, strict=True)]
    return [*named, ("+Inf", float(all))]


def _single(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"milepost_{name}", text, value=value)


def _gauge(name: str, text: str, label: str, series: Series) -> Metric:
    """A gauge with one label; a value of None gets no series."""
    family = GaugeMetricFamily(f"milepost_{name}", text, labels=[label])
    for of, value in series:
        if value is not None:
            family.add_metric([of], value)
    return family


def _age(at: datetime | None, now: datetime) -> float | None:
    """Seconds since a moment; 0, never less, if another machine's clock is ahead of ours."""
    return None if at is None else max(0.0, (now - at).total_seconds())
