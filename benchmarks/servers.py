"""The servers that a benchmark starts for itself, and the databases that it makes and drops on them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, create_engine, text

from core.store.database import connect_arguments
from core.stream.stream import connect
from milepost.embedded.postgres import EmbeddedPostgres
from milepost.embedded.valkey import EmbeddedValkey


@dataclass(frozen=True, slots=True)
class ServerUrls:
    """The addresses of two running servers."""

    postgres_url: str
    redis_url: str


@contextmanager
def bench_servers() -> Iterator[ServerUrls]:
    """A durable Postgres and Valkey in a temporary folder, both removed when the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="milepost-bench-"))
    try:
        postgres = EmbeddedPostgres.start(folder / "postgres", home=folder)
        try:
            valkey = EmbeddedValkey.start(folder / "valkey", appendfsync="always")
            try:
                yield ServerUrls(postgres.url, valkey.url)
            finally:
                valkey.stop()
        finally:
            postgres.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# Every B-tree of the tables, with its columns and, where it is partial, its condition.
_INDEXES = text(
    """SELECT indrelid::regclass::text, pg_get_expr(indpred, indrelid),
        array(SELECT pg_get_indexdef(indexrelid, n, true) FROM generate_series(1, indnkeyatts) AS n)
    FROM pg_index JOIN pg_class t ON t.oid = indrelid
    WHERE t.relkind = 'r' AND t.relnamespace = 'public'::regnamespace"""
)
_BY_INDEX = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off"


@contextmanager
def database(server_url: str, name: str, *, template: str = "template1") -> Iterator[str]:
    """A database that is a copy of another one, dropped when the block ends."""
    server = create_engine(server_url, isolation_level="AUTOCOMMIT")
    try:
        with server.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"))
            # Write the copy to disk now; else the measured work would wait for it.
            connection.execute(text("CHECKPOINT"))
            yield server_url.rpartition("/")[0] + f"/{name}"
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        server.dispose()


@contextmanager
def world(server_url: str, name: str, *, template: str) -> Iterator[str]:
    """A copy of a seeded database that Postgres has read into memory, as it has a database in use."""
    with database(server_url, name, template=template) as url:
        _read_all(url)
        yield url


def _read_all(url: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            indexes = connection.execute(_INDEXES).all()
            connection.execute(text(_BY_INDEX))
            for table, condition, columns in indexes:
                rows = f"SELECT t FROM {table} t WHERE {condition or 'true'} ORDER BY {', '.join(columns)} OFFSET 0"
                connection.execute(text(f"SELECT count(t) FROM ({rows}) AS read"))
    finally:
        engine.dispose()


@contextmanager
def unlimited(url: str) -> Iterator[Engine]:
    """An engine for a benchmark's own questions and checks, whose statements are long: without time limits, in UTC."""
    engine = create_engine(url, connect_args=connect_arguments("milepost bench", {}))
    try:
        yield engine
    finally:
        engine.dispose()


def empty(servers: ServerUrls) -> None:
    """Remove everything from the stream server."""
    with connect(servers.redis_url) as client:
        client.flushall()


def database_bytes(engine: Engine) -> int:
    """The size of the engine's database on disk."""
    with engine.connect() as connection:
        return int(connection.scalar(text("SELECT pg_database_size(current_database())")))
