"""One database transaction for one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.orm import Session

from core.store.engine import make_engine, session_factory
from milepost.cli.connection import connected_settings


@contextmanager
def command_session(data_dir: Path | None) -> Iterator[Session]:
    """A session that commits when the block ends well; raises NoServers."""
    engine = make_engine(connected_settings(data_dir), application_name="milepost")
    try:
        with session_factory(engine).begin() as session:
            yield session
    finally:
        engine.dispose()
