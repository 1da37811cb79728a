"""Rows by the thousand: COPY BINARY straight into a table, or into a staging table that a statement then reads."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from psycopg import sql
from sqlalchemy.orm import Session

from core.store.direct import Direct, driver, errors_translated

# Column name to the type name that COPY's binary form needs.
Columns = dict[str, str]

TEXT, INT8, INT4, BOOL, TIMESTAMPTZ, DATE, BYTEA, TEXTS = (
    "text",
    "int8",
    "int4",
    "bool",
    "timestamptz",
    "date",
    "bytea",
    "text[]",
)


_TEXT_OID = 25
BETWEEN = "\x1f"
_NO_TEXTS = struct.pack(">iii", 0, 0, _TEXT_OID)

BY_KEY = ", ".join(f"set_config('enable_{way}', 'off', true)" for way in ("hashjoin", "mergejoin", "seqscan"))
"""SQL for what `plan_by_key` does, to be selected along with something else."""

_PLAN_BY_KEY = Direct(f"SELECT {BY_KEY}")


def plan_by_key(session: Session) -> None:
    """Let this transaction's statements find rows by their keys, and never read a table whole.

    Staging tables have no statistics, so the planner has only guesses, and a guess must not decide that a batch of
    some thousand keys reads a table of millions.
    """
    _PLAN_BY_KEY.run(session, {})


def copy_rows(session: Session, table: str, columns: Columns, rows: Iterable[Sequence[object]]) -> None:
    """COPY rows into `table`; values of TEXTS columns come from `texts`."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(sql.Identifier(table), names)
    with errors_translated(session, "COPY"), driver(session).cursor() as cursor, cursor.copy(command) as copy:
        copy.set_types([BYTEA if kind == TEXTS else kind for kind in columns.values()])
        for row in rows:
            copy.write_row(row)


def keys(*names: str) -> str:
    """SQL for rows of text keys, one column for each parameter, as `joined` gives them."""
    return f"unnest({', '.join(split(name) for name in names)})"


def split(name: str) -> str:
    """SQL for the text array in a parameter that `joined` gave."""
    return f"string_to_array(:{name}, chr({ord(BETWEEN)}))"


def joined(values: Iterable[str]) -> str:
    """Text keys as one parameter: the driver looks at every element of a list, which costs more than the look-up.

    Ids and tenants' names hold no control characters, so one of them can stand between two.
    """
    return BETWEEN.join(values)


def key_columns(name: str, pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """(tenant, id) pairs as the two parameters `tenants` and `name`."""
    return {"tenants": joined([pair[0] for pair in pairs]), name: joined([pair[1] for pair in pairs])}


def texts(values: Sequence[str]) -> bytes:
    """A text array as Postgres takes it in binary. The driver's own way costs more than the rest of a row."""
    if not values:
        return _NO_TEXTS
    encoded = [value.encode() for value in values]
    items = b"".join(struct.pack(">i", len(value)) + value for value in encoded)
    return struct.pack(">iiiii", 1, 0, _TEXT_OID, len(encoded), 1) + items


def stage(session: Session, name: str, columns: Columns, rows: Iterable[Sequence[object]]) -> None:
    """Put rows into the staging table `name`, which is this connection's own and empties itself at commit."""
    fields = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(kind)) for column, kind in columns.items()
    )
    create = sql.SQL("CREATE TEMPORARY TABLE IF NOT EXISTS {} ({}) ON COMMIT DELETE ROWS")
    empty = sql.SQL("DELETE FROM {}")
    with errors_translated(session, "CREATE TEMPORARY TABLE"), driver(session).cursor() as cursor:
        cursor.execute("SET LOCAL client_min_messages = warning")
        cursor.execute(create.format(sql.Identifier(name), fields))
        cursor.execute(empty.format(sql.Identifier(name)))
    copy_rows(session, name, columns, rows)
