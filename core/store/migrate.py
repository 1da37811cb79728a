"""Migrations: they bring a database up to the tables of this version, one after the other, with short locks.

A database at a revision from before the first release is refused: one baseline replaced all of these. One that a newer
version has migrated can be used, and only that version migrates it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from core.errors import CANNOT, MilepostError
from core.store.database import LIMITS, Sessions, connect_arguments, require_version
from core.store.driver import Session, Sql

if TYPE_CHECKING:
    from alembic.config import Config

# With this lock any two migrations of one database, from any machines, run one after the other.
LOCK_KEY = 0x4D494C45
# How revisions were named before the first release, which made one baseline of them.
_BEFORE_RELEASE = re.compile(r"\d{4}")
# Until it has the lock, for which it may wait longer than any other statement may take.
_LIMITS = {**LIMITS, "statement_timeout": "0", "lock_timeout": "60s"}


class UnknownRevision(MilepostError):
    """The database is at a revision from before the first release."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"the database is at revision {revision}, {CANNOT}: "
            "keep it for the Milepost that made it, and set MILEPOST_DATABASE_URL to a new, empty database"
        )
        self.revision = revision


class NewerRevision(MilepostError):
    """A newer version has migrated the database. This one can go on using it, and cannot migrate it."""

    def __init__(self, revision: str) -> None:
        super().__init__(f"the database is at revision {revision} of a newer Milepost: migrate it with that version")


class NotMigrated(MilepostError):
    """The database has no tables yet, or those of an earlier release."""

    def __init__(self) -> None:
        super().__init__("the database does not have the tables of this version: run `milepost migrate` first")


_IN_FILE = re.compile(r'^revision = "(\w+)"', re.MULTILINE)
_TABLE = Sql("SELECT CAST(to_regclass('alembic_version') AS text)")
_REVISION = Sql("SELECT version_num FROM alembic_version")
_LOCK = Sql("SELECT pg_advisory_lock(:key)")


def migrate(database_url: str) -> None:
    """Bring the database to the newest revision, each step in a transaction of its own.

    Waits up to 60 s for another migration, but only 5 s for a table's lock: a step that cannot get the lock is rolled
    back, and the next call continues with that step. Raises DatabaseTooOld, UnknownRevision and NewerRevision, and then
    nothing was changed; psycopg.Error for trouble with the database.
    """
    from alembic import command
    from sqlalchemy import NullPool, create_engine

    # Its connection is closed at the end, and its lock and its limits end with it.
    engine = create_engine(
        database_url, poolclass=NullPool, connect_args=connect_arguments("milepost migrate", _LIMITS)
    )
    with _drivers_errors(), engine.connect() as connection:
        session = connection.connection.driver_connection
        assert isinstance(session, psycopg.Connection), "the address names the driver"
        require_version(session)
        _LOCK.run(session, {"key": LOCK_KEY})
        session.execute("SET lock_timeout = '5s'")
        session.execute("SET statement_timeout = '60s'")
        found = _revision_since_release(session)
        if _is_newer(found):
            raise NewerRevision(str(found))
        session.commit()
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def _drivers_errors() -> Iterator[None]:
    """Raise the driver's own errors, as all other code does, where Alembic's way to the driver wraps them."""
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        if error.orig is None:
            raise
        raise error.orig from None


def require_current(sessions: Sessions) -> None:
    """Raise DatabaseTooOld, UnknownRevision or NotMigrated unless the database can be used without a migration."""
    with sessions() as session:
        require_version(session)
        found = _revision_since_release(session)
    if _is_behind(found):
        raise NotMigrated


def is_behind(sessions: Sessions) -> bool:
    """Whether the database still has to be migrated.

    False for the revision of a newer version: processes of this one keep running when newer code has migrated.
    """
    with sessions() as session:
        try:
            return _is_behind(_revision_since_release(session))
        except UnknownRevision:
            return False


def _revision_since_release(session: Session) -> str | None:
    """The database's revision, None before the first migration; raises UnknownRevision if it is an older one."""
    found = revision(session)
    if found is not None and _BEFORE_RELEASE.fullmatch(found):
        raise UnknownRevision(found)
    return found


def _is_behind(found: str | None) -> bool:
    return found != revisions()[-1] and not _is_newer(found)


def _is_newer(found: str | None) -> bool:
    return found is not None and found not in revisions()


@cache
def revisions() -> tuple[str, ...]:
    """All revisions of this version, the oldest first: the files are numbered.

    Read without alembic, whose import would take longer than all else that a process does at its start.
    """
    files = sorted((Path(__file__).parent / "migrations" / "versions").glob("[0-9]*.py"))
    return tuple(found[1] for file in files if (found := _IN_FILE.search(file.read_text("utf-8"))))


def revision(session: Session) -> str | None:
    """The database's revision; None before the first migration."""
    # Not through alembic's own context, which would write two lines to the log of the application that asks.
    if _TABLE.value(session, {}) is None:
        return None
    found: str | None = _REVISION.value(session, {})
    return found


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "core.store:migrations")
    config.set_main_option("path_separator", "os")
    return config
