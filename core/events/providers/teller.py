"""Teller: accounts, balances and transactions as they are pulled, and its webhooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from core.errors import EventRejected, ProviderBodyRefused
from core.events.providers.fields import (
    Row,
    Untold,
    exact,
    nested,
    note,
    required_id,
    valuation,
    written,
)
from core.events.providers.introductions import introduce
from core.events.providers.moments import an_instant, posted_at
from core.events.providers.naming import accounts_named
from core.events.providers.rows import Part, Reading, read_row, read_rows, rows_of
from core.events.providers.seam import Adapted, AdaptedEvent, Context, Format, KnownAccount
from core.events.providers.statements import Statement, connection, stated
from core.events.providers.webhooks import code_of, connection_state, refresh, webhook_object

_KINDS = {"depository": "asset", "credit": "liability"}


def adapt_pulled(body: object, context: Context) -> Iterator[AdaptedEvent]:
    """The array of accounts or of transactions, or one account, transaction or balances object."""
    rows = rows_of(body, "") if isinstance(body, list) else [body]
    part = next((part for row in rows if (part := _part_of(row)) is not None), None)
    if part is None and rows:
        raise ProviderBodyRefused("not_this_form", "there is no Teller account, transaction or balance in the body")
    if part is TRANSACTION:
        yield from introduce(accounts_named(Format.TELLER, rows), context, context.kind)
    for index, row in enumerate(rows):
        where = f"[{index}]" if isinstance(body, list) else ""
        yield from read_row(_part_of(row) or part or TRANSACTION, row, Reading(context), where)


def adapt_webhook(body: object, context: Context) -> Adapted:
    """One webhook, which knows its own time: the same delivery, repeated, states the same."""
    hook = webhook_object(body)
    type, payload = code_of(hook, "type"), nested(hook, "payload")
    known_at = _known_at(hook)
    if type == "transactions.processed":
        return _processed(payload, context if known_at is None else replace(context, pulled_at=known_at))
    if type == "enrollment.disconnected":
        reason = note(payload.get("reason")) or "disconnected"
        return connection_state(payload.get("enrollment_id"), [], "broken", reason, known_at, context)
    if type in ("webhook.test", "account.number_verification.processed"):
        return Adapted()  # nothing that an amount or a connection hangs on
    return refresh([payload.get("account_id"), payload.get("enrollment_id"), hook.get("id")], type, type)


def _processed(payload: Mapping[str, Any], context: Context) -> Adapted:
    """New transactions; a pointer to them where it is not known of each what kind of account it is on."""
    rows = rows_of(payload.get("transactions"), "payload.transactions")
    try:
        events = tuple(read_rows(TRANSACTION, rows, context, "payload.transactions"))
    except Untold as untold:
        return refresh([payload.get("enrollment_id")], "transactions", f"untold {untold.where.rpartition('.')[2]}")
    return Adapted(events=(*introduce(accounts_named(Format.TELLER, rows), context), *events))


def _known_at(hook: Mapping[str, Any]) -> datetime | None:
    try:
        return an_instant(hook, "timestamp")
    except EventRejected as error:
        raise ProviderBodyRefused("not_this_form", error.message, "timestamp") from None


def _part_of(row: object) -> Part | None:
    if not isinstance(row, dict):
        return None
    if "amount" in row:
        return TRANSACTION
    if "ledger" in row or "available" in row:
        return BALANCES
    return ACCOUNT if "enrollment_id" in row or "last_four" in row else None


def _account(row: Row, reading: Reading) -> Iterator[Statement]:
    """What the account is. Teller calls one closed that it can't reach any more: its connection is broken then."""
    required_id(row, "id")
    account, time = reading.account(row, "id"), reading.time()
    type = row.get("type")
    kind = reading.kind_of(account, _KINDS.get(type) if isinstance(type, str) else None)
    told = {"user_id": reading.user_of(account), "kind": kind, "name": note(row.get("name"))}
    if any(told.values()):
        yield stated("account.changed", account.account_id, time, **told)
    if row.get("status") == "open":
        yield from connection([account.account_id], time, "healthy", None)
    elif row.get("status") == "closed":
        yield from connection([account.account_id], time, "broken", "closed")


def _balances(row: Row, reading: Reading) -> Iterator[Statement]:
    """The ledger balance, live; of a credit account what is owed. Pending holds are in `available` alone."""
    account, time = reading.account(row, "account_id"), reading.time()
    if row.get("ledger") is None:
        return
    _kind(account, reading)
    currency = reading.currency_of(account, row.get("currency"))
    available = None if row.get("available") is None else valuation(row, "available", currency)
    yield stated(
        "balance.reported",
        account.account_id,
        time,
        current=written(valuation(row, "ledger", currency), currency),
        available=None if available is None else written(available, currency),
        currency=currency,
        as_of=time.isoformat(),
        user_id=reading.user_of(account),
        kind=reading.kind_of(account),
    )


def _transaction(row: Row, reading: Reading) -> Iterator[Statement]:
    """Signed as the holder's money on a depository account; on a credit account positive when more is owed."""
    account, transaction_id = reading.account(row, "account_id"), required_id(row, "id")
    status = row.get("status")
    if status not in ("posted", "pending"):
        raise EventRejected("bad_value", "status must be posted or pending")
    kind, currency = _kind(account, reading), reading.currency_of(account, row.get("currency"))
    amount = exact(row, "amount", currency)
    posted = posted_at(row, ("date",), ())
    if account.is_former(posted.day):
        return
    details = nested(row, "details")
    yield stated(
        "transaction.recorded",
        account.account_id,
        reading.time(),
        transaction_id=transaction_id,
        amount=written(amount if kind == "asset" else -amount, currency),
        currency=currency,
        posted_at=posted.text,
        pending=status == "pending",
        category=note(details.get("category")),
        description=note(nested(details, "counterparty").get("name"), row.get("description")),
    )


def _kind(account: KnownAccount, reading: Reading) -> str:
    kind = reading.kind_of(account) or account.recorded_kind
    if kind is None:
        raise Untold("kind", "asset or liability? Teller's sign hangs on it: give kind, or post the accounts first")
    return kind


ACCOUNT = Part("teller/account", _account)
BALANCES = Part("teller/balances", _balances)
TRANSACTION = Part("teller/transaction", _transaction)
