"""The baselines: the rows of the same batches, written by a process that knows them in advance.

Each process has one connection and gives each batch one transaction, as a drain does; nothing is read, nothing decided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import psycopg
from psycopg import sql

from benchmarks.pipeline.baseline_rows import (
    ACCOUNT,
    ENTRY,
    GOAL,
    TRANSACTION,
    BaselineBatch,
    Row,
    Shard,
    driver_url,
    read_batches,
)
from benchmarks.workers import Work

_Cursor = psycopg.Cursor[tuple[object, ...]]
# The staged keys come in order and are looked up one by one: reading a whole table for a batch would take much longer.
_BY_KEY = "-c enable_hashjoin=off -c enable_mergejoin=off -c enable_seqscan=off -c timezone=UTC"
_STAGED = {"accounts": ACCOUNT, "goals": GOAL}
_KEY_COLUMNS = 2


def prepare_baseline_copy(drained_url: str, baseline_url: str, shard: Shard) -> Work[int]:
    """Read a shard's batches. The returned work, which is timed, COPYs their transactions with a commit a batch."""
    return _prepare(drained_url, baseline_url, shard, copy_batch)


def prepare_baseline_writes(drained_url: str, baseline_url: str, shard: Shard) -> Work[int]:
    """Read a shard's batches. The returned work, which is timed, writes all rows that the pipeline writes."""
    return _prepare(drained_url, baseline_url, shard, write_batch)


def copy_batch(cursor: _Cursor, batch: BaselineBatch) -> None:
    """Write only the transactions."""
    _copy(cursor, "transactions", TRANSACTION, batch.transactions)


def write_batch(cursor: _Cursor, batch: BaselineBatch) -> None:
    """Write transactions and ledger entries by COPY, accounts and goals by one UPDATE each, in order of their keys."""
    copy_batch(cursor, batch)
    _copy(cursor, "goal_entries", ENTRY, batch.entries)
    for table, rows in (("accounts", batch.accounts), ("goals", batch.goals)):
        _copy(cursor, f"staged_{table}", _STAGED[table], rows)
        cursor.execute(_UPDATES[table])


def _prepare(
    drained_url: str, baseline_url: str, shard: Shard, write: Callable[[_Cursor, BaselineBatch], None]
) -> Work[int]:
    from worker.context import spare_the_collector

    batches = read_batches(drained_url, shard)
    connection = psycopg.connect(driver_url(baseline_url), options=_BY_KEY, autocommit=True)
    with connection.transaction():
        for table, columns in _STAGED.items():
            connection.execute(_staging(table, columns))
    spare_the_collector()

    def work() -> int:
        with connection:
            for batch in batches:
                with connection.transaction(), connection.cursor() as cursor:
                    write(cursor, batch)
        return sum(len(batch.transactions) for batch in batches)

    return work


def _copy(cursor: _Cursor, table: str, columns: Mapping[str, str], rows: Sequence[Row]) -> None:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(sql.Identifier(table), names)) as copy:
        copy.set_types(list(columns.values()))
        for row in rows:
            copy.write_row(row)


def _staging(table: str, columns: Mapping[str, str]) -> sql.Composed:
    fields = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(kind)) for column, kind in columns.items()
    )
    staged = sql.Identifier(f"staged_{table}")
    return sql.SQL("CREATE TEMPORARY TABLE {} ({}) ON COMMIT DELETE ROWS").format(staged, fields)


def _update(table: str, columns: Mapping[str, str]) -> sql.Composed:
    key, written = list(columns)[:_KEY_COLUMNS], list(columns)[_KEY_COLUMNS:]
    equal = sql.SQL("{0} = s.{0}")
    return sql.SQL("UPDATE {} t SET {} FROM {} s WHERE {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(equal.format(sql.Identifier(column)) for column in written),
        sql.Identifier(f"staged_{table}"),
        sql.SQL(" AND ").join(sql.SQL("t.{0} = s.{0}").format(sql.Identifier(column)) for column in key),
    )


_UPDATES = {table: _update(table, columns) for table, columns in _STAGED.items()}
