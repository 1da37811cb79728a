"""GoCardless Bank Account Data (Berlin Group): the bodies of one account, as they are pulled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from core.errors import EventRejected, ProviderBodyRefused
from core.events.providers.fields import Row, exact, nested, note, written
from core.events.providers.gocardless_balances import available, chosen
from core.events.providers.gocardless_ids import booked_id, day_of, ordinals, pending_id
from core.events.providers.introductions import introduce
from core.events.providers.moments import Posted, an_instant
from core.events.providers.rows import Part, Reading, read_row, rows_of
from core.events.providers.seam import ROWS_MOST, AdaptedEvent, Context
from core.events.providers.statements import Statement, connection, stated

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
    yield from introduce([], context, context.kind)
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
    row: Row,
    reading: Reading,
    transaction_id: str,
    amount: str,
    currency: str,
    posted: Posted,
    *,
    is_pending: bool,
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
    told = {
        "user_id": reading.user_of(account),
        "kind": reading.kind_of(account, _KINDS.get(type) if isinstance(type, str) else None),
        "name": note(row.get("displayName"), row.get("name"), row.get("product"), row.get("details")),
        "closed": status == "deleted" if status in ("enabled", "deleted", "blocked") else None,
    }
    if any(value is not None for value in told.values()):
        yield stated("account.changed", account.account_id, reading.time(), **told)


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
