"""Metrics: stats of the whole system for those who operate it, over all tenants together, without naming any."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import redis

from core.errors import StreamUnavailable
from core.events.calendar import last_closed_day, local_day
from core.jobs.job import job_named, jobs
from core.store import monitoring
from core.store.driver import Session
from core.store.positions import Position, read_positions
from core.stream.server import StreamServer, ask_stream_server, raising_stream_unavailable
from core.stream.stats import DeliveryStats, DrainStats, read_delivery_stats, read_drain_stats
from core.stream.stream import EventStream, ShardStatus

QUIET_S = 30.0
STATEMENT_LONGEST_S = 3
# The job due runs every minute.
OVERDUE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last runs of a job, over its tenants.

    `newest_at`: when it last finished for any of them; None if it never did. `furthest_at`: when it last finished for
    the tenant for which that is longest ago. `violations`: how many values the last verifications found to be wrong;
    None for jobs that verify nothing. A job that fails writes no result, so a failure shows only in `furthest_at`.
    """

    job: str
    newest_at: datetime | None
    furthest_at: datetime
    violations: int | None

    @property
    def is_ok(self) -> bool:
        """Whether it found nothing wrong."""
        return not self.violations

    def is_late(self, now: datetime) -> bool:
        """Whether it has not finished for some tenant for longer than it should."""
        return is_quiet(self.job, now - self.furthest_at)


@dataclass(frozen=True, slots=True)
class DatabaseStats:
    """Stats from the database. `days_behind` has a number for each of the tenants furthest behind, the greatest first.

    `positions` say how far each shard of the stream is applied.

    `accounts_with_difference`: how many accounts have an unexplained difference, by the last verifications; None before
    the first.

    If there are very many tenants, `runs` and `accounts_with_difference` leave out `tenants_unseen` of them; violations
    of these are still counted.
    """

    dead_letters: dict[str, int]
    outbox: monitoring.OutboxBacklog
    deliveries: monitoring.DeliveryBacklog
    refreshes: monitoring.OpenRefreshes
    waiting_facts: monitoring.WaitingFacts
    days_behind: tuple[int, ...]
    runs: tuple[LastRun, ...]
    tenants_unseen: int
    accounts_with_difference: int | None
    positions: Mapping[int, Position]


@dataclass(frozen=True, slots=True)
class ShardStats:
    """One shard: its status, what its drains did, and whether they are alive."""

    status: ShardStatus
    drains: DrainStats
    is_alive: bool


@dataclass(frozen=True, slots=True)
class StreamStats:
    """Stats from the stream server. `shards` is empty if the positions are not known."""

    server: StreamServer
    shards: tuple[ShardStats, ...]
    drains: Mapping[int, DrainStats]
    deliveries: DeliveryStats


def read_database_stats(session: Session, now: datetime) -> DatabaseStats:
    """Read the stats of the database, by statements whose cost does not grow with the tables."""
    monitoring.limit_statements(session, STATEMENT_LONGEST_S)
    behind = (days_behind(each, now) for each in monitoring.closed_days(session))
    recorded = [job for job in jobs() if job.quiet_after is not None]
    of_each = [job.name for job in recorded if job.is_for_each_tenant]
    of_all = [job.name for job in recorded if not job.is_for_each_tenant]
    found = monitoring.last_runs_of_all(session, of_each, of_all)
    violations = monitoring.count_violations(session)
    return DatabaseStats(
        dead_letters=monitoring.waiting_dead_letters(session),
        outbox=monitoring.outbox_backlog(session),
        deliveries=monitoring.delivery_backlog(session, now),
        refreshes=monitoring.open_refreshes(session),
        waiting_facts=monitoring.waiting_facts(session),
        days_behind=tuple(sorted(behind, reverse=True)),
        runs=tuple(_last_run(job, violations) for job in found.jobs),
        tenants_unseen=found.tenants_unseen,
        accounts_with_difference=monitoring.count_with_difference(session),
        positions=read_positions(session),
    )


def read_stream_stats(
    client: redis.Redis, stream: EventStream, positions: Mapping[int, Position] | None, now: datetime
) -> StreamStats | None:
    """Read the stats of the stream server, given the shards' positions if they are known; None if it is away."""
    try:
        with raising_stream_unavailable():
            drains = read_drain_stats(client, stream.existing_shards())
            deliveries = read_delivery_stats(client)
        statuses = [] if positions is None else stream.status(positions)
        server = ask_stream_server(client)
    except StreamUnavailable:
        return None
    shards = (
        ShardStats(status, drains[status.shard], is_drain_alive(status, drains[status.shard], now))
        for status in statuses
        if status.shard in drains
    )
    return StreamStats(server, tuple(shards), drains, deliveries)


def is_drain_alive(status: ShardStatus, drains: DrainStats, now: datetime) -> bool:
    """False if an event has been waiting for more than 30 seconds and nothing was committed in the last 30 seconds."""
    quiet_since = now - timedelta(seconds=QUIET_S)
    is_waiting = status.oldest_at is not None and status.oldest_at < quiet_since
    return not is_waiting or (drains.last_commit_at is not None and drains.last_commit_at >= quiet_since)


def is_overdue(facts: monitoring.WaitingFacts, now: datetime) -> bool:
    """Whether a fact should have counted for minutes and does not."""
    return facts.next_at is not None and now - facts.next_at > OVERDUE


def is_delivery_late(deliveries: monitoring.DeliveryBacklog, now: datetime) -> bool:
    """Whether a delivery should have been tried minutes ago and was not."""
    return deliveries.oldest_due_at is not None and now - deliveries.oldest_due_at > OVERDUE


def days_behind(tenant: monitoring.ClosedDays, now: datetime) -> int:
    """How many local days of a tenant are over and not closed; the first one is the day of the tenant's creation."""
    zone = ZoneInfo(tenant.time_zone)
    closed: date = tenant.closed_through or local_day(tenant.created_at, zone) - timedelta(days=1)
    return max(0, (last_closed_day(now, zone) - closed).days)


def is_quiet(job: str, since_last_run: timedelta) -> bool:
    """Whether a job's last run is longer ago than it should be."""
    quiet_after = job_named(job).quiet_after
    return quiet_after is not None and since_last_run > quiet_after


def _last_run(times: monitoring.JobTimes, violations: int) -> LastRun:
    is_audit = job_named(times.job).is_audit and times.newest_at is not None
    return LastRun(times.job, times.newest_at, times.furthest_at, violations if is_audit else None)
