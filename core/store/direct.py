"""Straight to the driver: for a drain's statements, of which SQLAlchemy's way takes some 80 us each.

They are part of the session's transaction like any other, and what goes wrong with them is told as SQLAlchemy tells it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

Row = tuple[Any, ...]

# Parameters that are named make the driver take a statement of more than 4,096 characters apart at every call; those
# that are numbered it leaves to the server.
_NUMBERED = PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]


def driver(session: Session) -> psycopg.Connection[Row]:
    """The driver's connection on which the session's transaction is."""
    connection = session.connection().connection.driver_connection
    if not isinstance(connection, psycopg.Connection):
        raise TypeError("this statement needs a psycopg connection")
    return connection


@contextmanager
def errors_translated(session: Session, statement: str) -> Iterator[None]:
    """Raise errors of the driver as those of SQLAlchemy, which also gives up a connection that is lost.

    Parameters are left out, for amounts must not reach a log.
    """
    try:
        yield
    except psycopg.Error as error:
        is_lost = driver(session).closed
        if is_lost:
            session.connection().invalidate(error)
        raise DBAPIError.instance(
            statement, None, error, psycopg.Error, hide_parameters=True, connection_invalidated=is_lost
        ) from error


class Direct:
    """A statement with parameters written as `:name`; its rows come in Postgres' binary form."""

    __slots__ = ("_names", "_sql")

    def __init__(self, sql: str) -> None:
        compiled = text(sql).compile(dialect=_NUMBERED)
        self._sql = compiled.string
        self._names: list[str] = compiled.positiontup or []

    def rows(self, session: Session, parameters: Mapping[str, object]) -> list[Row]:
        """The rows of a statement that gives rows."""
        with errors_translated(session, self._sql), self._executed(session, parameters) as cursor:
            return cursor.fetchall()

    def run(self, session: Session, parameters: Mapping[str, object]) -> None:
        """Run a statement that gives nothing, or of which nothing is wanted."""
        with errors_translated(session, self._sql), self._executed(session, parameters):
            pass

    def _executed(self, session: Session, parameters: Mapping[str, object]) -> psycopg.RawCursor[Row]:
        cursor: psycopg.RawCursor[Row] = psycopg.RawCursor(driver(session))
        return cursor.execute(self._sql, [parameters[name] for name in self._names], binary=True)


class Savepoint:
    """A place in the session's transaction to which it can go back, in one round trip where all goes well.

    What is kept is not released, as `Session.begin_nested` does: the end of the transaction keeps it.
    """

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session
        self._do("SAVEPOINT before")

    def undo(self) -> None:
        """Undo what was done since, and give back the locks that were taken."""
        self._do("ROLLBACK TO SAVEPOINT before; RELEASE SAVEPOINT before")

    def _do(self, commands: str) -> None:
        with errors_translated(self._session, commands):
            driver(self._session).execute(commands, prepare=False)
