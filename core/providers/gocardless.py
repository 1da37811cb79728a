"""GoCardless Bank Account Data (Berlin Group): the bodies of one account, as they are pulled."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import simplejson

from core.errors import EventRejected, InvalidField, ProviderBodyRefused
from core.providers.contracts import ROWS_MOST, AdaptedEvent, Context
from core.providers.fields import (
    Posted,
    Row,
    a_day,
    an_instant,
    exact,
    nested,
    note,
    optional_id,
    posted_at,
    valuation,
    written,
)
from core.providers.provider import ProviderSpec
from core.providers.rows import Part, Reading, Statement, account_facts_of, connection, read_row, rows_of, stated


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


# ISO 20022 cash account types; what is not here leaves the kind open.
_KINDS = {"CACC": "asset", "SVGS": "asset", "CASH": "asset", "TRAN": "asset", "CARD": "liability", "LOAN": "liability"}
_BROKEN = frozenset({"EXPIRED", "SUSPENDED", "ERROR"})


def adapt_pulled(body: object, context: Context) -> Iterator[AdaptedEvent]:
    """Any of an account's bodies: transactions, balances, details, or its metadata with the state of the consent."""
    if not isinstance(body, dict):
        raise ProviderBodyRefused("not_this_form", "the body must be an object")
    if not body.keys() & {"transactions", "balances", "account", "iban", "institution_id"}:
        raise ProviderBodyRefused("not_this_form", "the body has no transactions, balances or account")
    context = replace(context, pulled_at=_fetched_at(body) or context.pulled_at)
    if "account" in body:
        yield from read_row(DETAILS, body["account"], Reading(context), "account")
    if "balances" in body:
        yield from read_row(BALANCES, {"balances": body["balances"]}, Reading(context), "balances")
    if "transactions" in body:
        yield from _transactions(body["transactions"], context)
    if "iban" in body or "institution_id" in body:
        yield from read_row(METADATA, body, Reading(context), "")


def _fetched_at(body: Mapping[str, Any]) -> datetime | None:
    """When GoCardless had the rows from the bank, where it says so: before the pull, if they come from its store."""
    try:
        return an_instant(body, "last_updated")
    except EventRejected as error:
        raise ProviderBodyRefused("not_this_form", error.message, "last_updated") from None


def _transactions(value: object, context: Context) -> Iterator[AdaptedEvent]:
    if not isinstance(value, dict):
        raise ProviderBodyRefused("not_this_form", "must be an object with booked and pending", "transactions")
    yield from account_facts_of([], context, context.kind)
    for section, part in (("booked", BOOKED), ("pending", PENDING)):
        where = f"transactions.{section}"
        rows = rows_of(value.get(section, []), where)
        for index, ordinal in enumerate(ordinals(rows, Reading(context))):
            yield from read_row(part, rows[index], Reading(context, ordinal), f"{where}[{index}]")


def _booked(row: Row, reading: Reading) -> Iterator[Statement]:
    posted, amount, currency = day_of(row), *_amount(row, reading)
    transaction_id = booked_id(row, posted.day.isoformat(), amount, currency, reading.order)
    return _recorded(row, reading, transaction_id, amount, currency, posted, is_pending=False)


def _pending(row: Row, reading: Reading) -> Iterator[Statement]:
    """A hold often has no date yet; the moment of the pull will do for what does not count."""
    amount, currency = _amount(row, reading)
    dates = ("bookingDate", "bookingDateTime", "valueDate", "valueDateTime")
    if any(row.get(name) for name in dates):
        posted, day = (dated := day_of(row)), dated.day.isoformat()
    else:
        posted, day = Posted(reading.time().date(), reading.time().isoformat()), "undated"
    transaction_id = pending_id(day, amount, currency, reading.order)
    return _recorded(row, reading, transaction_id, amount, currency, posted, is_pending=True)


def _amount(row: Row, reading: Reading) -> tuple[str, str]:
    """Signed as the holder's money, on accounts of every type."""
    amount = nested(row, "transactionAmount")
    currency = reading.currency_of(reading.only_account(), amount.get("currency"))
    return written(exact(amount, "amount", currency), currency), currency


def _recorded(
    row: Row, reading: Reading, transaction_id: str, amount: str, currency: str, posted: Posted, *, is_pending: bool
) -> Iterator[Statement]:
    account = reading.only_account()
    if account.is_former(posted.day):
        return
    lines = row.get("remittanceInformationUnstructuredArray")
    first_line = lines[0] if isinstance(lines, list) and lines else None
    yield stated(
        "transaction.recorded",
        account.account_id,
        reading.time(),
        transaction_id=transaction_id,
        amount=amount,
        currency=currency,
        posted_at=posted.text,
        pending=is_pending,
        description=note(
            row.get("remittanceInformationUnstructured"), first_line, row.get("creditorName"), row.get("debtorName")
        ),
    )


def _balances(row: Row, reading: Reading) -> Iterator[Statement]:
    """A bank's balances are signed as the holder's money; ours of a liability say what is owed."""
    account, time = reading.only_account(), reading.time()
    entries = row.get("balances")
    if not isinstance(entries, list) or len(entries) > ROWS_MOST:
        raise EventRejected("bad_value", "balances must be an array of balances")
    balance = chosen(entries, account.currency or reading.context.currency, time)
    if balance is None:
        return
    kind = reading.kind_of(account)
    is_owed = (kind or account.recorded_kind) == "liability"
    spendable = None if is_owed else available(entries, balance, time)
    yield stated(
        "balance.reported",
        account.account_id,
        time,
        current=written(-balance.minor if is_owed else balance.minor, balance.currency),
        available=None if spendable is None else written(spendable, balance.currency),
        currency=balance.currency,
        as_of=balance.as_of,
        user_id=reading.user_of(account),
        kind=kind,
    )


def _details(row: Row, reading: Reading) -> Iterator[Statement]:
    """What the account is. Of its status only `deleted` says that the bank has closed it."""
    account, status = reading.only_account(), row.get("status")
    type = row.get("cashAccountType")
    registered = {
        "user_id": reading.user_of(account),
        "kind": reading.kind_of(account, _KINDS.get(type) if isinstance(type, str) else None),
        "name": note(row.get("displayName"), row.get("name"), row.get("product"), row.get("details")),
        "closed": status == "deleted" if status in ("enabled", "deleted", "blocked") else None,
    }
    if any(value is not None for value in registered.values()):
        yield stated("account.changed", account.account_id, reading.time(), **registered)


def _metadata(row: Row, reading: Reading) -> Iterator[Statement]:
    """The state of the consent. The body names its account itself."""
    account, status = reading.account(row, "id"), row.get("status")
    if status == "READY":
        yield from connection([account.account_id], reading.time(), "healthy", None)
    elif isinstance(status, str) and status in _BROKEN:
        yield from connection([account.account_id], reading.time(), "broken", note(status))


BOOKED = Part("gocardless/booked", _booked)
PENDING = Part("gocardless/pending", _pending)
BALANCES = Part("gocardless/balances", _balances)
DETAILS = Part("gocardless/details", _details)
METADATA = Part("gocardless/metadata", _metadata)


def _account_in(body: object) -> Iterator[object]:
    """Only the account's metadata names it."""
    if isinstance(body, dict):
        yield body.get("id")


GOCARDLESS = ProviderSpec(
    "gocardless",
    formats={"gocardless": adapt_pulled},
    parts=(BOOKED, PENDING, BALANCES, DETAILS, METADATA),
    accounts_in=_account_in,
)
