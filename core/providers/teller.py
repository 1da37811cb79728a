"""Teller: pulled accounts, balances and transactions, its webhooks, and their signature."""

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from core.errors import EventRejected, InvalidField, ProviderBodyRefused
from core.providers.contracts import Adapted, AdaptedEvent, Context
from core.providers.fields import (
    MissingValue,
    Row,
    decimal_text,
    exact_minor,
    first_text,
    names_of,
    nested,
    optional_instant,
    optional_word,
    posted_at,
    required_id,
    rounded_minor,
    rows_in,
)
from core.providers.provider import DECOY, ProviderSpec, Scheme, Webhook, one_secret
from core.providers.rows import (
    Part,
    Reading,
    Statement,
    account_facts_of,
    connection_statements,
    make_statement,
    read_row,
    read_rows,
    rows_of,
)
from core.providers.webhooks import (
    SIGNATURES_MOST,
    Delivery,
    SignatureRefused,
    as_bytes,
    code_of,
    connection_state,
    refresh,
    share_one,
    webhook_object,
)

_KINDS = {"depository": "asset", "credit": "liability"}
HEADER = "teller-signature"
TOLERANCE = timedelta(minutes=3)
SECRET_SHORTEST = 16


def adapt_pulled(body: object, context: Context) -> Iterator[AdaptedEvent]:
    """The array of accounts or of transactions, or one account, transaction or balances object."""
    rows = rows_of(body, "") if isinstance(body, list) else [body]
    part = next((part for row in rows if (part := _part_of(row)) is not None), None)
    if part is None and rows:
        raise ProviderBodyRefused("not_this_form", "there is no Teller account, transaction or balance in the body")
    if part is TRANSACTION:
        yield from account_facts_of(names_of(_accounts_in(rows)), context, context.kind)
    for index, row in enumerate(rows):
        where = f"[{index}]" if isinstance(body, list) else ""
        yield from read_row(_part_of(row) or part or TRANSACTION, row, Reading(context), where)


def adapt_webhook(body: object, context: Context) -> Adapted:
    """One webhook. It has its own time, so a repeated delivery becomes the same events."""
    hook = webhook_object(body)
    type, payload = code_of(hook, "type"), nested(hook, "payload")
    known_at = _known_at(hook)
    if type == "transactions.processed":
        return _processed(payload, known_at, context)
    if type == "enrollment.disconnected":
        reason = first_text(payload.get("reason")) or "disconnected"
        return connection_state(payload.get("enrollment_id"), [], "broken", reason, known_at, context)
    if type in ("webhook.test", "account.number_verification.processed"):
        return Adapted()  # changes no amount and no connection
    return refresh([payload.get("account_id"), payload.get("enrollment_id"), hook.get("id")], type, type)


def _processed(payload: Mapping[str, Any], known_at: datetime | None, context: Context) -> Adapted:
    """New transactions; a request to pull them if the kind or currency of one of their accounts is missing.

    The same if it has no rows, or no time of its own: when it is repeated, its rows must not win over later ones.
    """
    found = payload.get("transactions")
    if known_at is None or found is None:
        return refresh([payload.get("enrollment_id")], "transactions", "transactions.processed")
    rows, context = rows_of(found, "payload.transactions"), replace(context, pulled_at=context.time(known_at))
    try:
        events = tuple(read_rows(TRANSACTION, rows, context, "payload.transactions"))
    except MissingValue as missing:
        return refresh([payload.get("enrollment_id")], "transactions", f"untold {missing.where.rpartition('.')[2]}")
    return Adapted(events=(*account_facts_of(names_of(_accounts_in(rows)), context), *events))


def _known_at(hook: Mapping[str, Any]) -> datetime | None:
    try:
        return optional_instant(hook, "timestamp")
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
    """The account. Teller says `closed` of one that it can no longer reach, which is a broken connection."""
    required_id(row, "id")
    account, time = reading.account(row, "id"), reading.time()
    kind = reading.kind_of(account, _KINDS.get(optional_word(row, "type") or ""))
    status = optional_word(row, "status")
    facts = {
        "user_id": reading.user_of(account),
        "kind": kind,
        "name": first_text(row.get("name")),
        "currency": reading.account_currency(account, row, "currency"),
    }
    if any(facts.values()):
        yield make_statement("account.changed", account, time, **facts)
    if status == "open":
        yield from connection_statements([account.account_id], time, "healthy", None)
    elif status == "closed":
        yield from connection_statements([account.account_id], time, "broken", "closed")


def _balances(row: Row, reading: Reading) -> Iterator[Statement]:
    """The ledger balance as of the pull; what is owed, for a credit account. Only `available` includes holds."""
    account, time = reading.account(row, "account_id"), reading.time()
    if row.get("ledger") is None:
        return
    reading.known_kind(account)
    currency = reading.currency_of(account, row, "currency")
    available = None if row.get("available") is None else rounded_minor(row, "available", currency)
    yield make_statement(
        "balance.reported",
        account,
        time,
        current=decimal_text(rounded_minor(row, "ledger", currency), currency),
        available=None if available is None else decimal_text(available, currency),
        currency=currency,
        as_of=time.isoformat(),
        user_id=reading.user_of(account),
        kind=reading.kind_of(account),
    )


def _transaction(row: Row, reading: Reading) -> Iterator[Statement]:
    """Teller's amount is positive when a depository account gains money, and when more is owed on a credit account."""
    account, transaction_id = reading.account(row, "account_id"), required_id(row, "id")
    status = optional_word(row, "status") or "posted"
    if status not in ("posted", "pending"):
        raise EventRejected("bad_value", "status must be posted or pending")
    kind, currency = reading.known_kind(account), reading.currency_of(account, row, "currency")
    amount = exact_minor(row, "amount", currency)
    posted = posted_at(row, ("date",), ())
    if account.is_former(posted.day):
        return
    details = nested(row, "details")
    yield make_statement(
        "transaction.recorded",
        account,
        reading.time(),
        transaction_id=transaction_id,
        amount=decimal_text(amount if kind == "asset" else -amount, currency),
        currency=currency,
        posted_at=posted.text,
        pending=status == "pending",
        category=first_text(details.get("category")),
        description=first_text(nested(details, "counterparty").get("name"), row.get("description")),
    )


ACCOUNT = Part("teller/account", _account)
BALANCES = Part("teller/balances", _balances)
TRANSACTION = Part("teller/transaction", _transaction)


def check_secret(text: str) -> str:
    """A signing secret from Teller's dashboard, trimmed; raises InvalidField."""
    secret = text.strip()
    if not (secret.isascii() and secret.isprintable() and SECRET_SHORTEST <= len(secret) <= 500) or " " in secret:
        raise InvalidField("secret", f"must be one line of at least {SECRET_SHORTEST} characters, as Teller shows it")
    return secret


def verify(delivery: Delivery, secrets: Sequence[str]) -> None:
    """Raise SignatureRefused unless a signature within the tolerance was made with one of the secrets."""
    parts = [part.strip().partition("=") for part in delivery.header(HEADER).split(",")]
    moments = [value for name, _, value in parts if name == "t"]
    signatures = [as_bytes(value) for name, _, value in parts if name == "v1"]
    if len(moments) != 1 or not 1 <= len(signatures) <= SIGNATURES_MOST:
        raise SignatureRefused(f"{HEADER} is not t=...,v1=...")
    delivery.check_age(moments[0], TOLERANCE)
    expected = [_signature(secret, moments[0], delivery.body) for secret in secrets]
    if not share_one(signatures, expected):
        raise SignatureRefused("no signature was made with a secret of this address")


def _signature(secret: str, moment: str, body: bytes) -> bytes:
    code = hmac.new(secret.encode(), moment.encode() + b".", hashlib.sha256)
    code.update(body)
    return code.hexdigest().encode()


def _accounts_in(body: object) -> Iterator[object]:
    payload = body.get("payload") if isinstance(body, dict) else None
    rows = payload.get("transactions") if isinstance(payload, dict) else body
    for row in rows_in(rows):
        yield row.get("account_id", row.get("id"))


def _enrollments_in(body: object) -> Iterator[object]:
    if isinstance(body, dict):
        yield nested(body, "payload").get("enrollment_id")


TELLER = ProviderSpec(
    "teller",
    formats={"teller": adapt_pulled},
    webhook=Webhook(
        adapt_webhook, Scheme(one_secret(check_secret), verify, decoys=(DECOY,), challenge="Teller-Signature")
    ),
    parts=(ACCOUNT, BALANCES, TRANSACTION),
    accounts_in=_accounts_in,
    connections_in=_enrollments_in,
)
