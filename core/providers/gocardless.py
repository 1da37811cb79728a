"""GoCardless Bank Account Data (Berlin Group): the pulled bodies of one account."""

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
    currency_code,
    decimal_text,
    exact_minor,
    first_text,
    flag,
    is_filled,
    object_in,
    optional_day,
    optional_id,
    optional_instant,
    optional_word,
    posted_at,
    rounded_minor,
)
from core.providers.provider import ProviderSpec
from core.providers.rows import (
    Part,
    Reading,
    Statement,
    account_facts_of,
    connection_statements,
    make_statement,
    read_row,
    rows_of,
)

# ISO 20022 cash account types; any other type leaves the kind unknown.
_KINDS = {"CACC": "asset", "SVGS": "asset", "CASH": "asset", "TRAN": "asset", "CARD": "liability", "LOAN": "liability"}
_BROKEN = frozenset({"EXPIRED", "SUSPENDED", "ERROR"})
# Booked before available: an available balance includes pending money, which would count twice once it is booked.
# An opening or closing balance is exact together with the bookings dated after it, but interimBooked is newer.
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
_AVAILABLE = frozenset({"interimAvailable", "closingAvailable"})
_OF_A_DAYS_END = frozenset({"closingBooked", "previouslyClosedBooked", "closingAvailable"})
_DATES = (("bookingDate", "bookingDateTime"), ("valueDate", "valueDateTime"))


def booking_day(row: Row) -> Posted:
    """When it was booked, or its value date where the bank gives no booking date."""
    day, time = next((pair for pair in _DATES if any(is_filled(row, name) for name in pair)), _DATES[0])
    return posted_at(row, (day,), (time,))


def booked_id(row: Row, day: str, amount: str, currency: str, ordinal: str) -> str:
    """GoCardless's own id, else the row's day, amount and currency with its number among equal ones.

    The bank's `transactionId` is not used: some banks use one again, so whether it is unique depends on the window that
    was pulled, and a row whose key changes counts twice. A window contains whole days, so it contains either all rows
    of a day and amount or none. So as many rows count as there are, in whatever order and with whatever texts.
    """
    return optional_id(row, "internalTransactionId") or f"row:{day}:{amount}:{currency}:{ordinal}"


def pending_id(day: str, amount: str, currency: str, ordinal: str) -> str:
    """A key that no booked row has: a pending row has no lasting id, and its booked row does not refer to it."""
    return f"pending:{day}:{amount}:{currency}:{ordinal}"


def number_equal_rows(rows: Sequence[object], reading: Reading) -> Iterator[str]:
    """Number each row from 1 among those of the same day, amount and currency, whatever the order of the array."""
    keys = [_equality_key(row, reading) for row in rows]
    ranked = sorted(range(len(rows)), key=lambda index: (keys[index], _canonical(rows[index])))
    numbers = [0] * len(rows)
    for before, index in zip([None, *ranked], ranked, strict=False):
        numbers[index] = numbers[before] + 1 if before is not None and keys[before] == keys[index] else 1
    return (str(number) for number in numbers)


def _equality_key(row: object, reading: Reading) -> str:
    if not isinstance(row, dict):
        return _canonical(row)
    try:
        if optional_id(row, "internalTransactionId") is not None:
            return _canonical(row)
        amount, currency = _amount(row, reading)
        return f"{booking_day(row).day} {amount} {currency}"
    except (EventRejected, InvalidField):
        return _canonical(row)


def _canonical(row: object) -> str:
    try:
        return simplejson.dumps(row, sort_keys=True, use_decimal=True)
    except RecursionError:
        return ""


@dataclass(frozen=True, slots=True)
class Balance:
    """A parsed entry of `balances`, negative if the holder owes. `as_of` is a day or an instant, as in our events."""

    type: str
    minor: int
    currency: str
    reference: date | None
    as_of: str


def choose_balance(
    entries: Sequence[Mapping[str, Any]], currency: str | None, fetched_at: datetime, *, takes_available: bool
) -> Balance | None:
    """The usable entry of the most preferred type, the latest if there are several; None if no entry is usable.

    An entry is not usable if it includes a credit limit (it does not say how much the limit is), if its amount is null,
    if its currency is not the account's, or if it is an available one where none is taken. Raises EventRejected if an
    entry of the preferred type cannot be read.
    """
    usable = [entry for entry in entries if _is_usable(entry, currency)]
    for type in PREFERENCE:
        if type in _AVAILABLE and not takes_available:
            continue
        of_type = [
            read_balance(entry, currency, fetched_at) for entry in usable if optional_word(entry, "balanceType") == type
        ]
        if of_type:
            return max(of_type, key=lambda balance: balance.reference or date.max)
    return None


def read_balance(entry: Mapping[str, Any], known_currency: str | None, fetched_at: datetime) -> Balance:
    """Parse an entry, with the moment at which it was true; `known_currency` is the account's, where it says none."""
    amount = object_in(entry, "balanceAmount")
    currency = currency_code(amount, "currency", known_currency)
    type, reference = str(entry["balanceType"]), optional_day(entry, "referenceDate")
    return Balance(
        type, rounded_minor(amount, "amount", currency), currency, reference, _as_of(type, reference, fetched_at)
    )


def _is_usable(entry: Mapping[str, Any], currency: str | None) -> bool:
    amount = object_in(entry, "balanceAmount")
    is_other_money = currency is not None and (optional_word(amount, "currency") or currency) != currency
    return amount.get("amount") is not None and not flag(entry, "creditLimitIncluded") and not is_other_money


def _as_of(type: str, reference: date | None, fetched_at: datetime) -> str:
    """When a balance is true: closing at the end of its day, opening at the end of the day before, others at the fetch.

    A closing balance of a day that is not over counts as of the fetch: banks give that name to what is booked so far.
    """
    today = fetched_at.date()
    if type == "openingBooked":
        return ((reference or today) - timedelta(days=1)).isoformat()
    if type in _OF_A_DAYS_END and reference is not None and reference < today:
        return reference.isoformat()
    return fetched_at.isoformat()


def available_minor(entries: Iterable[Mapping[str, Any]], balance: Balance, fetched_at: datetime) -> int | None:
    """The minor units that can be spent now, if the bank reports them without a credit limit."""
    for entry in entries:
        if entry.get("balanceType") == "interimAvailable" and _is_usable(entry, balance.currency):
            return read_balance(entry, balance.currency, fetched_at).minor
    return None


def adapt_pulled(body: object, context: Context) -> Iterator[AdaptedEvent]:
    """Any of an account's bodies: transactions, balances, details, or its metadata with the state of the consent."""
    if not isinstance(body, dict):
        raise ProviderBodyRefused("not_this_form", "the body must be an object")
    if not body.keys() & {"transactions", "balances", "account", "iban", "institution_id"}:
        raise ProviderBodyRefused("not_this_form", "the body has no transactions, balances or account")
    context = replace(context, pulled_at=_fetched_at(body) or context.pulled_at)
    if body.get("account") is not None:
        yield from read_row(DETAILS, body["account"], Reading(context), "account")
    if body.get("balances") is not None:
        yield from read_row(BALANCES, {"balances": body["balances"]}, Reading(context), "balances")
    if body.get("transactions") is not None:
        yield from _transactions(body["transactions"], context)
    if "iban" in body or "institution_id" in body:
        yield from read_row(METADATA, body, Reading(context), "")


def _fetched_at(body: Mapping[str, Any]) -> datetime | None:
    """When GoCardless fetched the rows from the bank, if it says so: before the pull, if it had stored them."""
    try:
        return optional_instant(body, "last_updated")
    except EventRejected as error:
        raise ProviderBodyRefused("not_this_form", error.message, "last_updated") from None


def _transactions(value: object, context: Context) -> Iterator[AdaptedEvent]:
    if not isinstance(value, dict):
        raise ProviderBodyRefused("not_this_form", "must be an object with booked and pending", "transactions")
    yield from account_facts_of([], context, context.kind)
    for section, part in (("booked", BOOKED), ("pending", PENDING)):
        where = f"transactions.{section}"
        rows = rows_of(value.get(section, []), where)
        for index, ordinal in enumerate(number_equal_rows(rows, Reading(context))):
            yield from read_row(part, rows[index], Reading(context, ordinal), f"{where}[{index}]")


def _booked(row: Row, reading: Reading) -> Iterator[Statement]:
    posted, amount, currency = booking_day(row), *_amount(row, reading)
    transaction_id = booked_id(row, posted.day.isoformat(), amount, currency, reading.order)
    return _recorded(row, reading, transaction_id, amount, currency, posted, is_pending=False)


def _pending(row: Row, reading: Reading) -> Iterator[Statement]:
    """A pending row often has no date yet. It counts nothing, so the time of the pull will do."""
    amount, currency = _amount(row, reading)
    if any(is_filled(row, name) for pair in _DATES for name in pair):
        posted, day = (dated := booking_day(row)), dated.day.isoformat()
    else:
        posted, day = Posted(reading.time().date(), reading.time().isoformat()), "undated"
    transaction_id = pending_id(day, amount, currency, reading.order)
    return _recorded(row, reading, transaction_id, amount, currency, posted, is_pending=True)


def _amount(row: Row, reading: Reading) -> tuple[str, str]:
    """The amount, positive when the holder gains money, on accounts of every type."""
    amount = object_in(row, "transactionAmount")
    if not amount:
        raise EventRejected("missing_field", "transactionAmount is missing")
    currency = reading.currency_of(reading.only_account(), amount, "currency")
    return decimal_text(exact_minor(amount, "amount", currency), currency), currency


def _recorded(
    row: Row, reading: Reading, transaction_id: str, amount: str, currency: str, posted: Posted, *, is_pending: bool
) -> Iterator[Statement]:
    account = reading.only_account()
    if account.is_former(posted.day):
        return
    lines = row.get("remittanceInformationUnstructuredArray")
    first_line = lines[0] if isinstance(lines, list) and lines else None
    yield make_statement(
        "transaction.recorded",
        account,
        reading.time(),
        transaction_id=transaction_id,
        amount=amount,
        currency=currency,
        posted_at=posted.text,
        pending=is_pending,
        description=first_text(
            row.get("remittanceInformationUnstructured"), first_line, row.get("creditorName"), row.get("debtorName")
        ),
    )


def _balances(row: Row, reading: Reading) -> Iterator[Statement]:
    """A bank's balance is negative if the holder owes. Ours says what is owed on a liability, so its sign is turned."""
    account, time = reading.only_account(), reading.time()
    entries = row.get("balances")
    if not isinstance(entries, list) or len(entries) > ROWS_MOST or not all(isinstance(each, dict) for each in entries):
        raise EventRejected("bad_value", "balances must be an array of balances")
    kind = reading.kind_of(account)
    whose = {"user_id": reading.user_of(account), "kind": kind}
    currency = account.currency or reading.context.currency
    balance = choose_balance(entries, currency, time, takes_available=account.has_available(kind))
    if balance is None:
        if any(whose.values()):
            yield make_statement("account.changed", account, time, **whose)
        return
    is_owed = (kind or account.recorded_kind) == "liability"
    spendable = available_minor(entries, balance, time)
    yield make_statement(
        "balance.reported",
        account,
        time,
        current=decimal_text(-balance.minor if is_owed else balance.minor, balance.currency),
        available=None if spendable is None else decimal_text(spendable, balance.currency),
        currency=balance.currency,
        as_of=balance.as_of,
        **whose,
    )


def _details(row: Row, reading: Reading) -> Iterator[Statement]:
    """The account. Only the status `deleted` means that the bank has closed it."""
    account, status = reading.only_account(), optional_word(row, "status")
    facts = {
        "user_id": reading.user_of(account),
        "kind": reading.kind_of(account, _KINDS.get(optional_word(row, "cashAccountType") or "")),
        "name": first_text(row.get("displayName"), row.get("name"), row.get("product"), row.get("details")),
        "closed": status == "deleted" if status in ("enabled", "deleted", "blocked") else None,
    }
    if any(value is not None for value in facts.values()):
        yield make_statement("account.changed", account, reading.time(), **facts)


def _metadata(row: Row, reading: Reading) -> Iterator[Statement]:
    """The state of the consent. This body names its account itself."""
    account, status = reading.account(row, "id"), optional_word(row, "status")
    if status == "READY":
        yield from connection_statements([account.account_id], reading.time(), "healthy", None)
    elif status in _BROKEN:
        yield from connection_statements([account.account_id], reading.time(), "broken", first_text(status))


BOOKED = Part("gocardless/booked", _booked)
PENDING = Part("gocardless/pending", _pending)
BALANCES = Part("gocardless/balances", _balances)
DETAILS = Part("gocardless/details", _details)
METADATA = Part("gocardless/metadata", _metadata)


def _account_in(body: object) -> Iterator[object]:
    """Of the bodies of an account only its metadata names the account."""
    if isinstance(body, dict):
        yield body.get("id")


GOCARDLESS = ProviderSpec(
    "gocardless",
    formats={"gocardless": adapt_pulled},
    parts=(BOOKED, PENDING, BALANCES, DETAILS, METADATA),
    accounts_in=_account_in,
)
