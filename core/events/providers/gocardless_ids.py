"""What names a GoCardless transaction from one pull to the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import simplejson

from core.errors import EventRejected, InvalidField
from core.events.providers.fields import Row, exact, nested, optional_id, written
from core.events.providers.moments import Posted, posted_at
from core.events.providers.rows import Reading


def day_of(row: Row) -> Posted:
    """When it was booked; where the bank does not say so, its value date."""
    if row.get("bookingDate") or row.get("bookingDateTime"):
        return posted_at(row, ("bookingDate",), ("bookingDateTime",))
    return posted_at(row, ("valueDate",), ("valueDateTime",))


def booked_id(row: Row, day: str, amount: str, currency: str, ordinal: str) -> str:
    """GoCardless's own id, else the row's day, amount and currency with its ordinal among equal ones.

    Not the bank's `transactionId`: where a bank uses one again, whether it is unique hangs on the window that was
    pulled, and a row that changes its key counts twice. A window holds whole days, so it holds all rows of a day and
    amount or none: however they are ordered and described, as many count as there are.
    """
    return optional_id(row, "internalTransactionId") or f"row:{day}:{amount}:{currency}:{ordinal}"


def pending_id(day: str, amount: str, currency: str, ordinal: str) -> str:
    """Of its own kind: what is pending has no lasting id, and the booked row that follows does not point back."""
    return f"pending:{day}:{amount}:{currency}:{ordinal}"


def ordinals(rows: Sequence[object], reading: Reading) -> Iterator[str]:
    """The place of each row among those of its day, amount and currency, whatever the order of the array."""
    keys = [_equal_by(row, reading) for row in rows]
    ranked = sorted(range(len(rows)), key=lambda index: (keys[index], _canonical(rows[index])))
    places = [0] * len(rows)
    for before, index in zip([None, *ranked], ranked, strict=False):
        places[index] = places[before] + 1 if before is not None and keys[before] == keys[index] else 1
    return (str(place) for place in places)


def _equal_by(row: object, reading: Reading) -> str:
    if not isinstance(row, dict):
        return _canonical(row)
    try:
        if optional_id(row, "internalTransactionId") is not None:
            return _canonical(row)
        amount = nested(row, "transactionAmount")
        currency = reading.currency_of(reading.only_account(), amount.get("currency"))
        return f"{day_of(row).day} {written(exact(amount, 'amount', currency), currency)} {currency}"
    except (EventRejected, InvalidField):
        return _canonical(row)


def _canonical(row: object) -> str:
    try:
        return simplejson.dumps(row, sort_keys=True, use_decimal=True)
    except RecursionError:
        return ""
