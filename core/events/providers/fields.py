"""Strict reading of what providers write: ids, texts, claims and amounts."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from core.errors import EventRejected
from core.events.envelope import ID_LONGEST, identifier
from core.goals.decimals import parse
from core.goals.money import digits, to_decimal, to_minor

Row = Mapping[str, Any]

TEXT_LONGEST = 500
# Banks state balances of up to 10^13; half a cent more must not become two.
_VALUATION = Context(prec=60, rounding=ROUND_HALF_EVEN)
_BEYOND = Decimal(10) ** 20


class Untold(EventRejected):
    """Something that the provider leaves out, and that the caller has not told either; `where` names it."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__("untold", message)
        self.where = where

    def at(self, place: str) -> Untold:
        """The same, seen from the body."""
        return Untold(f"{place}.{self.where}" if place else self.where, self.message)


def as_row(value: object) -> dict[str, Any]:
    """A row is a JSON object."""
    if not isinstance(value, dict):
        raise EventRejected("bad_value", "a row must be an object")
    return value


def required_id(row: Row, field: str) -> str:
    """An id that must be there; a blank one is none."""
    found = optional_id(row, field)
    if found is None:
        raise EventRejected("missing_field", f"{field} is missing or blank")
    return found


def optional_id(row: Row, field: str) -> str | None:
    """An id, or None where it is absent, null or blank."""
    value = row.get(field)
    if value is None or (isinstance(value, str) and (not value or value.isspace())):
        return None
    try:
        return identifier(value, field, ID_LONGEST)
    except EventRejected as error:
        raise EventRejected("bad_value", error.message) from None


def flag(row: Row, field: str) -> bool:
    """A claim that must be made."""
    value = row.get(field)
    if not isinstance(value, bool):
        raise EventRejected("bad_value", f"{field} must be true or false")
    return value


def whole(value: object) -> int | None:
    """A whole number, also one written as 12e0; None for what is none, or is beyond any count of ours."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, Decimal) and value.copy_abs() < _BEYOND and value == value.to_integral_value():
        return int(value)
    return None


def note(*values: object) -> str | None:
    """The first text among the values, for people: what is no text is passed over, since no amount hangs on it."""
    return next((value[:TEXT_LONGEST] for value in values if isinstance(value, str) and value), None)


def nested(row: Row, field: str) -> Row:
    """An object inside a row; empty where there is none."""
    value = row.get(field)
    return value if isinstance(value, dict) else {}


def exact(row: Row, field: str, currency: str) -> int:
    """The minor units of what moved; never rounded, since cents that nobody moved would stay."""
    return to_minor(_number(row, field), currency, field)


def valuation(row: Row, field: str, currency: str) -> int:
    """The minor units of a balance, rounded half to even: shares times a price have more decimals than money has."""
    number = _number(row, field)
    if number.copy_abs() < _BEYOND:
        number = number.quantize(Decimal(1).scaleb(-digits(currency)), context=_VALUATION)
    return to_minor(number, currency, field)


def written(minor: int, currency: str) -> str:
    """An amount as our events have it: text with the currency's decimals."""
    return str(to_decimal(minor, currency))


def currency_code(value: object, *fallbacks: str | None) -> str:
    """What the row says, else what the caller told; raises Untold when nobody has said it."""
    if value is not None and not isinstance(value, str):
        raise EventRejected("bad_currency", "currency must be a code such as USD")
    code = next((code for code in (value, *fallbacks) if code), None)
    if code is None:
        raise Untold("currency", "the currency is not told: give currency, or register the account with its currency")
    digits(code)
    return code


def _number(row: Row, field: str) -> Decimal:
    value = row.get(field)
    if value is None:
        raise EventRejected("missing_field", f"{field} is missing")
    try:
        return parse(value, field)
    except TypeError:
        raise EventRejected("bad_amount", f"{field} must be a number or a decimal string") from None
