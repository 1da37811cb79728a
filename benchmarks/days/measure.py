"""Measures one step in a process and on a connection of its own: its time, its memory and the rows that it touched."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection

from sqlalchemy import Select, Table, text

from benchmarks.memory import peak_rss_bytes, peak_rss_bytes_of
from benchmarks.servers import unlimited
from core.errors import MilepostError
from core.store.database import Sessions, open_sessions
from core.store.driver import Sql, copy_rows

_END_S = 5.0
# Rows that scans returned: rows of tables read whole, and entries of indexes. Temporary tables are left out.
_ROWS = Sql(
    """SELECT t.relname,
        t.seq_tup_read + (SELECT coalesce(sum(i.idx_tup_read), 0) FROM pg_stat_user_indexes i WHERE i.relid = t.relid),
        t.n_tup_ins, t.n_tup_upd, t.n_tup_del
    FROM pg_stat_user_tables t WHERE t.schemaname = 'public'"""
)
# The server counts what a session has done when its transaction ends, and seldom more than once a second unless asked.
_COUNT_NOW = Sql("SELECT pg_stat_force_next_flush()")
_BACKEND = Sql("SELECT pg_backend_pid()")
Work = Callable[[Sessions], object]


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


def measure(url: str, work: Work) -> Step:
    """Do a step in a process of its own, with the time limits that workers have; raises StepFailed."""
    spawning = get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=_step, args=(theirs, url, work), daemon=True)
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


def take_step(url: str, work: Work) -> Step:
    """Do a step in this process, whose peak memory then counts all that it did before."""
    with open_sessions(url, application_name="milepost bench-days", connections=1) as sessions:
        before = _rows(sessions)
        began_s = time.monotonic()
        did = work(sessions)
        seconds = time.monotonic() - began_s
        with sessions() as session:
            backend: int = _BACKEND.value(session, {})
        after = _rows(sessions)
        rows = {table: found.since(before.get(table, Rows())) for table, found in after.items()}
        return Step(seconds, peak_rss_bytes(), peak_rss_bytes_of(backend), rows, did)


def time_copy_again(url: str, table: Table, selected: Select[tuple[object, ...]], rows_at_once: int) -> float:
    """Seconds to COPY selected rows of a table into a new one with the same indexes.

    One COPY BINARY and one commit for every `rows_at_once` rows; reading and preparing them is not counted.
    """
    copy = f"copy_of_{table.name}"
    with unlimited(url) as engine:
        columns = {column.name: column.type.compile(engine.dialect).lower() for column in table.columns}
        with engine.begin() as connection:
            connection.execute(text(f"CREATE TABLE {copy} (LIKE {table.name} INCLUDING ALL)"))
            rows = [tuple(row) for row in connection.execute(selected)]
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("CHECKPOINT"))
    with open_sessions(url, application_name="milepost bench-days", limits={}) as sessions:
        with sessions() as session:
            _BACKEND.run(session, {})  # connected before the time counts
        began_s = time.monotonic()
        for start in range(0, len(rows), rows_at_once):
            with sessions.begin() as session:
                copy_rows(session, copy, columns, rows[start : start + rows_at_once])
        return time.monotonic() - began_s


def _step(pipe: Connection, url: str, work: Work) -> None:
    """Do one step in the new process."""
    from worker.app import log_as_json
    from worker.context import spare_the_collector

    # Ctrl-C goes to the whole group of the terminal; the benchmark itself ends its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log_as_json("WARNING")
    spare_the_collector()
    pipe.send(take_step(url, work))


def _rows(sessions: Sessions) -> dict[str, Rows]:
    """What the only connection of these sessions and all earlier ones have done to each table."""
    with sessions() as session:
        _COUNT_NOW.run(session, {})
    with sessions() as session:
        return {row[0]: Rows(*map(int, row[1:])) for row in _ROWS.rows(session, {})}
