"""Plaid: pages of transactions/sync, and the balances that accounts carry in any of its bodies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from core.errors import EventRejected, ProviderBodyRefused
from core.events.providers.fields import (
    Row,
    currency_code,
    exact,
    flag,
    nested,
    note,
    optional_id,
    required_id,
    valuation,
    written,
)
from core.events.providers.introductions import introduce
from core.events.providers.moments import an_instant, posted_at
from core.events.providers.naming import accounts_named
from core.events.providers.rows import Part, Reading, read_rows, rows_of
from core.events.providers.seam import AdaptedEvent, Context, Format, KnownAccount
from core.events.providers.statements import Statement, stated

_KINDS = {
    "depository": "asset",
    "investment": "asset",
    "brokerage": "asset",
    "payroll": "asset",
    "credit": "liability",
    "loan": "liability",
}


def adapt_sync(body: object, context: Context) -> Iterator[AdaptedEvent]:
    """A page of transactions/sync (and a body of the older transactions/get, whose rows are all additions).

    At one time a modified row stands over an added one, and in a section the later row, as Plaid orders them.
    """
    page = _object(body)
    if not page.keys() & {"added", "modified", "removed", "transactions"}:
        raise ProviderBodyRefused("not_this_form", "a page has added, modified and removed; this body has none of them")
    yield from _accounts(page, context)
    yield from introduce(accounts_named(Format.PLAID_SYNC, page), context)
    for section, order in (("transactions", "0"), ("added", "1"), ("modified", "2")):
        rows = rows_of(page.get(section, []), section)
        yield from read_rows(TRANSACTION, rows, context, section, order + "-{index}")
    yield from read_rows(REMOVED, rows_of(page.get("removed", []), "removed"), context, "removed")


def adapt_balances(body: object, context: Context) -> Iterator[AdaptedEvent]:
    """Any body with `accounts`: accounts/balance/get, accounts/get, liabilities/get, investments/holdings/get."""
    page = _object(body)
    if "accounts" not in page:
        raise ProviderBodyRefused("not_this_form", "the body has no accounts")
    yield from _accounts(page, context)


def _accounts(page: Mapping[str, Any], context: Context) -> Iterator[AdaptedEvent]:
    yield from read_rows(ACCOUNT, rows_of(page.get("accounts", []), "accounts"), context, "accounts")


def _object(body: object) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise ProviderBodyRefused("not_this_form", "the body must be an object")
    return body


def _account(row: Row, reading: Reading) -> Iterator[Statement]:
    """What the account is, and its balance where the bank gives one: of a credit or loan account what is owed."""
    account = reading.account(row, "account_id")
    time = reading.time()
    type = row.get("type")
    kind = reading.kind_of(account, _KINDS.get(type) if isinstance(type, str) else None)
    whose = {"user_id": reading.user_of(account), "kind": kind}
    name = note(row.get("name"), row.get("official_name"))
    if name or any(whose.values()):
        yield stated("account.changed", account.account_id, time, name=name, **whose)
    balances = nested(row, "balances")
    if balances.get("current") is None:
        return
    currency = _currency(balances, account, reading)
    available = None if balances.get("available") is None else valuation(balances, "available", currency)
    as_of = an_instant(balances, "last_updated_datetime") or time
    yield stated(
        "balance.reported",
        account.account_id,
        time,
        current=written(valuation(balances, "current", currency), currency),
        available=None if available is None else written(available, currency),
        currency=currency,
        as_of=as_of.isoformat(),
        **whose,
    )


def _transaction(row: Row, reading: Reading) -> Iterator[Statement]:
    """Plaid's amount is positive when money leaves the account, of whatever type; ours when worth rises."""
    account = reading.account(row, "account_id")
    transaction_id = required_id(row, "transaction_id")
    replaces = optional_id(row, "pending_transaction_id")
    if replaces == transaction_id:
        raise EventRejected("self_contradicting", "pending_transaction_id names the transaction itself")
    currency = _currency(row, account, reading)
    amount = -exact(row, "amount", currency)
    posted = posted_at(row, ("date",), ("datetime",))
    pending = flag(row, "pending")
    if account.is_former(posted.day):
        return
    yield stated(
        "transaction.recorded",
        account.account_id,
        reading.time(),
        transaction_id=transaction_id,
        amount=written(amount, currency),
        currency=currency,
        posted_at=posted.text,
        pending=pending,
        replaces=replaces,
        category=note(nested(row, "personal_finance_category").get("primary")),
        description=note(row.get("merchant_name"), row.get("name")),
    )


def _removed(row: Row, reading: Reading) -> Iterator[Statement]:
    account = reading.account(row, "account_id")
    transaction_id = required_id(row, "transaction_id")
    yield stated("transaction.removed", account.account_id, reading.time(), transaction_id=transaction_id)


def _currency(row: Row, account: KnownAccount, reading: Reading) -> str:
    """The ISO code; an unofficial one (a cryptocurrency's) is none of ours, and no other must stand in for it."""
    official, unofficial = row.get("iso_currency_code"), row.get("unofficial_currency_code")
    if official is None and unofficial is not None:
        return currency_code(unofficial)
    return reading.currency_of(account, official)


ACCOUNT = Part("plaid/account", _account)
TRANSACTION = Part("plaid/transaction", _transaction)
REMOVED = Part("plaid/removed", _removed)
