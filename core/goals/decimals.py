"""Exact decimals: what may be given as a number, and its way to a scaled integer and back."""

from __future__ import annotations

import re
from decimal import Decimal

from core.errors import InvalidField

_PLAIN = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def parse(value: object, field: str) -> Decimal:
    """Read a Decimal, int or plain decimal string as a finite Decimal, digit for digit.

    Raises TypeError for bool, float and other kinds: a float has lost its digits before it comes here.
    Raises InvalidField for text that is no plain decimal, and for NaN and the infinities.
    """
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise InvalidField(field, "must be a finite number")
        return value
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) is None:
            raise InvalidField(field, "must be a plain decimal number, such as 1250.50")
        return Decimal(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    raise TypeError(f"{field}: a Decimal, an int or a decimal string is needed, not {type(value).__name__}")


def scale(number: Decimal, places: int) -> int | None:
    """number * 10**places, or None if that is not a whole number; `number` is finite and of checked size.

    No Decimal arithmetic takes part, for that would round to the precision of the caller's context.
    """
    if not number:
        return 0
    if number.adjusted() < -places:  # before formatting: 1E-999999999 in digits is a gigabyte
        return None
    plain = str(number)
    whole, _, fraction = (f"{number:f}" if "E" in plain else plain).partition(".")
    if len(fraction) == places:
        return int(whole + fraction)
    fraction = fraction.rstrip("0")
    return None if len(fraction) > places else int(whole + fraction.ljust(places, "0"))


def unscale(scaled: int, places: int) -> Decimal:
    """scaled / 10**places with exactly that many decimals; never -0, since an integer has none."""
    return Decimal(f"{scaled}E-{places}")
