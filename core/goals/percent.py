"""Percentages: integers in parts per million, exact to four decimals of a percent."""

from __future__ import annotations

from decimal import Decimal

from core.errors import AllocationExceeded, InvalidField
from core.goals.decimals import parse, scale

WHOLE_PPM = 1_000_000
"""100%."""

_PLACES = 4
_LARGEST = Decimal(1_000_000)


def to_ppm(value: object, field: str) -> int:
    """Read a percentage above zero as parts per million: 33.3333 is 333,333; never rounds.

    Takes what `decimals.parse` takes. Raises InvalidField for 0 or less and for more than four decimals.
    Over 100 comes back as it is, for `links.allocate` to refuse; beyond a million percent the same refusal,
    AllocationExceeded, comes from here, since such a number may be too long to write out.
    """
    number = parse(value, field)
    if number <= 0:
        raise InvalidField(field, "must be greater than 0")
    if number > _LARGEST:
        raise AllocationExceeded
    ppm = scale(number, _PLACES)
    if ppm is None:
        raise InvalidField(field, f"must have at most {_PLACES} decimals")
    return ppm


def from_ppm(ppm: int) -> Decimal:
    """The percentage with at least one decimal and no superfluous zeros: 600,000 is 60.0."""
    whole, rest = divmod(abs(ppm), 10**_PLACES)
    decimals = f"{rest:0{_PLACES}d}".rstrip("0") or "0"
    return Decimal(f"{'-' if ppm < 0 else ''}{whole}.{decimals}")
