"""The request context: what the API holds open, and the transaction of one tenant that a route gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Annotated, Protocol, cast

from cachetools import TTLCache
from fastapi import Depends, Request
from redis import Redis
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker
from starlette.responses import Response

from core.errors import MilepostError, SettingsError
from core.providers.sealing import Sealer
from core.services.goal_access import find_version
from core.services.keys import Scope
from core.services.webhooks import sealer_of
from core.settings import Settings
from core.store.engine import is_database_trouble, make_engine, session_factory
from core.store.tenants import Tenant
from core.stream.stream import EventStream, connect

MOST_BYTES = 32 * 2**20
"""What all kept answers together may take, about; the least recently used ones make room."""
_OVERHEAD_BYTES = 500

# (tenant, goal id, version, and what was asked about the goal)
Key = tuple[object, ...]
# (body, headers)
Kept = tuple[bytes, tuple[tuple[bytes, bytes], ...]]
THREADS = 20
"""How many requests are worked on at once; as many connections may be open, so that none waits for one."""
# A goal, its milestones and its links are read one after the other, and must be of one moment.
_READING = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


class ReadCache:
    """Answers to GETs that depend on nothing but a goal's version. Off with `seconds` 0.

    The version is read from Postgres in the same request, so what any process has written shows at once; `seconds`
    only says how long an answer that no one needs takes up room.
    """

    def __init__(self, seconds: int) -> None:
        self._kept: TTLCache[Key, Kept] | None = None
        if seconds:
            self._kept = TTLCache(MOST_BYTES, ttl=seconds, getsizeof=lambda kept: len(kept[0]) + _OVERHEAD_BYTES)
        self._lock = Lock()

    def answer(
        self, session: Session, tenant: Tenant, goal_id: str, asked: Key, make: Callable[[], Response]
    ) -> Response:
        """What `make` answers in this transaction, which must be of one moment, or did for the same version before.

        Raises NotFound, and what `make` raises.
        """
        if self._kept is None:
            return make()
        version = find_version(session, tenant, goal_id)
        key = (tenant.name, goal_id, version, *asked)
        with self._lock:
            kept = self._kept.get(key)
        if kept is None:
            # Two readers at once may both make it; the two answers are the same.
            made = make()
            kept = (bytes(made.body), tuple(made.raw_headers))
            if len(kept[0]) + _OVERHEAD_BYTES <= MOST_BYTES:
                with self._lock:
                    self._kept[key] = kept
        # A response of its own for each request, since middleware adds headers to it.
        response = Response(kept[0])
        response.raw_headers = list(kept[1])
        return response


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


class DatabaseAway(MilepostError):
    """The database is away or overloaded; what it said is the cause, which is for the log alone."""

    def __init__(self) -> None:
        super().__init__("The database is not available")


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One admitted request: its transaction, its tenant, and its moment."""

    session: Session
    tenant: Tenant
    now: datetime
    read_cache: ReadCache


class ContextSource(Protocol):
    """Lets one request in. Routes know no more of who asks, so that they serve in any app."""

    @property
    def max_body_bytes(self) -> int:
        """The longest body that is read."""
        ...

    def open(self, scope: Scope | None) -> AbstractContextManager[RequestContext]:
        """Begin the transaction, if the caller has the scope; commits at the end, rolls back on any error.

        The transaction of a GET cannot write, and all that it reads is of one moment. `None` takes any caller. Raises
        DatabaseAway for what the database does wrong in it. To be called from a worker thread only after the body has
        been read, so that a slow client never holds a connection.
        """
        ...


class NoContexts:
    """Bound until the app that hosts the routes has let the request in: till then nothing is read or done for it."""

    max_body_bytes = 0

    def open(self, _scope: Scope | None) -> AbstractContextManager[RequestContext]:
        """A route that comes this far is a fault of ours, never a way in."""
        raise RuntimeError("the app that hosts this route has not let the request in")


async def bound_contexts(request: Request) -> ContextSource:
    """The door that was bound; a router that binds none is a fault of ours, never a way in."""
    contexts: ContextSource | None = getattr(request.state, "milepost_contexts", None)
    if contexts is None:
        raise RuntimeError("the router of this route was made without a dependency that binds its door")
    return contexts


Contexts = Annotated[ContextSource, Depends(bound_contexts)]


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


def bind_contexts(request: Request, contexts: ContextSource) -> None:
    """Have the route of this request open `door`; for a dependency of its router."""
    request.state.milepost_contexts = contexts


def is_not_admitted(request: Request) -> bool:
    """Whether the app that hosts the route has still to let the request in, so that what is raised is the app's."""
    return isinstance(getattr(request.state, "milepost_contexts", None), NoContexts)


@contextmanager
def as_database_away() -> Iterator[None]:
    """Raise what the database does wrong in here as DatabaseAway: an error of ours, told from those of other databases.

    What it refuses of the data stays as it is: that is a fault of ours.
    """
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        if not is_database_trouble(error):
            raise
        raise DatabaseAway from error
