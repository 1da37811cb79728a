"""The tasks: each takes its context, calls one stage, counts and returns. Running any of them twice is harmless."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from celery import Celery
from redis.exceptions import RedisError

from core.errors import StreamUnavailable
from core.pipeline.follow_shard import follow_shard
from core.pipeline.sweep import sweep
from core.store.engine import is_database_trouble
from worker.context import WorkerContext

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
            attempt.result = swept.trimmed
        return attempt.result


TASKS: tuple[Callable[[Celery, WorkerContext], None], ...] = (register_apply_events, register_sweep)


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
