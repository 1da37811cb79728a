"""One database transaction for one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.orm import Session, sessionmaker

from core.store.engine import make_engine, session_factory
from milepost.cli.connection import connected_settings

# Who acts, in the audit.
COMMAND_LINE = "command line"


@contextmanager
def command_sessions(data_dir: Path | None) -> Iterator[sessionmaker[Session]]:
    """Sessions for a command that commits more than once; raises NoServers."""
    engine = make_engine(connected_settings(data_dir), application_name="milepost")
    try:
        yield session_factory(engine)
    finally:
        engine.dispose()


@contextmanager
def command_session(data_dir: Path | None) -> Iterator[Session]:
    """A session that commits when the block ends well; raises NoServers."""
    with command_sessions(data_dir) as sessions, sessions.begin() as session:
        yield session
