"""Exact: the decimal that amounts and percentages go out as, at home among floats without becoming one."""

from __future__ import annotations

import math
from decimal import Decimal
from numbers import Rational
from typing import Any, overload

Real = Decimal | float | int


def read_float(number: float) -> Decimal:
    """The decimal that a float stands for: its 15 significant digits; 0.1 + 0.2 is 0.3.

    Every amount that Milepost takes has at most 15, and comes back from a float digit for digit; what a float shows
    beyond them is the noise of its arithmetic. A whole number keeps all its digits. NaN and the infinities stay so.
    """
    if not math.isfinite(number):
        return Decimal(number)
    return Decimal(int(number)) if number.is_integer() else Decimal(f"{number:.15g}")


class Exact(Decimal):
    """A decimal that also takes floats, in arithmetic and in comparisons, each as `read_float` reads it.

    Exact("1234.56") == 1234.56, and Exact("0.10") + 0.2 == Exact("0.30"), where Decimal says no or raises. What
    comes of it is an Exact again. It hashes as the Decimal that it is.
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
    # Decimal answers NotImplemented for what is no number, and Python must see that.
    return value if value is NotImplemented else Exact(value)
