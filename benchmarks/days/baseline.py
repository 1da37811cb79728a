"""The bar to compare with: the same rows by bare COPY and commit, on the same server, on one connection."""

from __future__ import annotations

import time

from sqlalchemy import Engine, Select, Table, text

from core.store.driver import copy_rows
from core.store.engine import session_factory


def time_copy_again(engine: Engine, table: Table, selected: Select[tuple[object, ...]], rows_at_once: int) -> float:
    """Seconds to COPY selected rows of a table into a new one with the same indexes.

    One COPY BINARY and one commit for every `rows_at_once` rows; reading and preparing them is not counted.
    """
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
