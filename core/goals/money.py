"""Money and percentages as exact integers: parsing, printing, and cutting shares."""

import re
from decimal import Decimal
from functools import lru_cache

from core.errors import InvalidField
from core.goals.currencies import DIGITS

MAX_MINOR = 10**15
"""The largest absolute amount that is accepted; the sum of 9,000 such amounts still fits a BIGINT."""

WHOLE_PPM = 1_000_000
"""100%."""

_PERCENT_PLACES = 4
_LARGEST_PERCENT = Decimal(1_000_000)

_PLAIN = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def parse(value: object, field: str) -> Decimal:
    """Read a Decimal, int or plain decimal string as a finite Decimal, digit for digit.

    Raises TypeError for bool, float and other types: a float has lost its digits before it gets here.
    Raises InvalidField for text that is not a plain decimal, and for NaN and the infinities.
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
    """number * 10**places, or None if that is not a whole number; `number` is finite, its size already checked.

    It uses no Decimal arithmetic, which would round to the precision of the caller's context.
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


def to_ppm(value: object, field: str) -> int:
    """Read a percentage above zero as parts per million: 33.3333 is 333,333; never rounds.

    Takes what `parse` takes. Raises InvalidField for 0 or less and for more than four decimals. A percentage over 100
    is returned, and `links.allocate` refuses it. One over a million percent counts as a million, since such a number
    may be too long to write out.
    """
    number = parse(value, field)
    if number <= 0:
        raise InvalidField(field, "must be greater than 0")
    number = min(number, _LARGEST_PERCENT)
    ppm = scale(number, _PERCENT_PLACES)
    if ppm is None:
        raise InvalidField(field, f"must have at most {_PERCENT_PLACES} decimals")
    return ppm


def from_ppm(ppm: int) -> Decimal:
    """The percentage with at least one decimal and no superfluous zeros: 600,000 is 60.0."""
    whole, rest = divmod(abs(ppm), 10**_PERCENT_PLACES)
    decimals = f"{rest:0{_PERCENT_PLACES}d}".rstrip("0") or "0"
    return Decimal(f"{'-' if ppm < 0 else ''}{whole}.{decimals}")


def digits(currency: str, *, field: str = "currency") -> int:
    """How many decimals the currency has: 2 for USD, 0 for JPY, 3 for KWD.

    Currencies that ISO has withdrawn keep the decimals that they had. Raises InvalidField for what is not an upper-case
    ISO 4217 code, and for codes without minor units (XAU).
    """
    places = DIGITS.get(currency)
    if places is None:
        raise InvalidField(field, "must be an ISO 4217 currency code in capitals, such as USD")
    return places


def to_minor(value: object, currency: str, field: str) -> int:
    """Read an amount as minor units: "1250.50" USD is 125050; never rounds.

    Takes a Decimal, an int or a plain decimal string, else raises TypeError. Raises InvalidField for an amount that is
    not finite, has more decimals than the currency (trailing zeros do not count) or is beyond MAX_MINOR.
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

    Because of that, the shares of one worth that sum to at most 100% are together never more than that worth, and each
    has its sign.
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
