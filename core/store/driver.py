"""Statements for Postgres: run by psycopg, with arrays as parameters, and COPY BINARY for thousands of rows."""

import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import chain, repeat
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg import sql
from psycopg.adapt import Dumper
from psycopg.pq import Format

LOWEST, HIGHEST = -(2**63), 2**63 - 1
"""The smallest and the greatest BIGINT."""
_NULL = "\x1e"
_INT8_OID, _MOMENT_OID, _DATE_OID, _BOOL_OID, _PLACE_OID = 20, 1184, 1082, 16, 27
_PLACE_BYTES = 6
_NO_VALUE = struct.pack(">i", -1)
_FIRST_MOMENT, _FIRST_DAY = datetime(2000, 1, 1, tzinfo=UTC), date(2000, 1, 1).toordinal()
_DAY_S, _SECOND_US = 86_400, 1_000_000
Row = tuple[Any, ...]
Result = TypeVar("Result")
Session: TypeAlias = psycopg.Connection[Row]
"""A connection in a transaction, which the outermost caller begins and commits."""
_PARAMETER = re.compile(r"(?<![:\w]):(\w+)")
# By column name the type name that COPY's binary form needs.
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


class Packed:
    """An array in Postgres' binary form. It is packed as a whole, in a twentieth of the time that the driver takes."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class Int8s(Packed):
    """bigint[]"""


class Moments(Packed):
    """timestamptz[]"""


class Dates(Packed):
    """date[]"""


class Bools(Packed):
    """boolean[]"""


class Places(Packed):
    """tid[]"""


class _PackedDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Packed) -> bytes:
        return obj.data


# The driver needs the oid that each kind of array has in Postgres' catalogue.
for _kind, _array_oid in ((Int8s, 1016), (Moments, 1185), (Dates, 1182), (Bools, 1000), (Places, 1010)):
    psycopg.adapters.register_dumper(_kind, type(f"{_kind.__name__}Dumper", (_PackedDumper,), {"oid": _array_oid}))


class Sql:
    """A statement with parameters written as `:name`; rows come in Postgres' binary form.

    The driver gets the parameters by number. With names it would parse a statement of more than 4,096 characters again
    at every call.
    """

    __slots__ = ("_names", "_sql")

    def __init__(self, sql: str) -> None:
        self._names = list(dict.fromkeys(_PARAMETER.findall(sql)))
        numbers = {name: f"${number}" for number, name in enumerate(self._names, 1)}
        self._sql = _PARAMETER.sub(lambda found: numbers[found[1]], sql)

    def rows(self, session: Session, parameters: Mapping[str, object]) -> list[Row]:
        """All rows."""
        return self._execute(session, parameters).fetchall()

    def first(self, session: Session, parameters: Mapping[str, object]) -> Row | None:
        """The first row; None if there is none."""
        return self._execute(session, parameters).fetchone()

    def one(self, session: Session, parameters: Mapping[str, object]) -> Row:
        """The only row, of a statement that always has one."""
        (row,) = self._execute(session, parameters).fetchall()
        return row

    def value(self, session: Session, parameters: Mapping[str, object]) -> Any:
        """The first column of the first row; None if there is no row."""
        row = self._execute(session, parameters).fetchone()
        return None if row is None else row[0]

    def values(self, session: Session, parameters: Mapping[str, object]) -> list[Any]:
        """The first column of all rows."""
        return [row[0] for row in self._execute(session, parameters).fetchall()]

    def run(self, session: Session, parameters: Mapping[str, object]) -> int:
        """Run a statement that returns no rows, or whose rows are not needed; returns how many rows it concerned."""
        return self._execute(session, parameters).rowcount

    def run_all(self, session: Session, parameters: Iterable[Mapping[str, object]]) -> None:
        """Run the statement once with each of these parameters, in one round trip."""
        every = [[each[name] for name in self._names] for each in parameters]
        psycopg.RawCursor(session).executemany(self._sql, every)

    def _execute(self, session: Session, parameters: Mapping[str, object]) -> psycopg.RawCursor[Row]:
        cursor: psycopg.RawCursor[Row] = psycopg.RawCursor(session)
        return cursor.execute(self._sql, [parameters[name] for name in self._names], binary=True)


class NeedsTransaction(Exception):
    """What was asked needs several statements, which must see one moment, so it needs a transaction."""


def require_transaction(session: Session) -> None:
    """Raise NeedsTransaction if each statement of the session is a transaction by itself."""
    if session.autocommit:
        raise NeedsTransaction


def read_shortly(read: Callable[[bool], Result]) -> Result:
    """What `read(True)` returns, with one statement; if that raises NeedsTransaction, what `read(False)` does."""
    try:
        return read(True)
    except NeedsTransaction:
        return read(False)


class Savepoint:
    """A savepoint in the session's transaction; it costs one round trip where nothing has to be undone.

    It is not released when all goes well: the end of the transaction does that. So one that may be undone after another
    one was set needs a name of its own.
    """

    __slots__ = ("_name", "_session")

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name
        self._do(f"SAVEPOINT {name}")

    def undo(self) -> None:
        """Undo what was done since the savepoint, and release the locks that were taken since."""
        self._do(f"ROLLBACK TO SAVEPOINT {self._name}; RELEASE SAVEPOINT {self._name}")

    def _do(self, commands: str) -> None:
        self._session.execute(commands.encode(), prepare=False)


_SCANNING_PLANS = ("hashjoin", "mergejoin", "seqscan", "hashagg")
BY_KEY = ", ".join(f"set_config('enable_{plan}', 'off', true)" for plan in _SCANNING_PLANS)
"""SQL for what `plan_by_key` does, to be selected together with something else."""
_PLAN_BY_KEY = Sql(f"SELECT {BY_KEY}")


def int8s(values: Sequence[int | None]) -> Int8s:
    """Integers as one parameter; raises OverflowError for one that does not fit a BIGINT."""
    return Int8s(_packed(_INT8_OID, "q", 8, values))


def moments(values: Sequence[datetime | None]) -> Moments:
    """Aware times as one parameter."""
    since = [None if value is None else value - _FIRST_MOMENT for value in values]
    microseconds = [
        None if each is None else (each.days * _DAY_S + each.seconds) * _SECOND_US + each.microseconds for each in since
    ]
    return Moments(_packed(_MOMENT_OID, "q", 8, microseconds))


def dates(values: Sequence[date | None]) -> Dates:
    """Days as one parameter."""
    days = [None if value is None else value.toordinal() - _FIRST_DAY for value in values]
    return Dates(_packed(_DATE_OID, "i", 4, days))


def bools(values: Sequence[bool | None]) -> Bools:
    """Booleans as one parameter."""
    return Bools(_packed(_BOOL_OID, "?", 1, values))


def places(values: Sequence[bytes]) -> Places:
    """Places of rows, as the driver returns a column `ctid`."""
    return Places(_packed(_PLACE_OID, f"{_PLACE_BYTES}s", _PLACE_BYTES, values))


def plan_by_key(session: Session) -> None:
    """Make this transaction's statements look rows up by key, and never scan a whole table.

    Staging tables have no statistics, so the planner can only guess. A wrong guess must not make a batch of some
    thousand keys scan a table of millions of rows.
    """
    _PLAN_BY_KEY.run(session, {})


def copy_rows(session: Session, table: str, columns: Columns, rows: Iterable[Sequence[object]]) -> None:
    """COPY rows into `table`; values of TEXTS columns come from `texts`."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(sql.Identifier(table), names)
    with session.cursor() as cursor, cursor.copy(command) as copy:
        copy.set_types([BYTEA if kind == TEXTS else kind for kind in columns.values()])
        for row in rows:
            copy.write_row(row)


def keys(*names: str) -> str:
    """SQL for rows of text keys, one column for each parameter that `joined` made."""
    return f"unnest({', '.join(split(name) for name in names)})"


def split(name: str) -> str:
    """SQL for the text array in a parameter that `joined` made."""
    return f"string_to_array(:{name}, chr({ord(BETWEEN)}))"


def joined(values: Iterable[str]) -> str:
    """Text keys as one parameter: for a list the driver inspects every element, which costs more than the look-up.

    Ids and tenants' names hold no control characters, so a control character can separate them.
    """
    return BETWEEN.join(values)


def split_or_null(name: str) -> str:
    """SQL for the text array in a parameter that `joined_or_null` made."""
    return f"string_to_array(:{name}, chr({ord(BETWEEN)}), chr({ord(_NULL)}))"


def joined_or_null(values: Iterable[str | None]) -> str:
    """Like `joined`, for texts that may be None."""
    return BETWEEN.join([_NULL if value is None else value for value in values])


def key_columns(name: str, pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """(tenant, id) pairs as the two parameters `tenants` and `name`."""
    return {"tenants": joined([pair[0] for pair in pairs]), name: joined([pair[1] for pair in pairs])}


def texts(values: Sequence[str]) -> bytes:
    """A text array in Postgres' binary form. The driver's own conversion costs more than the rest of a row."""
    if not values:
        return _NO_TEXTS
    encoded = [value.encode() for value in values]
    items = b"".join(struct.pack(">i", len(value)) + value for value in encoded)
    return struct.pack(">iiiii", 1, 0, _TEXT_OID, len(encoded), 1) + items


def stage(session: Session, name: str, columns: Columns, rows: Iterable[Sequence[object]]) -> None:
    """Put rows into the staging table `name`, a temporary table of this connection that is emptied at commit."""
    fields = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(kind)) for column, kind in columns.items()
    )
    create = sql.SQL("CREATE TEMPORARY TABLE IF NOT EXISTS {} ({}) ON COMMIT DELETE ROWS")
    empty = sql.SQL("DELETE FROM {}")
    with session.cursor() as cursor:
        cursor.execute("SET LOCAL client_min_messages = warning")
        cursor.execute(create.format(sql.Identifier(name), fields))
        cursor.execute(empty.format(sql.Identifier(name)))
    copy_rows(session, name, columns, rows)


def _packed(oid: int, code: str, size: int, values: Sequence[int | bytes | None]) -> bytes:
    has_null = None in values
    head = struct.pack(">iiiii", 1, has_null, oid, len(values), 1) if values else struct.pack(">iii", 0, 0, oid)
    try:
        if not has_null:
            fields = chain.from_iterable(zip(repeat(size), values, strict=False))
            return head + struct.pack(f">{f'i{code}' * len(values)}", *fields)
        one = struct.Struct(f">i{code}")
        return head + b"".join([_NO_VALUE if value is None else one.pack(size, value) for value in values])
    except struct.error:
        raise OverflowError("a number is out of the range of its column") from None
