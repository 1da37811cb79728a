"""The request context: the connections that the API keeps, and the transaction in which a route works for a tenant."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Protocol, TypeAlias, TypeVar, cast

import psycopg
from fastapi import Depends, Request

from core.errors import MilepostError
from core.services.keys import Scope
from core.services.quotas import SentEvents
from core.settings import Settings
from core.store.database import Sessions, is_database_trouble, open_sessions
from core.store.driver import Session
from core.store.tenants import Tenant
from core.stream.stream import EventStream, connect

Result = TypeVar("Result")
Load: TypeAlias = Callable[[Session, Tenant, Sequence[str], datetime], Mapping[str, Result]]
"""Reads what there is of these ids of a tenant; an id that does not exist is left out. What needs more than one
statement begins by `require_transaction`.
"""
THREADS, READING_THREADS = 20, 8
"""How many requests that may change something, and how many that only read, are in progress at once.

As many connections may be open, so that no request waits for one. Changes may wait for locks, and those of a few
tenants may have all the threads that there are for them. Reads wait for no lock, so in threads of their own they go on.
"""


@dataclass(frozen=True, slots=True)
class Backends:
    """The servers behind the API; both are connected to at first use.

    `event_stream` is None if the settings name no stream server: then `stream` raises NoStreamServer, and all else
    works.
    """

    sessions: Sessions
    settings: Settings
    event_stream: EventStream | None
    sent: SentEvents

    @property
    def stream(self) -> EventStream:
        """The stream of events; raises NoStreamServer."""
        if self.event_stream is None:
            raise NoStreamServer
        return self.event_stream

    def close(self) -> None:
        """Close every connection."""
        if self.event_stream is not None:
            self.event_stream.client.close()
        self.sessions.close()


class NoStreamServer(MilepostError):
    """A request needs the stream server, and the settings name none."""

    def __init__(self) -> None:
        super().__init__("Events need a stream server: set MILEPOST_REDIS_URL, or give redis_url")


class DatabaseAway(MilepostError):
    """The database is away or overloaded. Its own error is the cause, which only the log may show."""

    def __init__(self) -> None:
        super().__init__("The database is not available")


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One admitted request: its transaction, its tenant, and the moment that counts as now for all that it does.

    `actor` is who acts, as the audit names it.
    """

    session: Session
    tenant: Tenant
    now: datetime
    actor: str
    backends: Backends


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

    async def admit(self, scope: Scope | None) -> str:
        """Check the caller before the body is read, and `scope` unless it is None; returns who it is.

        Raises what `open` raises.
        """
        ...

    async def run(self, function: Callable[[], Result]) -> Result:
        """Wait for the caller's turn to be in progress, and call the function in a thread."""
        ...

    def note_refused_events(self, reason: str) -> None:
        """Count a refused body of events, where there are metrics."""
        ...

    async def read(self, scope: Scope, load: Load[Result], name: str) -> Result | None:
        """What `load` reads of one id of the caller's tenant; None if it does not exist.

        Raises what `open` raises.
        """
        ...


class NoContexts:
    """Bound until the app that hosts the routes has let the request in; until then nothing is read or done for it."""

    max_body_bytes = 0

    def open(self, _scope: Scope | None) -> AbstractContextManager[RequestContext]:
        """Always fails: a route that is called without admission is a fault of ours, and must let nobody in."""
        raise RuntimeError("the app that hosts this route has not let the request in")

    async def admit(self, _scope: Scope | None) -> str:
        """Always fails, as `open` does."""
        raise RuntimeError("the app that hosts this route has not let the request in")

    async def run(self, _function: Callable[[], Result]) -> Result:
        """Always fails, as `open` does."""
        raise RuntimeError("the app that hosts this route has not let the request in")

    def note_refused_events(self, _reason: str) -> None:
        """Nothing is counted for a request that was not let in."""

    async def read(self, _scope: Scope, _load: Load[Result], _name: str) -> Result | None:
        """Always fails, as `open` does."""
        raise RuntimeError("the app that hosts this route has not let the request in")


def contexts_of(request: Request) -> ContextSource:
    """The contexts that were bound. A router that binds none is a fault of ours, and must let nobody in."""
    contexts: ContextSource | None = getattr(request.state, "milepost_contexts", None)
    if contexts is None:
        raise RuntimeError("the router of this route was made without a dependency that binds its contexts")
    return contexts


async def _bound_contexts(request: Request) -> ContextSource:
    return contexts_of(request)


Contexts = Annotated[ContextSource, Depends(_bound_contexts)]


def open_backends(settings: Settings, *, application_name: str, connections: int) -> Backends:
    """Prepare the backends; raises ValueError if the settings name no database."""
    sessions = open_sessions(
        settings, application_name=application_name, connections=connections, kept=connections // 2
    )
    stream = None
    if settings.redis_url is not None:
        redis = connect(settings.redis_url.get_secret_value())
        stream = EventStream(redis, settings.shards, durability=settings.stream_durability)
    return Backends(sessions, settings, stream, SentEvents(settings.waiting_most))


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
