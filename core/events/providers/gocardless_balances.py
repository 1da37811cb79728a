"""Which of the balances that a bank gives is the account's balance, and when it was true."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from core.errors import EventRejected
from core.events.providers.fields import nested, valuation
from core.events.providers.moments import a_day

# Booked before available: what is available has pending money in it, which would count twice once it is booked.
# An opening or closing one is exact with the bookings dated after it; one of this moment is newer.
PREFERENCE = (
    "interimBooked",
    "closingBooked",
    "openingBooked",
    "previouslyClosedBooked",
    "expected",
    "interimAvailable",
    "closingAvailable",
    "information",
)
_OF_A_CLOSE = frozenset({"closingBooked", "previouslyClosedBooked", "closingAvailable"})


@dataclass(frozen=True, slots=True)
class Balance:
    """One entry, read: signed as the holder's money. `as_of` is as our events have it, a day or an instant."""

    type: str
    minor: int
    currency: str
    reference: date | None
    as_of: str


def chosen(entries: Sequence[object], currency: str | None, fetched_at: datetime) -> Balance | None:
    """The entry of the most preferred type, the latest of several; None where no entry tells the holder's own money.

    An entry that includes a credit limit tells none, since it does not say how much the limit is; nor does one with a
    null amount, or of another currency than the account's. Raises EventRejected where an entry of the preferred type
    cannot be read.
    """
    eligible = [entry for entry in entries if isinstance(entry, Mapping) and _tells(entry, currency)]
    if entries and not any(isinstance(entry, Mapping) for entry in entries):
        raise EventRejected("bad_value", "balances must be objects")
    for type in PREFERENCE:
        of_type = [read(entry, fetched_at) for entry in eligible if entry.get("balanceType") == type]
        if of_type:
            return max(of_type, key=lambda balance: balance.reference or date.max)
    return None


def read(entry: Mapping[str, Any], fetched_at: datetime) -> Balance:
    """An entry with the moment at which it was true."""
    amount = nested(entry, "balanceAmount")
    currency = amount.get("currency")
    if not isinstance(currency, str):
        raise EventRejected("bad_currency", "balanceAmount.currency must be a code such as EUR")
    type, reference = str(entry["balanceType"]), a_day(entry, "referenceDate")
    return Balance(
        type, valuation(amount, "amount", currency), currency, reference, _as_of(type, reference, fetched_at)
    )


def _tells(entry: Mapping[str, Any], currency: str | None) -> bool:
    amount = nested(entry, "balanceAmount")
    return (
        amount.get("amount") is not None
        and entry.get("creditLimitIncluded") is not True
        and currency in (None, amount.get("currency"))
    )


def _as_of(type: str, reference: date | None, fetched_at: datetime) -> str:
    """The end of a closed day for its close, that of the day before for an opening, else the moment of the fetch.

    A close of a day that is not over yet is no close: banks give that name to what is booked so far.
    """
    today = fetched_at.date()
    if type == "openingBooked":
        return ((reference or today) - timedelta(days=1)).isoformat()
    if type in _OF_A_CLOSE and reference is not None and reference < today:
        return reference.isoformat()
    return fetched_at.isoformat()


def available(entries: Iterable[object], balance: Balance, fetched_at: datetime) -> int | None:
    """What can be spent now, where the bank tells it without a credit limit."""
    for entry in entries:
        if not isinstance(entry, Mapping) or entry.get("balanceType") != "interimAvailable":
            continue
        if _tells(entry, balance.currency):
            return read(entry, fetched_at).minor
    return None
