"""Engines and sessions: how a process reaches Postgres, and with which limits."""

from collections.abc import Callable

import psycopg
import psycopg.errors
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from core.errors import MilepostError
from core.settings import Settings

# An engine knows the kinds of parameters that the driver knew when it was made: imported for that, and before any is.
from core.store import driver  # noqa: F401

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

SessionFactory = Callable[[], Session]


class DatabaseTooOld(MilepostError):
    """The database answers, but its version lacks functions that our statements use."""

    def __init__(self, version_text: str) -> None:
        super().__init__(
            f"the database is PostgreSQL {version_text}, which is too old: Milepost needs {VERSION_NEEDED}"
        )


def make_engine(
    database: Settings | str,
    *,
    application_name: str,
    pool_size: int = 1,
    max_overflow: int = 1,
    limits: dict[str, str] | None = None,
) -> Engine:
    """An engine that connects when it is first used; times are UTC, and every wait has a limit."""
    url = database_url(database) if isinstance(database, Settings) else database
    options = " ".join(
        f"-c {name}={value}" for name, value in (CLIENT_CHECK | (LIMITS if limits is None else limits)).items()
    )
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_pre_ping=True,
        pool_recycle=1800,
        pool_timeout=10,
        # Amounts and names must not reach a log through the error of a failed statement.
        hide_parameters=True,
        connect_args={
            "application_name": application_name,
            "connect_timeout": 5,
            **KEEPALIVES,
            "options": f"{options} -c timezone=UTC",
        },
    )


def database_url(settings: Settings) -> str:
    """The address of Postgres; callers fill in the embedded server's address before they call this."""
    if settings.database_url is None:
        raise ValueError("the settings name no database")
    return settings.database_url.get_secret_value()


def require_version(connection: Connection) -> None:
    """Raise DatabaseTooOld if the server is older than what Milepost needs."""
    statement = text("SELECT CAST(current_setting('server_version_num') AS int), current_setting('server_version')")
    refuse_old(*connection.execute(statement).one())


def refuse_old(version: int, version_text: str) -> None:
    """Raise DatabaseTooOld if a version is too old for Milepost; `version` is 150014 for PostgreSQL 15.14."""
    if version < VERSION_LEAST:
        # Leave out what a distribution adds in brackets.
        raise DatabaseTooOld(version_text.partition(" ")[0])


def session_factory(engine: Engine) -> sessionmaker[Session]:
    """A factory of sessions; the outermost caller begins and commits their transactions."""
    return sessionmaker(engine, expire_on_commit=False)


def ping(session: Session) -> None:
    """Raise the database's own error if it does not answer."""
    session.execute(text("SELECT 1"))


def is_wait_too_long(error: BaseException) -> bool:
    """Whether a statement was given up because it took longer than a limit, most likely since others kept a lock."""
    too_long = psycopg.errors.LockNotAvailable | psycopg.errors.QueryCanceled
    return isinstance(error, DBAPIError) and isinstance(error.orig, too_long)


def is_database_trouble(error: BaseException) -> bool:
    """Whether an error comes from the database's own state and not from the data."""
    return isinstance(error, SQLAlchemyError) and not is_refused_value(error)


def is_undone(error: BaseException) -> bool:
    """Whether the database rolled back a transaction because of others, so that the same transaction may succeed now.

    These are deadlocks and failed serializations. Such a transaction has changed nothing.
    """
    conflict = psycopg.errors.DeadlockDetected | psycopg.errors.SerializationFailure
    return isinstance(error, DBAPIError) and isinstance(error.orig, conflict)


def is_refused_value(error: BaseException) -> bool:
    """Whether the database refused a value (SQLSTATE classes 22 and 23): out of range, not unique, or against a check.

    Every other error comes from the database's own state: it is away, full or read-only, there was a deadlock, or the
    schema is not migrated yet.
    """
    return isinstance(error, DBAPIError) and isinstance(error.orig, psycopg.DataError | psycopg.IntegrityError)
