"""Migrations: bringing a database up to the tables of this version, one at a time and never for long.

A database is refused if it is at a revision that is none of ours: one from before the first release, which made a
baseline of the revisions until then, or one of a newer version.
"""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from core.errors import MilepostError
from core.store.engine import require_version

# Any two migrations of one database, from any machine, wait for each other.
LOCK_KEY = 0x4D494C45
CANNOT = "which this version of Milepost cannot bring forward (no earlier release had it)"


class UnknownRevision(MilepostError):
    """The database is at a revision from before the first release, or of a newer version."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"the database is at revision {revision}, {CANNOT}: "
            "keep it for the Milepost that made it, and set MILEPOST_DATABASE_URL to a new, empty database"
        )
        self.revision = revision


class NotMigrated(MilepostError):
    """The database has no tables yet, or those of an earlier release."""

    def __init__(self) -> None:
        super().__init__("the database does not have the tables of this version: run `milepost migrate` first")


def migrate(engine: Engine) -> None:
    """Bring the database to the newest revision, each step in a transaction of its own.

    Waits for another migration, but not long for a table's lock: a step that cannot have it is rolled back, and the
    next call goes on there. Raises DatabaseTooOld and UnknownRevision, with nothing changed.
    """
    with engine.connect() as connection:
        # Closed at the end, not given back: with the connection go its lock and its limits.
        connection.detach()
        require_version(connection)
        # The engine's own limit of a statement is shorter than another migration may take.
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("SET lock_timeout = '60s'"))
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK_KEY})
        connection.execute(text("SET lock_timeout = '5s'"))
        connection.execute(text("SET statement_timeout = '60s'"))
        _known_revision(connection)
        connection.commit()
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def require_current(engine: Engine) -> None:
    """Raise DatabaseTooOld, UnknownRevision or NotMigrated unless the database can be used as it is."""
    with engine.connect() as connection:
        require_version(connection)
        if _known_revision(connection) != _scripts().get_current_head():
            raise NotMigrated


def is_behind(engine: Engine) -> bool:
    """Whether the database has still to be migrated.

    One at an unknown revision has not: a process that began before newer code migrated the database goes on.
    """
    with engine.connect() as connection:
        try:
            return _known_revision(connection) != _scripts().get_current_head()
        except UnknownRevision:
            return False


def _known_revision(connection: Connection) -> str | None:
    """The database's revision if it is one of ours, None before the first; raises UnknownRevision."""
    found = revision(connection)
    if found is not None and found not in {script.revision for script in _scripts().walk_revisions()}:
        raise UnknownRevision(found)
    return found


def revision(connection: Connection) -> str | None:
    """The database's revision; None before the first migration."""
    # Not by alembic's own context, which logs two lines into whatever application asks.
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar_one() is None:
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "core.store:migrations")
    config.set_main_option("path_separator", "os")
    return config
