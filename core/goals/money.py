"""Money: integer minor units of an ISO 4217 currency, and the exact ways in, out and into shares."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

from iso4217 import Currency

from core.errors import InvalidField
from core.goals.decimals import parse, scale, unscale
from core.goals.percent import WHOLE_PPM

MAX_MINOR = 10**15
"""The largest absolute amount that may be stated; the sum of 9,000 such amounts still fits a BIGINT."""

_DIGITS = {entry.code: entry.exponent for entry in Currency if entry.exponent is not None}


def digits(currency: str, *, field: str = "currency") -> int:
    """How many decimals the currency has: 2 for USD, 0 for JPY, 3 for KWD.

    Raises InvalidField for what is not an upper-case ISO 4217 code, and for codes without minor units (XAU).
    """
    known = _DIGITS.get(currency)
    if known is None:
        raise InvalidField(field, "must be an ISO 4217 currency code in capitals, such as USD")
    return known


def to_minor(value: object, currency: str, field: str) -> int:
    """Read a stated amount as minor units: "1250.50" USD is 125050; never rounds.

    Takes a Decimal, an int or a plain decimal string, else TypeError. Raises InvalidField for what is not
    finite, has more decimals than the currency (trailing zeros are no decimals) or goes beyond MAX_MINOR.
    """
    places = digits(currency)
    number = parse(value, field)
    largest = _largest(places)
    if number.copy_abs() > largest:  # before scaling: 1E+999999999 must not become an integer
        raise InvalidField(field, f"must lie between -{largest} and {largest} {currency}")
    minor = scale(number, places)
    if minor is None:
        raise InvalidField(field, _too_precise(currency, places))
    return minor


def to_decimal(minor: int, currency: str) -> Decimal:
    """The amount with exactly the currency's decimals: 1000000 USD is 10000.00, 100 JPY is 100."""
    return unscale(minor, digits(currency))


def share(minor: int, ppm: int) -> int:
    """minor * ppm / 1,000,000, cut towards zero: 60% (600,000 ppm) of -25 is -15, of -26 it is -15 too.

    Cutting towards zero keeps shares that sum to at most 100% within their worth and of its sign.
    """
    product = minor * ppm
    part = abs(product) // WHOLE_PPM
    return part if product >= 0 else -part


@lru_cache
def _largest(places: int) -> Decimal:
    return unscale(MAX_MINOR, places)


def _too_precise(currency: str, places: int) -> str:
    if places == 0:
        return f"must be a whole number: {currency} has no decimals"
    return f"must have at most {places} decimals, as {currency} has"
