"""The bar to compare with: the same rows by bare COPY and commit, on the same server, on one connection."""

from __future__ import annotations

import time

from sqlalchemy import Engine, Select, Table, select, text

from core.store import tables
from core.store.bulk import copy_rows
from core.store.engine import session_factory


def time_bare_copy(engine: Engine, batch_events: int) -> float:
    """Seconds to COPY the transactions that were applied, in order of id, into a table with the same indexes.

    One COPY BINARY and one commit for every `batch_events` rows; reading and preparing them is not counted.
    """
    ordered = select(tables.transactions).order_by(tables.transactions.c.transaction_id)
    return time_copy_again(engine, tables.transactions, ordered, batch_events)


def time_copy_again(engine: Engine, table: Table, selected: Select[tuple[object, ...]], rows_at_once: int) -> float:
    """Seconds to COPY selected rows of a table, as `time_bare_copy` does, into a new one with the same indexes."""
    columns = {column.name: column.type.compile(engine.dialect).lower() for column in table.columns}
    bare = f"bare_{table.name}"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE {bare} (LIKE {table.name} INCLUDING ALL)"))
        rows = [tuple(row) for row in connection.execute(selected)]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CHECKPOINT"))
    sessions = session_factory(engine)
    began_s = time.monotonic()
    for start in range(0, len(rows), rows_at_once):
        with sessions.begin() as session:
            copy_rows(session, bare, columns, rows[start : start + rows_at_once])
    return time.monotonic() - began_s
