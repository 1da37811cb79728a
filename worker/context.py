"""What a worker process needs: its sessions and its stream, made when first used and never shared across a fork."""

from __future__ import annotations

import gc
import sys
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

import redis

from core.ingestion.drain import ShardDrain
from core.jobs.deliver import make_deliverer
from core.jobs.job import DELIVERY_QUEUE, DRAIN_QUEUE
from core.settings import Settings
from core.store.database import Sessions, open_sessions
from core.store.days import database_now
from core.stream.stream import EventStream, connect

if TYPE_CHECKING:
    from core.delivery.deliverer import Deliverer

# The prefix of all keys of Celery, which shares the server with the stream.
KEY_PREFIX = "milepost:celery:"
TRIGGERS_MOST = 100


class WorkerContext:
    """One process's connections. A forked child starts with a fresh one."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def sessions(self) -> Sessions:
        """Sessions for one task at a time."""
        return open_sessions(self.settings, application_name="milepost worker")

    @cached_property
    def stream(self) -> EventStream:
        """The stream of events."""
        return EventStream(self.redis, self.settings.shards, self.settings.stream_durability)

    @cached_property
    def redis(self) -> redis.Redis:
        """The stream server, which is the broker too."""
        if self.settings.redis_url is None:
            raise ValueError("the settings name no stream server")
        return connect(self.settings.redis_url.get_secret_value())

    def database_now(self) -> datetime:
        """The database's clock, which decides when a day is over."""
        with self.sessions() as session:
            return database_now(session)

    @cached_property
    def deliverer(self) -> Deliverer:
        """What delivers messages, with what it has in progress."""
        return make_deliverer(self.sessions, self.settings)

    def stop_delivering(self) -> None:
        """Let a slice of deliveries end soon, if one is in progress."""
        deliverer: Deliverer | None = self.__dict__.get("deliverer")
        if deliverer is not None:
            deliverer.stop()

    def forget_old_triggers(self) -> None:
        """Drop all but a few of the messages that start drains and deliveries: while nobody takes them they pile up."""
        for queue in (DRAIN_QUEUE, DELIVERY_QUEUE):
            self.redis.ltrim(f"{KEY_PREFIX}{queue}", 0, TRIGGERS_MOST - 1)

    def shard_drain(self, shard: int) -> ShardDrain:
        """All that draining one shard needs."""
        return ShardDrain(self.sessions, self.stream, shard, self.settings.batch_events, utc_now)


def spare_the_collector() -> None:
    """Let Python's cycle collector run less often, in a process that makes rows by the thousand and frees them all.

    Nothing in a batch is part of a reference cycle. At its default rate the collector finds nothing and takes a quarter
    of a drain's processor time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def share_the_interpreter() -> None:
    """Let threads switch ten times as often: prefetching must not delay the thread that Postgres waits for."""
    sys.setswitchinterval(0.000_5)


def utc_now() -> datetime:
    """The clock of worker processes."""
    return datetime.now(UTC)
