"""Teller: accounts, balances and transactions as they are pulled, its webhooks, and their signature."""

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from core.errors import EventRejected, InvalidField, ProviderBodyRefused
from core.providers.contracts import Adapted, AdaptedEvent, Context, KnownAccount
from core.providers.fields import (
    MissingValue,
    Row,
    an_instant,
    exact,
    names_of,
    nested,
    note,
    posted_at,
    required_id,
    rows_in,
    valuation,
    written,
)
from core.providers.provider import DECOY, ProviderSpec, Scheme, Webhook, one_secret
from core.providers.rows import (
    Part,
    Reading,
    Statement,
    account_facts_of,
    connection,
    read_row,
    read_rows,
    rows_of,
    stated,
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
    except MissingValue as missing:
        return refresh([payload.get("enrollment_id")], "transactions", f"untold {missing.where.rpartition('.')[2]}")
    return Adapted(events=(*account_facts_of(names_of(_accounts_in(rows)), context), *events))


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
    registered = {"user_id": reading.user_of(account), "kind": kind, "name": note(row.get("name"))}
    if any(registered.values()):
        yield stated("account.changed", account.account_id, time, **registered)
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
        raise MissingValue(
            "kind", "asset or liability? Teller's sign hangs on it: give kind, or post the accounts first"
        )
    return kind


ACCOUNT = Part("teller/account", _account)
BALANCES = Part("teller/balances", _balances)
TRANSACTION = Part("teller/transaction", _transaction)


HEADER = "teller-signature"
TOLERANCE = timedelta(minutes=3)
SECRET_SHORTEST = 16


def check_secret(text: str) -> str:
    """A signing secret from Teller's dashboard, trimmed; raises InvalidField."""
    secret = text.strip()
    if not (secret.isascii() and secret.isprintable() and SECRET_SHORTEST <= len(secret) <= 500) or " " in secret:
        raise InvalidField("secret", f"must be one line of at least {SECRET_SHORTEST} characters, as Teller shows it")
    return secret


def verify(delivery: Delivery, secrets: Sequence[str]) -> None:
    """Raise SignatureRefused unless one of the signatures was made with one of the secrets, lately."""
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
