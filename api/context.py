"""The request context: the connections that the API keeps, and the transaction in which a route works for a tenant."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Annotated, Protocol, cast

import psycopg
from cachetools import TTLCache
from fastapi import Depends, Request
from redis import Redis
from starlette.responses import Response

from core.errors import MilepostError, SettingsError
from core.providers.sealing import Sealer
from core.services.goal_access import find_version
from core.services.keys import Scope
from core.services.webhooks import sealer_of
from core.settings import Settings
from core.store.database import Sessions, is_database_trouble, open_sessions
from core.store.driver import Session
from core.store.tenants import Tenant
from core.stream.stream import EventStream, connect

MOST_BYTES = 32 * 2**20
"""About how much memory all cached answers together may take; the least recently used ones are dropped first."""
# What a cached answer takes besides its body, roughly.
_OVERHEAD_BYTES = 500

# (tenant, goal id, version, and what was asked about the goal)
Key = tuple[object, ...]
# (body, headers)
CachedAnswer = tuple[bytes, tuple[tuple[bytes, bytes], ...]]
THREADS = 20
"""How many requests are in progress at once. As many connections may be open, so that no request waits for one."""


class ReadCache:
    """Answers to GETs that depend on nothing but a goal's version. Off with `seconds` 0.

    Each request reads the goal's version from Postgres, so a change by any process shows at once; `seconds` only says
    how long an answer that nobody asks for stays in memory.
    """

    def __init__(self, seconds: int) -> None:
        self._answers: TTLCache[Key, CachedAnswer] | None = None
        if seconds:
            self._answers = TTLCache(MOST_BYTES, ttl=seconds, getsizeof=lambda cached: len(cached[0]) + _OVERHEAD_BYTES)
        self._lock = Lock()

    def answer(
        self, session: Session, tenant: Tenant, goal_id: str, part: Key, make: Callable[[], Response]
    ) -> Response:
        """The cached answer for the goal's present version, else what `make` answers in this transaction.

        `part` names what is asked about the goal. The transaction must see a single moment, or `make` could read a
        later version than the one under which its answer is cached. Raises NotFound, and what `make` raises.
        """
        if self._answers is None:
            return make()
        version = find_version(session, tenant, goal_id)
        key = (tenant.name, goal_id, version, *part)
        with self._lock:
            cached = self._answers.get(key)
        if cached is None:
            # Two requests at once may both make the answer; the two are the same.
            made = make()
            cached = (bytes(made.body), tuple(made.raw_headers))
            if len(cached[0]) + _OVERHEAD_BYTES <= MOST_BYTES:
                with self._lock:
                    self._answers[key] = cached
        # A response of its own for each request, since middleware adds headers to it.
        response = Response(cached[0])
        response.raw_headers = list(cached[1])
        return response


@dataclass(frozen=True, slots=True)
class Backends:
    """The servers behind the API; both are connected to at first use.

    `sealer` decrypts the secrets of webhooks; it is None if no key for them is set.
    """

    sessions: Sessions
    redis: Redis
    stream: EventStream
    read_cache: ReadCache
    sealer: Sealer | None

    def close(self) -> None:
        """Close every connection."""
        self.redis.close()
        self.sessions.close()


class DatabaseAway(MilepostError):
    """The database is away or overloaded. Its own error is the cause, which only the log may show."""

    def __init__(self) -> None:
        super().__init__("The database is not available")


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One admitted request: its transaction, its tenant, and the moment that counts as now for all that it does."""

    session: Session
    tenant: Tenant
    now: datetime
    read_cache: ReadCache


class ContextSource(Protocol):
    """Opens the context of one request. Routes know nothing else of the caller, so that they work in any app."""

    @property
    def max_body_bytes(self) -> int:
        """The longest body that is read."""
        ...

    def open(self, scope: Scope | None) -> AbstractContextManager[RequestContext]:
        """Begin the transaction if the caller has `scope`; None admits any caller. Commits at the end of the block.

        Any error rolls back. The transaction of a GET cannot write, and all that it reads is of one moment. Raises
        DatabaseAway for trouble with the database. Call it from a worker thread, and only after the body has been
        read, so that a slow client never occupies a connection.
        """
        ...

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait for the caller's turn to be in progress, for all of the block."""
        ...


class NoContexts:
    """Bound until the app that hosts the routes has let the request in; until then nothing is read or done for it."""

    max_body_bytes = 0

    def open(self, _scope: Scope | None) -> AbstractContextManager[RequestContext]:
        """Always fails: a route that is called without admission is a fault of ours, and must let nobody in."""
        raise RuntimeError("the app that hosts this route has not let the request in")

    def turn(self) -> AbstractAsyncContextManager[None]:
        """No wait: the request goes no further."""
        return nullcontext()


async def bound_contexts(request: Request) -> ContextSource:
    """The contexts that were bound. A router that binds none is a fault of ours, and must let nobody in."""
    contexts: ContextSource | None = getattr(request.state, "milepost_contexts", None)
    if contexts is None:
        raise RuntimeError("the router of this route was made without a dependency that binds its contexts")
    return contexts


Contexts = Annotated[ContextSource, Depends(bound_contexts)]


def open_backends(settings: Settings) -> Backends:
    """Prepare the backends; raises SettingsError if an address is missing."""
    if settings.database_url is None:
        raise SettingsError("MILEPOST_DATABASE_URL is needed by the API")
    if settings.redis_url is None:
        raise SettingsError("MILEPOST_REDIS_URL is needed by the API")
    sessions = open_sessions(settings, application_name="milepost-api", connections=THREADS, kept=THREADS // 2)
    redis = connect(settings.redis_url.get_secret_value())
    stream = EventStream(redis, settings.shards, durability=settings.stream_durability)
    read_cache = ReadCache(settings.read_cache_seconds)
    sealer = sealer_of(settings)
    return Backends(sessions, redis, stream, read_cache, sealer)


def backends_of(request: Request) -> Backends:
    """The backends of the app that serves this request."""
    return cast(Backends, request.app.state.backends)


def bind_contexts(request: Request, contexts: ContextSource) -> None:
    """Set what the route of this request opens its context with; for a dependency of its router."""
    request.state.milepost_contexts = contexts


def is_not_admitted(request: Request) -> bool:
    """Whether the hosting app has not let the request in yet; what is raised until then, the app answers."""
    return isinstance(getattr(request.state, "milepost_contexts", None), NoContexts)


@contextmanager
def as_database_away() -> Iterator[None]:
    """Raise trouble with the database in the block as DatabaseAway.

    An app may use other databases too; this error is certainly about ours. An error about the data is raised as it is:
    that is a fault of ours.
    """
    try:
        yield
    except psycopg.Error as error:
        if not is_database_trouble(error):
            raise
        raise DatabaseAway from error
