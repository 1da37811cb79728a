"""What the API holds open while it runs: the connection pool and the event stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from fastapi import Request
from redis import Redis
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from api.read_cache import ReadCache
from core.errors import SettingsError
from core.requests.webhooks import sealer_of
from core.settings import Settings
from core.signatures.seal import Sealer
from core.store.engine import make_engine, session_factory
from core.store.stream import EventStream, connect

THREADS = 20
"""How many requests are worked on at once; as many connections may be open, so that none waits for one."""

# A goal, its milestones and its links are read one after the other, and must be of one moment.
_READING = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


@dataclass(frozen=True, slots=True)
class Backends:
    """The servers behind the API; both connect at first use. `reading` makes sessions that see one moment only.

    `sealer` opens the secrets of webhooks; None if no key for them is set.
    """

    engine: Engine
    sessions: sessionmaker[Session]
    reading: sessionmaker[Session]
    redis: Redis
    stream: EventStream
    read_cache: ReadCache
    sealer: Sealer | None

    def close(self) -> None:
        """Give back every connection."""
        self.redis.close()
        self.engine.dispose()


def open_backends(settings: Settings) -> Backends:
    """Prepare the backends; raises SettingsError if an address is missing."""
    if settings.database_url is None:
        raise SettingsError("MILEPOST_DATABASE_URL is needed by the API")
    if settings.redis_url is None:
        raise SettingsError("MILEPOST_REDIS_URL is needed by the API")
    engine = make_engine(
        settings.database_url.get_secret_value(),
        application_name="milepost-api",
        pool_size=THREADS // 2,
        max_overflow=THREADS - THREADS // 2,
    )
    redis = connect(settings.redis_url.get_secret_value())
    stream = EventStream(redis, settings.shards, durability=settings.stream_durability)
    read_cache = ReadCache(settings.read_cache_seconds)
    sealer = sealer_of(settings)
    return Backends(engine, session_factory(engine), reading_sessions(engine), redis, stream, read_cache, sealer)


def reading_sessions(engine: Engine) -> sessionmaker[Session]:
    """Sessions whose transactions write nothing and see one moment only."""
    return session_factory(engine.execution_options(**_READING))


def backends_of(request: Request) -> Backends:
    """The backends of the app that serves this request."""
    return cast(Backends, request.app.state.backends)
