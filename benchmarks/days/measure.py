"""Measures one step in a process and on a connection of its own: its time, its memory and the rows that it touched."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection

from sqlalchemy import Engine, Select, Table, text
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.memory import peak_rss_bytes, peak_rss_bytes_of
from core.errors import MilepostError
from core.store.driver import copy_rows
from core.store.engine import LIMITS, make_engine, session_factory

_END_S = 5.0
# Rows that scans returned: rows of tables read whole, and entries of indexes. Temporary tables are left out.
_ROWS = text(
    """SELECT t.relname,
        t.seq_tup_read + (SELECT coalesce(sum(i.idx_tup_read), 0) FROM pg_stat_user_indexes i WHERE i.relid = t.relid),
        t.n_tup_ins, t.n_tup_upd, t.n_tup_del
    FROM pg_stat_user_tables t WHERE t.schemaname = 'public'"""
)
Work = Callable[[sessionmaker[Session]], object]


class StepFailed(MilepostError):
    """A step's process ended before the step was done."""

    def __init__(self) -> None:
        super().__init__("a step of the benchmark ended before it was done; its output is above")


@dataclass(frozen=True, slots=True)
class Rows:
    """How many rows of one table were read and written."""

    read: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    def since(self, before: Rows) -> Rows:
        """What was done after the counts in `before`."""
        return Rows(
            self.read - before.read,
            self.inserted - before.inserted,
            self.updated - before.updated,
            self.deleted - before.deleted,
        )

    @property
    def written(self) -> int:
        """Inserted, updated and deleted."""
        return self.inserted + self.updated + self.deleted


@dataclass(frozen=True, slots=True)
class Step:
    """The cost and result of one step. Postgres' memory is that of one backend, shared buffers included."""

    seconds: float
    peak_rss_bytes: int
    postgres_peak_rss_bytes: int | None
    rows: Mapping[str, Rows]
    did: object

    def of(self, table: str) -> Rows:
        """How many rows of a table were read and written."""
        return self.rows.get(table, Rows())


def measure(url: str, work: Work, *, is_limited: bool = True) -> Step:
    """Do a step in a process of its own; raises StepFailed. `is_limited`: with the time limits that workers have."""
    spawning = get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=_step, args=(theirs, url, work, is_limited), daemon=True)
    process.start()
    theirs.close()
    try:
        step: Step = ours.recv()
    except EOFError:
        raise StepFailed from None
    finally:
        process.join(0.5)
        process.terminate()
        process.join(_END_S)
        process.kill()
    return step


def take_step(url: str, work: Work, *, is_limited: bool = True) -> Step:
    """Do a step in this process, whose peak memory then counts all that it did before."""
    engine = make_engine(
        url, application_name="milepost bench-days", max_overflow=0, limits=LIMITS if is_limited else {}
    )
    try:
        before = _rows(engine)
        began_s = time.monotonic()
        did = work(session_factory(engine))
        seconds = time.monotonic() - began_s
        with engine.connect() as connection:
            backend: int = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        after = _rows(engine)
        rows = {table: found.since(before.get(table, Rows())) for table, found in after.items()}
        return Step(seconds, peak_rss_bytes(), peak_rss_bytes_of(backend), rows, did)
    finally:
        engine.dispose()


def time_copy_again(engine: Engine, table: Table, selected: Select[tuple[object, ...]], rows_at_once: int) -> float:
    """Seconds to COPY selected rows of a table into a new one with the same indexes.

    One COPY BINARY and one commit for every `rows_at_once` rows; reading and preparing them is not counted.
    """
    columns = {column.name: column.type.compile(engine.dialect).lower() for column in table.columns}
    copy = f"copy_of_{table.name}"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE {copy} (LIKE {table.name} INCLUDING ALL)"))
        rows = [tuple(row) for row in connection.execute(selected)]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CHECKPOINT"))
    sessions = session_factory(engine)
    began_s = time.monotonic()
    for start in range(0, len(rows), rows_at_once):
        with sessions.begin() as session:
            copy_rows(session, copy, columns, rows[start : start + rows_at_once])
    return time.monotonic() - began_s


def _step(pipe: Connection, url: str, work: Work, is_limited: bool) -> None:
    """Do one step in the new process."""
    from worker.app import log_as_json
    from worker.context import spare_the_collector

    # Ctrl-C goes to the whole group of the terminal; the benchmark itself ends its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log_as_json("WARNING")
    spare_the_collector()
    pipe.send(take_step(url, work, is_limited=is_limited))


def _rows(engine: Engine) -> dict[str, Rows]:
    """What this connection and all earlier ones have done to each table."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
        return {row[0]: Rows(*map(int, row[1:])) for row in connection.execute(_ROWS)}
