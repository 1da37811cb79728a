"""The tasks: each takes its context, calls one stage, counts and returns. Running any of them twice is harmless."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from typing import Any

import structlog
from celery import Celery
from redis.exceptions import RedisError

from core.errors import StreamUnavailable
from core.events.calendar import last_closed_day
from core.ingestion.drain import follow_shard
from core.jobs.project import due_projections, project_chunk
from core.jobs.retain import run_retain
from core.jobs.snapshot import ChunkDays, close_chunk, due_chunks, tenants_behind
from core.jobs.sweep import sweep
from core.jobs.verify import due_verifications, is_due, verify_tenant
from core.store.engine import is_database_trouble
from core.store.tenants import Tenant
from worker.context import WorkerContext, utc_now

TIME_SLICE_S = 60.0
"""How long a job's part may work before it gives way to others and sends itself again."""

PART_EXPIRES_S = 3_000.0

VERIFY_LONGEST_S = 7_200
"""One snapshot of a tenant is read in one go: it cannot be cut into parts."""

log = structlog.get_logger(__name__)


def register_apply_events(app: Celery, context: WorkerContext) -> None:
    """The drain of one shard: applies what is there, waits a moment for more, and sends its own successor."""

    # Acknowledged early: a lost trigger costs a second, a repeated one a look at an empty stream.
    @app.task(name="milepost.apply_events", acks_late=False, shared=False)
    def apply_events(shard: int) -> int:
        with _servers_may_be_away("apply_events", shard=shard) as attempt:
            followed = follow_shard(context.shard_drain(shard))
            attempt.result = followed.events
            if followed.is_to_go_on:
                apply_events.apply_async(args=(shard,), expires=1.0)
        return attempt.result


def register_sweep(app: Celery, context: WorkerContext) -> None:
    """The clean-up of every minute."""

    @app.task(name="milepost.sweep", shared=False)
    def run_sweep() -> int:
        with _servers_may_be_away("sweep") as attempt:
            swept = sweep(context.stream)
            context.forget_old_triggers()
            for shard in swept.unapplied_shards:
                app.send_task("milepost.apply_events", args=(shard,), expires=1.0)
            if tenants_behind(context.sessions, context.database_now()):
                app.send_task("milepost.snapshot", expires=60.0)
            attempt.result = swept.trimmed
        return attempt.result


def register_snapshot(app: Celery, context: WorkerContext) -> None:
    """Closing days: one message for each chunk of each tenant that has something to close."""

    @app.task(name="milepost.snapshot_chunk", shared=False)
    def snapshot_chunk(tenant: str, time_zone: str, chunk: int, through: str) -> int:
        with _servers_may_be_away("snapshot_chunk", tenant=tenant, chunk=chunk) as attempt:
            now, whose = context.database_now(), Tenant(tenant, time_zone)
            # The message may be from before midnight.
            last = max(date.fromisoformat(through), last_closed_day(now, whose.zone))
            closed = close_chunk(context.sessions, ChunkDays(whose, chunk, last), now, time_slice_s=TIME_SLICE_S)
            attempt.result = closed.did.goals
            if not closed.is_done and (closed.did.accounts or closed.did.goals):
                snapshot_chunk.apply_async(args=(tenant, time_zone, chunk, through), expires=PART_EXPIRES_S)
        return attempt.result

    @app.task(name="milepost.snapshot", shared=False)
    def snapshot() -> int:
        with _servers_may_be_away("snapshot") as attempt:
            for work in due_chunks(context.sessions, context.database_now()):
                arguments = (work.tenant.name, work.tenant.time_zone, work.chunk, work.through.isoformat())
                snapshot_chunk.apply_async(args=arguments, expires=PART_EXPIRES_S)
                attempt.result += 1
        return attempt.result


def register_project(app: Celery, context: WorkerContext) -> None:
    """Projecting: one message for each chunk of each tenant whose last day is closed and not projected from."""

    @app.task(name="milepost.project_chunk", shared=False)
    def project_one_chunk(tenant: str, time_zone: str, chunk: int, through: str, after: str = "") -> int:
        with _servers_may_be_away("project_chunk", tenant=tenant, chunk=chunk) as attempt:
            work = ChunkDays(Tenant(tenant, time_zone), chunk, date.fromisoformat(through))
            done = project_chunk(context.sessions, work, utc_now(), after=after, time_slice_s=TIME_SLICE_S)
            attempt.result = done.did.goals
            if not done.is_done:
                arguments = (tenant, time_zone, chunk, through, done.after)
                project_one_chunk.apply_async(args=arguments, expires=PART_EXPIRES_S)
        return attempt.result

    @app.task(name="milepost.project", shared=False)
    def project() -> int:
        with _servers_may_be_away("project") as attempt:
            for work in due_projections(context.sessions):
                arguments = (work.tenant.name, work.tenant.time_zone, work.chunk, work.through.isoformat())
                project_one_chunk.apply_async(args=arguments, expires=PART_EXPIRES_S)
                attempt.result += 1
        return attempt.result


def register_retain(app: Celery, context: WorkerContext) -> None:
    """Dropping what is past retention."""

    @app.task(name="milepost.retain", shared=False)
    def retain() -> int:
        with _servers_may_be_away("retain") as attempt:
            done = run_retain(context.sessions, utc_now(), again=False)
            log.info("retained", **asdict(done))
            attempt.result = sum(asdict(done).values())
        return attempt.result


def register_verify(app: Celery, context: WorkerContext) -> None:
    """Verifying: one message for each tenant without a result of the day."""

    # Acknowledged early: the broker would give out again what runs for longer than its patience.
    @app.task(
        name="milepost.verify_tenant",
        acks_late=False,
        soft_time_limit=VERIFY_LONGEST_S,
        time_limit=VERIFY_LONGEST_S + 60,
        shared=False,
    )
    def verify_one_tenant(tenant: str) -> int:
        with _servers_may_be_away("verify_tenant", tenant=tenant) as attempt:
            # Another message may have been at it while this one waited.
            if is_due(context.sessions, tenant, utc_now()):
                attempt.result = verify_tenant(context.sessions, tenant, utc_now()).violations
        return attempt.result

    @app.task(name="milepost.verify", shared=False)
    def verify() -> int:
        with _servers_may_be_away("verify") as attempt:
            for tenant in due_verifications(context.sessions, utc_now()):
                verify_one_tenant.apply_async(args=(tenant,), expires=PART_EXPIRES_S)
                attempt.result += 1
        return attempt.result


TASKS: tuple[Callable[[Celery, WorkerContext], None], ...] = (
    register_apply_events,
    register_sweep,
    register_snapshot,
    register_project,
    register_retain,
    register_verify,
)


class _servers_may_be_away:
    """Turns trouble of a server into a log line: the schedule tries again in a moment, and nothing was half done."""

    def __init__(self, task: str, **about: Any) -> None:
        self._about = {"task": task} | about
        self.result = 0

    def __enter__(self) -> _servers_may_be_away:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        is_trouble = isinstance(error, RedisError | StreamUnavailable) or (
            error is not None and is_database_trouble(error)
        )
        if is_trouble:
            log.warning("a server is in trouble, trying again shortly", error=type(error).__name__, **self._about)
        return is_trouble
