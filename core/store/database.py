"""How a process reaches Postgres: pooled connections, sessions on them, and limits for every wait."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from select import POLLIN, poll
from threading import Semaphore
from typing import Any, Self

import psycopg
import psycopg.errors
from psycopg import IsolationLevel
from psycopg.pq import TransactionStatus

from core.errors import MilepostError
from core.settings import Settings
from core.store.driver import Session, Sql

# As in the server's `server_version_num`. PostgreSQL 15 lacks the JSON functions that our statements use.
VERSION_LEAST = 160_000
VERSION_NEEDED = "PostgreSQL 16 or newer"

# If a process stops in the middle of a batch, the server must release its locks before others wait for long.
LIMITS = {"statement_timeout": "15s", "lock_timeout": "5s", "idle_in_transaction_session_timeout": "10s"}

# A server that has vanished, or a network that drops all packets, neither answers nor closes the connection. Without
# these settings the operating system would wait for two hours, and a drain or a request with it. With them it gives up
# after about 25 s, whichever side was to send next.
KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}

# Else a server works on a statement to its end, and keeps its locks, although its client was killed meanwhile.
CLIENT_CHECK = {"client_connection_check_interval": "2s"}

_WAIT_FOR_CONNECTION_S = 10
# Firewalls forget a connection on which nothing is sent.
_IDLE_MOST_S = 1800
_SCHEME = "postgresql+psycopg://"
_VERSION = Sql("SELECT CAST(current_setting('server_version_num') AS int), current_setting('server_version')")
_PING = Sql("SELECT 1")


class DatabaseTooOld(MilepostError):
    """The database answers, but its version lacks functions that our statements use."""

    def __init__(self, version_text: str) -> None:
        super().__init__(
            f"the database is PostgreSQL {version_text}, which is too old: Milepost needs {VERSION_NEEDED}"
        )


class NoFreeConnection(psycopg.OperationalError):
    """All connections of the process are in use, and none became free in time."""


@dataclass(slots=True)
class _Pool:
    """The connections of a process: those that are not in use, the last used last, and room for how many more.

    Written here, since a pool that connects in the background does not say why it cannot.
    """

    connect: Callable[[], Session]
    kept: int
    room: Semaphore
    idle: deque[tuple[Session, float]] = field(default_factory=deque)
    is_closed: bool = False

    def take(self) -> Session:
        """A connection that the server has not closed; raises psycopg.OperationalError."""
        if not self.room.acquire(timeout=_WAIT_FOR_CONNECTION_S):
            raise NoFreeConnection("all connections of this process are in use")
        try:
            while (found := self._pop()) is not None:
                if not _has_ended(found):
                    return found
                found.close()
            return self.connect()
        except BaseException:
            self.room.release()
            raise

    def give_back(self, session: Session) -> None:
        """Roll back, and keep the connection, unless it is lost, still at work, or there are enough."""
        try:
            with suppress(psycopg.Error):
                session.rollback()
            if not _is_idle(session) or session.autocommit or len(self.idle) >= self.kept:
                session.close()
            else:
                self.idle.append((session, time.monotonic()))
            if self.is_closed:
                self.close()
        finally:
            self.room.release()

    def close(self) -> None:
        """Close what is not in use, now, and the rest when it comes back."""
        self.is_closed = True
        while (found := self._pop()) is not None:
            found.close()

    def _pop(self) -> Session | None:
        try:
            session, used_at = self.idle.pop()
        except IndexError:
            return None
        if time.monotonic() - used_at > _IDLE_MOST_S:
            # Those before it were not used for even longer.
            session.close()
            return self._pop()
        return session


class Sessions:
    """Opens sessions: each is one transaction, on a connection of its own. Any number of threads may use it.

    It connects when the first session is opened, and again after `close`. Each process needs its own: after a fork, the
    child calls `forget`.
    """

    def __init__(self, connect: Callable[[], Session], connections: int, kept: int) -> None:
        self._connect, self._connections, self._kept = connect, connections, kept
        self._pool = self._new_pool()

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """A session that is committed when the block ends, and rolled back if the block raises.

        Raises psycopg.OperationalError if there is no connection.
        """
        with self() as session:
            yield session
            session.commit()

    def __call__(self) -> AbstractContextManager[Session]:
        """A session that is rolled back when the block ends. Raises psycopg.OperationalError as `begin` does."""
        return self._session(reading=False)

    @contextmanager
    def single(self) -> Iterator[Session]:
        """A session for one statement that writes nothing; it is a transaction by itself, and takes one round trip.

        Raises psycopg.OperationalError as `begin` does.
        """
        with self() as session:
            session.autocommit = True
            try:
                yield session
            finally:
                if _is_idle(session):
                    session.autocommit = False

    def reading(self) -> AbstractContextManager[Session]:
        """A session that cannot write and sees one moment only. Raises psycopg.OperationalError as `begin` does."""
        return self._session(reading=True)

    @contextmanager
    def _session(self, *, reading: bool) -> Iterator[Session]:
        pool = self._pool
        session = pool.take()
        try:
            session.isolation_level = IsolationLevel.REPEATABLE_READ if reading else None
            session.read_only = True if reading else None
            yield session
        finally:
            pool.give_back(session)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are not in use; the others are closed when their sessions end."""
        pool, self._pool = self._pool, self._new_pool()
        pool.close()

    def forget(self) -> None:
        """Leave the connections to the parent, in a fork of the process that opened them."""
        self._pool = self._new_pool()

    def _new_pool(self) -> _Pool:
        return _Pool(self._connect, self._kept, Semaphore(self._connections))


def _is_idle(session: Session) -> bool:
    """Whether no statement and no transaction is open. One is if an exception ended the wait for an answer."""
    return session.info.transaction_status == TransactionStatus.IDLE


def open_sessions(
    database: Settings | str,
    *,
    application_name: str,
    connections: int = 2,
    kept: int = 1,
    limits: Mapping[str, str] | None = None,
) -> Sessions:
    """Sessions on at most `connections`, of which `kept` stay open; times are UTC, and every wait has a limit."""
    url = driver_url(database_url(database) if isinstance(database, Settings) else database)
    arguments = connect_arguments(application_name, LIMITS if limits is None else limits)
    return Sessions(lambda: psycopg.connect(url, **arguments), connections, kept)


def connect_arguments(application_name: str, limits: Mapping[str, str]) -> dict[str, Any]:
    """What psycopg needs besides the address; `limits` are settings of Postgres."""
    options = " ".join(f"-c {name}={value}" for name, value in {**CLIENT_CHECK, **limits, "timezone": "UTC"}.items())
    return {"application_name": application_name, "connect_timeout": 5, "options": options, **KEEPALIVES}


def driver_url(url: str) -> str:
    """An address as psycopg takes it; settings may name the driver too, as SQLAlchemy's addresses do."""
    return url.replace(_SCHEME, "postgresql://", 1)


def database_url(settings: Settings) -> str:
    """The address of Postgres; callers fill in the embedded server's address before they call this."""
    if settings.database_url is None:
        raise ValueError("the settings name no database")
    return settings.database_url.get_secret_value()


def listen_url(settings: Settings) -> str:
    """The address of Postgres for LISTEN, which a transaction pooler cannot serve."""
    return database_url(settings) if settings.listen_url is None else settings.listen_url.get_secret_value()


def require_version(session: Session) -> None:
    """Raise DatabaseTooOld if the server is older than what Milepost needs."""
    refuse_old(*_VERSION.one(session, {}))


def refuse_old(version: int, version_text: str) -> None:
    """Raise DatabaseTooOld if a version is too old for Milepost; `version` is 150014 for PostgreSQL 15.14."""
    if version < VERSION_LEAST:
        # Leave out what a distribution adds in brackets.
        raise DatabaseTooOld(version_text.partition(" ")[0])


def ping(session: Session) -> None:
    """Raise the database's own error if it does not answer."""
    _PING.run(session, {})


def is_wait_too_long(error: BaseException) -> bool:
    """Whether a statement was given up because it took longer than a limit, most likely since others kept a lock."""
    return isinstance(error, psycopg.errors.LockNotAvailable | psycopg.errors.QueryCanceled)


def is_database_trouble(error: BaseException) -> bool:
    """Whether an error comes from the database's own state and not from the data."""
    return isinstance(error, psycopg.Error) and not is_refused_value(error)


def is_refused_value(error: BaseException) -> bool:
    """Whether the database refused a value (SQLSTATE classes 22 and 23): out of range, not unique, or against a check.

    Every other error comes from the database's own state: it is away, full or read-only, there was a deadlock, or the
    schema is not migrated yet.
    """
    return isinstance(error, psycopg.DataError | psycopg.IntegrityError)


def _has_ended(session: Session) -> bool:
    """Whether the server has closed an idle connection: it sends nothing on one that it keeps."""
    if session.closed:
        return True
    # Unlike select() it takes a descriptor of any number: a process may have thousands of files and sockets open.
    waiting = poll()
    waiting.register(session.fileno(), POLLIN)
    return bool(waiting.poll(0))
