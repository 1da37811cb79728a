"""The bar to compare with: the same rows by bare COPY and commit, on the same server, on one connection."""

from __future__ import annotations

import time
from typing import Final

from sqlalchemy import Engine, select, text

from core.store import tables
from core.store.bulk import copy_rows
from core.store.engine import session_factory

_TABLE: Final = "bare_transactions"


def time_bare_copy(engine: Engine, batch_events: int) -> float:
    """Seconds to COPY the transactions that were applied, in order of id, into a table with the same indexes.

    One COPY BINARY and one commit for every `batch_events` rows; reading and preparing them is not counted.
    """
    columns = {column.name: column.type.compile(engine.dialect).lower() for column in tables.transactions.columns}
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE {_TABLE} (LIKE transactions INCLUDING ALL)"))
        ordered = select(tables.transactions).order_by(tables.transactions.c.transaction_id)
        rows = [tuple(row) for row in connection.execute(ordered)]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CHECKPOINT"))
    sessions = session_factory(engine)
    began_s = time.monotonic()
    for start in range(0, len(rows), batch_events):
        with sessions.begin() as session:
            copy_rows(session, _TABLE, columns, rows[start : start + batch_events])
    return time.monotonic() - began_s
