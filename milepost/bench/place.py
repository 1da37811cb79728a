"""Where a bench runs: servers of its own in a folder that is gone afterwards, and databases that are gone sooner."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, create_engine, text

from core.store.stream import connect
from milepost.embedded.postgres import EmbeddedPostgres
from milepost.embedded.valkey import EmbeddedValkey


@dataclass(frozen=True, slots=True)
class Place:
    """Two running servers."""

    postgres_url: str
    redis_url: str


@contextmanager
def bench_servers() -> Iterator[Place]:
    """A durable Postgres and Valkey in a temporary folder, both gone when the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="milepost-bench-"))
    try:
        postgres = EmbeddedPostgres.start(folder / "postgres", home=folder)
        try:
            valkey = EmbeddedValkey.start(folder / "valkey", appendfsync="always")
            try:
                yield Place(postgres.url, valkey.url)
            finally:
                valkey.stop()
        finally:
            postgres.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def database(server_url: str, name: str, *, template: str = "template1") -> Iterator[str]:
    """A database that is a copy of another one, gone when the block ends."""
    server = create_engine(server_url, isolation_level="AUTOCOMMIT")
    try:
        with server.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"))
            # The copy is on its way to the disk: what is measured should not pay for it.
            connection.execute(text("CHECKPOINT"))
            yield server_url.rpartition("/")[0] + f"/{name}"
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        server.dispose()


def empty(place: Place) -> None:
    """Drop the stream and whatever else lies beside it."""
    with connect(place.redis_url) as client:
        client.flushall()


def database_bytes(engine: Engine) -> int:
    """How much the engine's database takes on disk."""
    with engine.connect() as connection:
        return int(connection.scalar(text("SELECT pg_database_size(current_database())")))
