"""The base of all records: dictionaries with attributes, and the exact decimals in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from keyword import iskeyword
from numbers import Rational
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, get_args, get_origin, get_type_hints, overload

from milepost.client.errors import ServerFault

Real = Decimal | float | int
Reader = Callable[[Any], Any]


def read_float(number: float) -> Decimal:
    """The decimal that a float stands for: its 15 significant digits; 0.1 + 0.2 is 0.3.

    Every amount that Milepost accepts has at most 15, and comes back from a float digit for digit; the digits of a
    float after those are rounding errors. A whole number keeps all its digits. NaN and the infinities stay as they are.
    """
    if not math.isfinite(number):
        return Decimal(number)
    return Decimal(int(number)) if number.is_integer() else Decimal(f"{number:.15g}")


class Exact(Decimal):
    """A decimal that also takes floats, in arithmetic and in comparisons, each as `read_float` reads it.

    Exact("1234.56") == 1234.56, and Exact("0.10") + 0.2 == Exact("0.30"), where Decimal says no or raises. The
    result is an Exact again. It hashes as the Decimal that it is.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Exact('{self}')"

    def __add__(self, other: Real) -> Exact:
        return _result(Decimal.__add__(self, _read(other)))

    def __radd__(self, other: Real) -> Exact:
        return _result(Decimal.__radd__(self, _read(other)))

    def __sub__(self, other: Real) -> Exact:
        return _result(Decimal.__sub__(self, _read(other)))

    def __rsub__(self, other: Real) -> Exact:
        return _result(Decimal.__rsub__(self, _read(other)))

    def __mul__(self, other: Real) -> Exact:
        return _result(Decimal.__mul__(self, _read(other)))

    def __rmul__(self, other: Real) -> Exact:
        return _result(Decimal.__rmul__(self, _read(other)))

    def __truediv__(self, other: Real) -> Exact:
        return _result(Decimal.__truediv__(self, _read(other)))

    def __rtruediv__(self, other: Real) -> Exact:
        return _result(Decimal.__rtruediv__(self, _read(other)))

    def __floordiv__(self, other: Real) -> Exact:
        return _result(Decimal.__floordiv__(self, _read(other)))

    def __rfloordiv__(self, other: Real) -> Exact:
        return _result(Decimal.__rfloordiv__(self, _read(other)))

    def __mod__(self, other: Real) -> Exact:
        return _result(Decimal.__mod__(self, _read(other)))

    def __rmod__(self, other: Real) -> Exact:
        return _result(Decimal.__rmod__(self, _read(other)))

    def __neg__(self) -> Exact:
        return _result(Decimal.__neg__(self))

    def __pos__(self) -> Exact:
        return _result(Decimal.__pos__(self))

    def __abs__(self) -> Exact:
        return _result(Decimal.__abs__(self))

    @overload
    def __round__(self) -> int: ...
    @overload
    def __round__(self, ndigits: int) -> Exact: ...
    def __round__(self, ndigits: int | None = None) -> int | Exact:
        return Decimal.__round__(self) if ndigits is None else _result(Decimal.__round__(self, ndigits))

    def __eq__(self, other: object) -> bool:
        return Decimal.__eq__(self, _read(other))

    def __ne__(self, other: object) -> bool:
        return Decimal.__ne__(self, _read(other))

    def __lt__(self, other: Real | Rational) -> bool:
        return Decimal.__lt__(self, _read(other))

    def __le__(self, other: Real | Rational) -> bool:
        return Decimal.__le__(self, _read(other))

    def __gt__(self, other: Real | Rational) -> bool:
        return Decimal.__gt__(self, _read(other))

    def __ge__(self, other: Real | Rational) -> bool:
        return Decimal.__ge__(self, _read(other))

    def __hash__(self) -> int:
        return Decimal.__hash__(self)


def _read(other: Any) -> Any:
    return read_float(other) if isinstance(other, float) else other


def _result(value: Decimal) -> Exact:
    # Decimal returns NotImplemented for what is not a number, and Python needs to see that.
    return value if value is NotImplemented else Exact(value)


class Record(dict[str, Any]):
    """The answer at one moment, as a dictionary whose keys are attributes too.

    It belongs to the caller: changing it changes nothing that is stored. A record declares its fields as annotations,
    which say how each is read; the attribute of a key that is a keyword of Python has an underscore: `from_`.
    """

    # A field that every such body has; a body without it does not come from a Milepost.
    _NEEDED: ClassVar[str] = ""

    @classmethod
    def of(cls, body: object) -> Self:
        """The record of a body; fields that this version does not know stay as they are.

        Raises ServerFault for what is no such body.
        """
        readers = _readers_of(cls)
        if not isinstance(body, Mapping) or cls._NEEDED not in body:
            raise ServerFault(f"Milepost answered with what is no {cls.__name__}: is base_url its own address?")
        try:
            return cls(
                {
                    name: readers[name](value) if value is not None and name in readers else value
                    for name, value in body.items()
                }
            )
        except (TypeError, ValueError, ArithmeticError) as error:
            raise ServerFault(f"Milepost answered with a {cls.__name__} that cannot be read: {error}") from error

    @classmethod
    def all_of(cls, bodies: object) -> list[Self]:
        """The records of a list of bodies; raises ServerFault."""
        return [cls.of(body) for body in listed(bodies)]

    if not TYPE_CHECKING:  # a type checker knows the fields from their declarations, and no others

        def __getattr__(self, name: str) -> Any:
            try:
                return self[_key_of(name)]
            except KeyError:
                raise AttributeError(f"{type(self).__name__} has no {name}") from None

        def __setattr__(self, name: str, value: Any) -> None:
            if _key_of(name) not in self:
                raise AttributeError(f"{type(self).__name__} has no {name}")
            self[_key_of(name)] = value

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{name}: a field of a {type(self).__name__} cannot be deleted")

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        """Lets an application's FastAPI routes and pydantic models name the record as a type."""
        from pydantic_core import core_schema

        serialization = core_schema.plain_serializer_function_ser_schema(_for_json, when_used="json")
        return core_schema.is_instance_schema(cls, serialization=serialization)

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: Any, _handler: Any) -> dict[str, Any]:
        return {"type": "object", "title": cls.__name__}


def listed(body: object) -> list[Any]:
    """The body of an answer that must be a list; raises ServerFault for anything else."""
    if not isinstance(body, list):
        raise ServerFault("Milepost answered with what is no list: is base_url its own address?")
    return body


@cache
def _readers_of(kind: type[Record]) -> Mapping[str, Reader]:
    """By key, what makes the value of a field from what JSON has for it; a field without one stays as it is."""
    hints = {name: hint for name, hint in get_type_hints(kind).items() if not name.startswith("_")}
    found = {_key_of(name): _reader_of(hint) for name, hint in hints.items()}
    return {name: reader for name, reader in found.items() if reader is not None}


def _reader_of(hint: Any) -> Reader | None:
    """What reads a value of a type, which may also be `| None`: None itself is never read."""
    options = [each for each in get_args(hint) if each is not NoneType]
    if len(options) < len(get_args(hint)):
        return _reader_of(options[0]) if len(options) == 1 else None
    if get_origin(hint) is list:
        return _list_reader(_reader_of(options[0]))
    if not isinstance(hint, type):
        return None
    if issubclass(hint, Record):
        return hint.of
    if issubclass(hint, datetime | date):
        return hint.fromisoformat
    return hint if issubclass(hint, Exact | Enum) else None


def _list_reader(read: Reader | None) -> Reader:
    return list if read is None else lambda values: [read(value) for value in listed(values)]


def _key_of(attribute: str) -> str:
    key = attribute.removesuffix("_")
    return key if iskeyword(key) else attribute


def _for_json(value: Any) -> Any:
    """Amounts as numbers, as documented. No amount that Milepost accepts loses a digit as a float."""
    if isinstance(value, Exact):
        return float(value)
    if isinstance(value, Mapping):
        return {name: _for_json(each) for name, each in value.items()}
    return [_for_json(each) for each in value] if isinstance(value, list) else value
