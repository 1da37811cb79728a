"""The tasks: the drain, and one or two for each job, as its record says. Running any of them twice is harmless."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import structlog
from celery import Celery
from redis.exceptions import RedisError

from core.errors import StreamUnavailable
from core.ingestion.drain import follow_shard
from core.jobs.job import DRAIN_TASK, Job, Parts
from core.store.database import Sessions, is_database_trouble
from core.stream.stream import EventStream
from worker.context import WorkerContext, utc_now

if TYPE_CHECKING:
    from core.delivery.deliverer import Deliverer

DRAIN_EXPIRES_S = 1.0

# The next sweep comes after the same time and starts the job again if it is still needed.
STARTED_EXPIRES_S = 60.0

log = structlog.get_logger(__name__)


def register_tasks(app: Celery, context: WorkerContext, jobs: Sequence[Job]) -> None:
    """Make the tasks of the drain and of the jobs: one that the schedule starts, and one for a job's parts."""
    _register_drain(app, context)
    servers = _TaskServers(app, context)
    for job in jobs:
        if isinstance(job.scheduled, Parts):
            _register_parts(app, servers, job, job.scheduled)
        else:
            _register_whole(app, servers, job)


def _register_drain(app: Celery, context: WorkerContext) -> None:
    """The drain of one shard: applies what is there, waits a moment for more, and sends the task again."""

    # Acknowledged early: a lost message costs a second, a repeated one only a read of an empty stream.
    @app.task(name=DRAIN_TASK, acks_late=False, shared=False)
    def apply_events(shard: int) -> int:
        with _servers_may_be_away("apply_events", shard=shard) as attempt:
            followed = follow_shard(context.shard_drain(shard))
            attempt.result = followed.events
            if followed.is_to_go_on:
                apply_events.apply_async(args=(shard,), expires=DRAIN_EXPIRES_S)
        return attempt.result


def _register_whole(app: Celery, servers: _TaskServers, job: Job) -> None:
    """A job that is not divided into parts."""
    run = job.scheduled
    assert not isinstance(run, Parts)

    @app.task(name=job.task, shared=False, acks_late=not job.acked_early)
    def whole() -> int:
        with _servers_may_be_away(job.name) as attempt:
            attempt.result = run(servers)
        return attempt.result


def _register_parts(app: Celery, servers: _TaskServers, job: Job, parts: Parts) -> None:
    """A job in parts: the scheduled task sends a message for each part that is due; a part sends its rest again.

    A part with a limit of its own is acknowledged before it is run: the broker delivers a message again that is not
    acknowledged within its visibility timeout.
    """
    limits: dict[str, Any] = {}
    if parts.longest_s is not None:
        limits = {"acks_late": False, "soft_time_limit": parts.longest_s, "time_limit": parts.longest_s + 60}

    @app.task(name=parts.task, shared=False, **limits)
    def part(*arguments: Any) -> int:
        about = dict(zip(parts.arguments, arguments, strict=False))
        with _servers_may_be_away(parts.name, **about) as attempt:
            done = parts.run(servers, *arguments)
            attempt.result = done.count
            if done.rest is not None:
                part.apply_async(args=done.rest, expires=job.expires_s)
        return attempt.result

    @app.task(name=job.task, shared=False)
    def whole() -> int:
        with _servers_may_be_away(job.name) as attempt:
            for arguments in parts.due(servers):
                part.apply_async(args=arguments, expires=job.expires_s)
                attempt.result += 1
        return attempt.result


@dataclass(frozen=True, slots=True)
class _TaskServers:
    """What a task passes to its job. The context connects when a server is first used, and again after a fork."""

    app: Celery
    context: WorkerContext

    @property
    def sessions(self) -> Sessions:
        return self.context.sessions

    @property
    def stream(self) -> EventStream:
        return self.context.stream

    @property
    def deliverer(self) -> Deliverer:
        return self.context.deliverer

    def now(self) -> datetime:
        return utc_now()

    def database_now(self) -> datetime:
        return self.context.database_now()

    def start_drains(self, shards: Iterable[int]) -> None:
        self.context.forget_old_triggers()
        for shard in shards:
            self.app.send_task(DRAIN_TASK, args=(shard,), expires=DRAIN_EXPIRES_S)

    def start_job(self, job: Job) -> None:
        self.app.send_task(job.task, expires=STARTED_EXPIRES_S)


class _servers_may_be_away:
    """Makes a log line of an error of a server: the schedule soon starts the task again, and nothing is half done."""

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
