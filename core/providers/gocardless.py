"""GoCardless Bank Account Data (Berlin Group): the pulled bodies of one account."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from core.errors import EventRejected, ProviderBodyRefused
from core.providers.contracts import AdaptedEvent, Context
from core.providers.fields import (
    Posted,
    Row,
    decimal_text,
    exact_minor,
    first_text,
    is_filled,
    object_in,
    optional_id,
    optional_instant,
    optional_word,
    posted_at,
)
from core.providers.iso20022 import KINDS, BalanceFields, balance_statements, booked_key, number_equal_rows, pending_key
from core.providers.provider import ProviderSpec
from core.providers.rows import (
    Part,
    Reading,
    Statement,
    account_facts_of,
    connection_statements,
    make_statement,
    read_row,
    refuse_window,
    rows_of,
    with_window,
)

_BROKEN = frozenset({"EXPIRED", "SUSPENDED", "ERROR"})
_BALANCE = BalanceFields(
    amount="balanceAmount",
    type="balanceType",
    reference="referenceDate",
    types={
        "interimBooked": "ITBD",
        "closingBooked": "CLBD",
        "openingBooked": "OPBD",
        "previouslyClosedBooked": "PRCD",
        "expected": "XPCD",
        "interimAvailable": "ITAV",
        "closingAvailable": "CLAV",
        "information": "INFO",
    },
    includes_limit="creditLimitIncluded",
)
_DATES = (("bookingDate", "bookingDateTime"), ("valueDate", "valueDateTime"))


def booking_day(row: Row) -> Posted:
    """When it was booked, or its value date where the bank gives no booking date."""
    day, time = next((pair for pair in _DATES if any(is_filled(row, name) for name in pair)), _DATES[0])
    return posted_at(row, (day,), (time,))


def booked_id(row: Row, day: str, amount: str, currency: str, ordinal: str) -> str:
    """GoCardless's own id, else the row's day, amount and currency with its number among equal ones.

    The bank's `transactionId` is not used: some banks use one again, so whether it is unique depends on the window that
    was pulled, and a row whose key changes counts twice.
    """
    return optional_id(row, "internalTransactionId") or booked_key(day, amount, currency, ordinal)


def _equality_key(row: Row, reading: Reading) -> str | None:
    if optional_id(row, "internalTransactionId") is not None:
        return None
    amount, currency = _amount(row, reading)
    return f"{booking_day(row).day} {amount} {currency}"


def adapt_pulled(body: object, context: Context) -> Iterator[AdaptedEvent]:
    """Any of an account's bodies: transactions, balances, details, or its metadata with the state of the consent."""
    if not isinstance(body, dict):
        raise ProviderBodyRefused("not_this_form", "the body must be an object")
    if not body.keys() & {"transactions", "balances", "account", "iban", "institution_id"}:
        raise ProviderBodyRefused("not_this_form", "the body has no transactions, balances or account")
    context = replace(context, pulled_at=context.time(_fetched_at(body)))
    if body.get("transactions") is None:
        refuse_window(context, "the body has no transactions")
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
    links = value.get("_links")
    if isinstance(links, dict) and links.get("next"):
        refuse_window(context, "it is a page of several")
    yield from account_facts_of([], context, context.kind)
    yield from with_window(_rows(value, "booked", BOOKED, context), context)
    yield from _rows(value, "pending", PENDING, context)


def _rows(transactions: Mapping[str, Any], section: str, part: Part, context: Context) -> Iterator[AdaptedEvent]:
    where = f"transactions.{section}"
    rows = rows_of(transactions.get(section, []), where)
    numbers = number_equal_rows(rows, lambda row: _equality_key(row, Reading(context)))
    for index, ordinal in enumerate(numbers):
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
    transaction_id = pending_key(day, amount, currency, reading.order)
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
    return balance_statements(row, reading, _BALANCE)


def _details(row: Row, reading: Reading) -> Iterator[Statement]:
    """The account. Only the status `deleted` means that the bank has closed it."""
    account, status = reading.only_account(), optional_word(row, "status")
    facts = {
        "user_id": reading.user_of(account),
        "kind": reading.kind_of(account, KINDS.get(optional_word(row, "cashAccountType") or "")),
        "name": first_text(row.get("displayName"), row.get("name"), row.get("product"), row.get("details")),
        "currency": reading.account_currency(account, row, "currency"),
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
    has_windows=True,
)
