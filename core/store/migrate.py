"""Migrations: bringing a database up to the tables of this version, one at a time and never for long."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

# Any two migrations of one database, from any machine, wait for each other.
LOCK_KEY = 0x4D494C45


def migrate(engine: Engine) -> None:
    """Bring the database to the newest revision, each step in a transaction of its own.

    Waits for another migration, but not long for a table's lock: a step that cannot have it is rolled back, and the
    next call goes on there.
    """
    with engine.connect() as connection:
        # Closed at the end, not given back: with the connection go its lock and its limits.
        connection.detach()
        # The engine's own limit of a statement is shorter than another migration may take.
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("SET lock_timeout = '60s'"))
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK_KEY})
        connection.execute(text("SET lock_timeout = '5s'"))
        connection.execute(text("SET statement_timeout = '60s'"))
        connection.commit()
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def is_current(engine: Engine) -> bool:
    """Whether the database is not behind this code. One that newer code has migrated further already is not."""
    scripts = ScriptDirectory.from_config(_config())
    known = {script.revision for script in scripts.walk_revisions()}
    with engine.connect() as connection:
        found = revision(connection)
    return found == scripts.get_current_head() or (found is not None and found not in known)


def revision(connection: Connection) -> str | None:
    """The database's revision; None before the first migration."""
    # Not by alembic's own context, which logs two lines into whatever application asks.
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar_one() is None:
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "core.store:migrations")
    config.set_main_option("path_separator", "os")
    return config
