"""Migrations: they bring a database up to the tables of this version, one after the other, with short locks.

A database at a revision from before the first release is refused: one baseline replaced all of these. One that a newer
version has migrated can be used, and only that version migrates it.
"""

import re

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from core.errors import MilepostError
from core.store.engine import require_version

# With this lock any two migrations of one database, from any machines, run one after the other.
LOCK_KEY = 0x4D494C45
# How revisions were named before the first release, which made one baseline of them.
_BEFORE_RELEASE = re.compile(r"\d{4}")
CANNOT = "which this version of Milepost cannot bring forward (no earlier release had it)"


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


def migrate(engine: Engine) -> None:
    """Bring the database to the newest revision, each step in a transaction of its own.

    Waits up to 60 s for another migration, but only 5 s for a table's lock: a step that cannot get the lock is rolled
    back, and the next call continues with that step. Raises DatabaseTooOld, UnknownRevision and NewerRevision; then
    nothing was changed.
    """
    with engine.connect() as connection:
        # Closed at the end and not returned to the pool, so that its lock and its limits end with it.
        connection.detach()
        require_version(connection)
        # The engine's statement timeout is shorter than the time that another migration may take.
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("SET lock_timeout = '60s'"))
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK_KEY})
        connection.execute(text("SET lock_timeout = '5s'"))
        connection.execute(text("SET statement_timeout = '60s'"))
        found = _revision_since_release(connection)
        if _is_newer(found):
            raise NewerRevision(str(found))
        connection.commit()
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def require_current(engine: Engine) -> None:
    """Raise DatabaseTooOld, UnknownRevision or NotMigrated unless the database can be used without a migration."""
    with engine.connect() as connection:
        require_version(connection)
        found = _revision_since_release(connection)
    if _is_behind(found):
        raise NotMigrated


def is_behind(engine: Engine) -> bool:
    """Whether the database still has to be migrated.

    False for the revision of a newer version: processes of this one keep running when newer code has migrated.
    """
    with engine.connect() as connection:
        try:
            return _is_behind(_revision_since_release(connection))
        except UnknownRevision:
            return False


def _revision_since_release(connection: Connection) -> str | None:
    """The database's revision, None before the first migration; raises UnknownRevision if it is an older one."""
    found = revision(connection)
    if found is not None and _BEFORE_RELEASE.fullmatch(found):
        raise UnknownRevision(found)
    return found


def _is_behind(found: str | None) -> bool:
    return found != _scripts().get_current_head() and not _is_newer(found)


def _is_newer(found: str | None) -> bool:
    return found is not None and found not in {script.revision for script in _scripts().walk_revisions()}


def revision(connection: Connection) -> str | None:
    """The database's revision; None before the first migration."""
    # Not through alembic's own context, which would write two lines to the log of the application that asks.
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
