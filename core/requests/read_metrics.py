"""The act read_metrics: what the system shows of itself to those who run it, all tenants together and none named."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import redis
from sqlalchemy.orm import Session

from core.errors import StreamUnavailable
from core.events.calendar import last_closed_day, local_day
from core.store import watch
from core.store.drain_figures import DrainFigures, read_drain_figures
from core.store.job_runs import JobRun
from core.store.stream import EventStream, ShardStatus
from core.store.stream_server import StreamServer, ask_stream_server

VERIFY = "verify"
QUIET_S = 30.0
STATEMENT_LONGEST_S = 3
# The demo notes there what it has filled in, once and for all: nothing that runs again.
_NO_JOB = "demo."


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run of a job, that of all tenants which finished last; it is ok if those of all tenants are.

    `violations`: how many values the audit found to break a promise, None for other jobs.
    """

    job: str
    finished_at: datetime
    is_ok: bool
    violations: int | None


@dataclass(frozen=True, slots=True)
class DatabaseFigures:
    """What the database shows. `days_behind` has one number a tenant, the greatest first, of the furthest behind."""

    dead_letters: dict[str, int]
    outbox: watch.OutboxBacklog
    days_behind: tuple[int, ...]
    runs: tuple[LastRun, ...]


@dataclass(frozen=True, slots=True)
class ShardFigures:
    """One shard: how it stands, what its drains did, and whether they are alive."""

    status: ShardStatus
    drains: DrainFigures
    is_alive: bool


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """What the stream server shows."""

    server: StreamServer
    shards: tuple[ShardFigures, ...]


def read_database_figures(session: Session, now: datetime) -> DatabaseFigures:
    """Read what the database shows; nothing that it asks grows with the tables."""
    watch.limit_statements(session, STATEMENT_LONGEST_S)
    behind = (days_behind(each, now) for each in watch.closed_days(session))
    return DatabaseFigures(
        dead_letters=watch.waiting_dead_letters(session),
        outbox=watch.outbox_backlog(session),
        days_behind=tuple(sorted(behind, reverse=True)),
        runs=tuple(last_runs(watch.last_runs_of_all(session))),
    )


def read_stream_figures(client: redis.Redis, stream: EventStream, now: datetime) -> StreamFigures | None:
    """Read what the stream server shows; None if it does not answer."""
    try:
        statuses = stream.status()
        drains = read_drain_figures(client, (status.shard for status in statuses))
        server = ask_stream_server(client)
    except StreamUnavailable:
        return None
    shards = (
        ShardFigures(status, drains[status.shard], is_drain_alive(status, drains[status.shard], now))
        for status in statuses
    )
    return StreamFigures(server, tuple(shards))


def is_drain_alive(status: ShardStatus, drains: DrainFigures, now: datetime) -> bool:
    """Not: an event has waited for 30 seconds, and nothing was committed in them."""
    quiet_since = now - timedelta(seconds=QUIET_S)
    is_waiting = status.oldest_at is not None and status.oldest_at < quiet_since
    return not is_waiting or (drains.last_commit_at is not None and drains.last_commit_at >= quiet_since)


def days_behind(tenant: watch.ClosedDays, now: datetime) -> int:
    """How many local days of a tenant are over and not closed; a new tenant's first is that of its creation."""
    zone = ZoneInfo(tenant.time_zone)
    closed: date = tenant.closed_through or local_day(tenant.created_at, zone) - timedelta(days=1)
    return max(0, (last_closed_day(now, zone) - closed).days)


def last_runs(runs: Iterable[JobRun]) -> list[LastRun]:
    """One line a job, whatever number of tenants it runs for."""
    by_job: dict[str, list[JobRun]] = {}
    for run in runs:
        if not run.job.startswith(_NO_JOB):
            by_job.setdefault(run.job, []).append(run)
    return [_together(job, of_job) for job, of_job in sorted(by_job.items())]


def _together(job: str, runs: Sequence[JobRun]) -> LastRun:
    results = [_result(run) for run in runs]
    violations = sum(_violations(result) for result in results) if job == VERIFY else None
    is_ok = not violations and not any("error" in result or result.get("ok") is False for result in results)
    return LastRun(job, max(run.finished_at for run in runs), is_ok, violations)


def _violations(result: dict[str, Any]) -> int:
    found = result.get("violations", 0)
    return len(found) if isinstance(found, list) else int(found)


def _result(run: JobRun) -> dict[str, Any]:
    try:
        found = json.loads(run.result or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
