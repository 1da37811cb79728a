"""Plaid: pages of transactions/sync, balances, its webhooks, and the JWT that signs them."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import simplejson

from core.errors import EventRejected, InvalidField, ProviderBodyRefused
from core.providers.contracts import Adapted, AdaptedEvent, Context, KnownAccount
from core.providers.fields import (
    Row,
    currency_code,
    decimal_text,
    exact_minor,
    first_text,
    flag,
    names_of,
    nested,
    object_in,
    optional_id,
    optional_instant,
    optional_word,
    posted_at,
    required_id,
    rounded_minor,
    rows_in,
)
from core.providers.provider import ProviderSpec, Scheme, Webhook
from core.providers.rows import Part, Reading, Statement, account_facts_of, make_statement, read_rows, rows_of
from core.providers.webhooks import (
    Delivery,
    SignatureRefused,
    UnknownVerificationKey,
    as_bytes,
    code_of,
    connection_state,
    refresh,
    share_one,
    webhook_object,
)

_KINDS = {
    "depository": "asset",
    "investment": "asset",
    "brokerage": "asset",
    "payroll": "asset",
    "credit": "liability",
    "loan": "liability",
}
# What to pull, by webhook_type. Any other type asks to pull its own name, so that a new product is no error.
_WEBHOOK_KINDS = {
    "TRANSACTIONS": "transactions",
    "INVESTMENTS_TRANSACTIONS": "investments_transactions",
    "HOLDINGS": "holdings",
    "LIABILITIES": "liabilities",
    "AUTH": "auth",
    "IDENTITY": "identity",
    "TRANSFER": "transfers",
}
_BROKEN = frozenset({"ERROR", "USER_PERMISSION_REVOKED", "USER_ACCOUNT_REVOKED"})
_REPAIRED = frozenset({"LOGIN_REPAIRED"})
_ABOUT_TO_BREAK = frozenset({"PENDING_EXPIRATION", "PENDING_DISCONNECT"})
_WITHOUT_EFFECT = frozenset({"WEBHOOK_UPDATE_ACKNOWLEDGED"})
_SUBJECTS = ("item_id", "account_id", "recurring_transfer_id", "transfer_id", "user_id")
HEADER = "plaid-verification"
ALGORITHM = "ES256"
TOLERANCE = timedelta(minutes=5)
KEYS_MOST = 20
TOKEN_LONGEST = 4_096
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
# Times are compared with the arrival of the delivery, not with the library's clock.
_OPTIONS: Any = {"verify_iat": False, "verify_exp": False, "verify_nbf": False, "verify_aud": False, "require": ["iat"]}
_LISTS = ("accounts", "added", "modified", "removed", "transactions")


def adapt_sync(body: object, context: Context) -> Iterator[AdaptedEvent]:
    """A page of transactions/sync (or a body of the older transactions/get, whose rows are all additions).

    All rows of a page have one time. Of several about one transaction a modified row wins over an added one, and the
    later row in a section over the earlier one, as Plaid orders them.
    """
    page = _object(body)
    if not page.keys() & {"added", "modified", "removed", "transactions"}:
        raise ProviderBodyRefused("not_this_form", "a page has added, modified and removed; this body has none of them")
    yield from _accounts(page, context)
    yield from account_facts_of(names_of(_accounts_in(page)), context)
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
    """The account, and its balance if the bank gives one: what is owed, for a credit or loan account."""
    account = reading.account(row, "account_id")
    time = reading.time()
    kind = reading.kind_of(account, _KINDS.get(optional_word(row, "type") or ""))
    whose = {"user_id": reading.user_of(account), "kind": kind}
    name = first_text(row.get("name"), row.get("official_name"))
    if name or any(whose.values()):
        yield make_statement("account.changed", account, time, name=name, **whose)
    balances = object_in(row, "balances")
    if balances.get("current") is None:
        return
    currency = _currency(balances, account, reading)
    available = None if balances.get("available") is None else rounded_minor(balances, "available", currency)
    as_of = optional_instant(balances, "last_updated_datetime") or time
    yield make_statement(
        "balance.reported",
        account,
        time,
        current=decimal_text(rounded_minor(balances, "current", currency), currency),
        available=None if available is None else decimal_text(available, currency),
        currency=currency,
        as_of=as_of.isoformat(),
        **whose,
    )


def _transaction(row: Row, reading: Reading) -> Iterator[Statement]:
    """Plaid's amount is positive when money leaves an account of any type; ours is positive when worth rises."""
    account = reading.account(row, "account_id")
    transaction_id = required_id(row, "transaction_id")
    replaces = optional_id(row, "pending_transaction_id")
    if replaces == transaction_id:
        raise EventRejected("self_contradicting", "pending_transaction_id names the transaction itself")
    currency = _currency(row, account, reading)
    amount = -exact_minor(row, "amount", currency)
    posted = posted_at(row, ("date",), ("datetime",))
    pending = flag(row, "pending")
    if account.is_former(posted.day):
        return
    yield make_statement(
        "transaction.recorded",
        account,
        reading.time(),
        transaction_id=transaction_id,
        amount=decimal_text(amount, currency),
        currency=currency,
        posted_at=posted.text,
        pending=pending,
        replaces=replaces,
        category=first_text(nested(row, "personal_finance_category").get("primary")),
        description=first_text(row.get("merchant_name"), row.get("name")),
    )


def _removed(row: Row, reading: Reading) -> Iterator[Statement]:
    account = reading.account(row, "account_id")
    transaction_id = required_id(row, "transaction_id")
    yield make_statement("transaction.removed", account, reading.time(), transaction_id=transaction_id)


def _currency(row: Row, account: KnownAccount, reading: Reading) -> str:
    """The ISO code. An unofficial one (a cryptocurrency's) is refused, and no default may replace it."""
    official, unofficial = row.get("iso_currency_code"), row.get("unofficial_currency_code")
    if official is None and unofficial is not None:
        return currency_code(row, "unofficial_currency_code")
    return reading.currency_of(account, row, "iso_currency_code")


ACCOUNT = Part("plaid/account", _account)
TRANSACTION = Part("plaid/transaction", _transaction)
REMOVED = Part("plaid/removed", _removed)


def adapt_webhook(body: object, context: Context) -> Adapted:
    """One webhook. It has no id and no time, so one of transactions only says what to pull.

    What TRANSACTIONS_REMOVED names may have come back by the time that the delivery arrives, or is repeated.
    """
    hook = webhook_object(body)
    type, code = code_of(hook, "webhook_type"), code_of(hook, "webhook_code")
    if type == "ITEM":
        return _of_item(hook, code, context)
    kind = (
        "recurring_transactions" if code == "RECURRING_TRANSACTIONS_UPDATE" else _WEBHOOK_KINDS.get(type, type.lower())
    )
    return refresh((hook.get(name) for name in _SUBJECTS), kind, code)


def _of_item(hook: Mapping[str, Any], code: str, context: Context) -> Adapted:
    subject = hook.get("item_id")
    if code in _BROKEN:
        reason = nested(hook, "error").get("error_code")
        cause = reason if isinstance(reason, str) and reason else code
        named = hook.get("account_id") if code == "USER_ACCOUNT_REVOKED" else None
        return connection_state(None if named else subject, [named], "broken", cause, None, context)
    if code in _REPAIRED:
        return connection_state(subject, [], "healthy", code, None, context)
    if code in _WITHOUT_EFFECT:
        return Adapted()
    kind = "connection" if code in _ABOUT_TO_BREAK else "accounts" if code == "NEW_ACCOUNTS_AVAILABLE" else "item"
    return refresh((hook.get(name) for name in _SUBJECTS), kind, code)


def check_secret(text: str) -> tuple[str, ...]:
    """The keys in a JSON text, each as a JSON text: a JWK, Plaid's answer with one, or a list or set of these.

    Raises InvalidField.
    """
    import jwt  # not at the top: drains read rows and check no signatures

    try:
        keys = tuple(_key_text(each) for each in _keys(simplejson.loads(text)))
    except (ValueError, RecursionError, jwt.PyJWTError) as error:
        raise InvalidField("secret", f"must be JSON with JWKs of kty EC, crv P-256 and a kid ({error})") from None
    if not 1 <= len(keys) <= KEYS_MOST:
        raise InvalidField("secret", f"must have 1 to {KEYS_MOST} keys")
    return keys


def key_id(key: str) -> str:
    """The `kid` of a key that `check_secret` returned."""
    return str(simplejson.loads(key)["kid"])


def verify(delivery: Delivery, secrets: Sequence[str]) -> None:
    """Raise SignatureRefused unless a known key signed the token, lately, for this body; UnknownVerificationKey."""
    import jwt  # not at the top: drains read rows and check no signatures

    token = delivery.header(HEADER)
    if len(token) > TOKEN_LONGEST:
        raise SignatureRefused(f"{HEADER} is longer than {TOKEN_LONGEST} characters")
    try:
        claims = _claims(token, secrets, delivery)
    # The library parses unsigned input before it checks the signature, so any of its errors is a refusal.
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise SignatureRefused(f"{HEADER} is not a valid token: {type(error).__name__}") from None
    signed_at = claims["iat"]
    if isinstance(signed_at, bool) or not isinstance(signed_at, int | float) or not abs(signed_at) < 1e11:
        raise SignatureRefused("iat is not a time")
    delivery.check_age(str(int(signed_at)), TOLERANCE)
    claimed = claims.get("request_body_sha256")
    digest = hashlib.sha256(delivery.body).hexdigest().encode()
    if not isinstance(claimed, str) or not share_one([as_bytes(claimed)], [digest]):
        raise SignatureRefused("request_body_sha256 is not that of the body")


def _claims(token: str, secrets: Sequence[str], delivery: Delivery) -> dict[str, Any]:
    import jwt  # not at the top: drains read rows and check no signatures

    header = jwt.get_unverified_header(token)
    wanted = header.get("kid")
    if header.get("alg") != ALGORITHM or not isinstance(wanted, str) or not _KEY_ID.fullmatch(wanted):
        raise SignatureRefused(f"the token is not signed with {ALGORITHM}, or names no key")
    key = next((found for each in secrets if (found := simplejson.loads(each))["kid"] == wanted), None)
    if key is None:
        raise UnknownVerificationKey(wanted)
    expired_at = key.get("expired_at")
    if expired_at is not None and expired_at <= delivery.arrived_at.timestamp():
        raise SignatureRefused(f"the verification key {wanted} has expired")
    claims: dict[str, Any] = jwt.decode(
        token, jwt.PyJWK(_public(key), algorithm=ALGORITHM), algorithms=[ALGORITHM], options=_OPTIONS
    )
    return claims


def _keys(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for each in value:
            yield from _keys(each)
    elif isinstance(value, dict) and ("keys" in value or "key" in value):
        yield from _keys(value.get("keys", value.get("key")))
    elif isinstance(value, dict):
        yield value
    else:
        raise ValueError("a key is an object")


def _key_text(key: dict[str, Any]) -> str:
    """The JSON to store for a key; raises ValueError unless the key can verify."""
    import jwt  # not at the top: drains read rows and check no signatures

    if key.get("kty") != "EC" or key.get("crv") != "P-256" or key.get("alg", ALGORITHM) != ALGORITHM:
        raise ValueError("not an ES256 key")
    if not isinstance(key.get("kid"), str) or not _KEY_ID.fullmatch(key["kid"]):
        raise ValueError("kid is missing")
    expired_at = key.get("expired_at")
    if expired_at is not None and (isinstance(expired_at, bool) or not isinstance(expired_at, int)):
        raise ValueError("expired_at is not a whole number of seconds")
    jwt.PyJWK(_public(key), algorithm=ALGORITHM)
    return simplejson.dumps({**_public(key), "kid": key["kid"], "expired_at": expired_at})


def _public(key: dict[str, Any]) -> dict[str, Any]:
    """Only the public half, whatever else was in the file."""
    return {name: key.get(name) for name in ("kty", "crv", "x", "y")}


def _accounts_in(body: object) -> Iterator[object]:
    if isinstance(body, dict):
        yield body.get("account_id")
        yield from (row.get("account_id") for name in _LISTS for row in rows_in(body.get(name)))


def _items_in(body: object) -> Iterator[object]:
    if isinstance(body, dict) and "webhook_type" in body:
        yield body.get("item_id")


PLAID = ProviderSpec(
    "plaid",
    formats={"plaid-sync": adapt_sync, "plaid-balances": adapt_balances},
    webhook=Webhook(
        adapt_webhook,
        Scheme(
            check_secret,
            verify,
            decoys=(simplejson.dumps({"kid": ""}),),
            challenge="Plaid-Verification",
            key_id=key_id,
            secrets_most=KEYS_MOST,
        ),
    ),
    parts=(ACCOUNT, TRANSACTION, REMOVED),
    accounts_in=_accounts_in,
    connections_in=_items_in,
)
