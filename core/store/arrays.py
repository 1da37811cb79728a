"""Arrays as parameters: columns of thousands of values that a statement reads with unnest()."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from itertools import chain, repeat

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

from core.store.bulk import BETWEEN

_NULL = "\x1e"


def split_or_null(name: str) -> str:
    """SQL for the text array in a parameter that `joined_or_null` gave."""
    return f"string_to_array(:{name}, chr({ord(BETWEEN)}), chr({ord(_NULL)}))"


def joined_or_null(values: Iterable[str | None]) -> str:
    """Texts without control characters, or None, as one parameter, as `bulk.joined` has them."""
    return BETWEEN.join([_NULL if value is None else value for value in values])


class Packed:
    """An array in Postgres' binary form, ready to be sent: packed at once, in a twentieth of the driver's time."""

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


class _PackedDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Packed) -> bytes:
        return obj.data


# Of each kind of array: its own oid in Postgres' catalogue, for the driver.
for _kind, _array_oid in ((Int8s, 1016), (Moments, 1185), (Dates, 1182), (Bools, 1000)):
    psycopg.adapters.register_dumper(_kind, type(f"{_kind.__name__}Dumper", (_PackedDumper,), {"oid": _array_oid}))

_INT8_OID, _MOMENT_OID, _DATE_OID, _BOOL_OID = 20, 1184, 1082, 16
_NO_VALUE = struct.pack(">i", -1)
_FIRST_MOMENT, _FIRST_DAY = datetime(2000, 1, 1, tzinfo=UTC), date(2000, 1, 1).toordinal()
_DAY_S, _SECOND_US = 86_400, 1_000_000


def int8s(values: Sequence[int | None]) -> Int8s:
    """Integers as one parameter; raises OverflowError for one that is no BIGINT."""
    return Int8s(_packed(_INT8_OID, "q", 8, values))


def moments(values: Sequence[datetime | None]) -> Moments:
    """Aware times as one parameter."""
    return Moments(_packed(_MOMENT_OID, "q", 8, [None if value is None else _microseconds(value) for value in values]))


def dates(values: Sequence[date | None]) -> Dates:
    """Days as one parameter."""
    days = [None if value is None else value.toordinal() - _FIRST_DAY for value in values]
    return Dates(_packed(_DATE_OID, "i", 4, days))


def bools(values: Sequence[bool]) -> Bools:
    """Claims as one parameter."""
    return Bools(_packed(_BOOL_OID, "?", 1, values))


def _packed(oid: int, code: str, size: int, values: Sequence[int | None]) -> bytes:
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


def _microseconds(moment: datetime) -> int:
    since = moment - _FIRST_MOMENT
    return (since.days * _DAY_S + since.seconds) * _SECOND_US + since.microseconds
