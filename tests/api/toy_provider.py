"""A provider that does not exist, as its module in core/providers would be; and a run of the API that has it."""

from __future__ import annotations

MODULE = '''
"""Toy: a list of transactions, and a webhook that has one, signed with an HMAC of the body."""

from __future__ import annotations

import hashlib
import hmac

from core.errors import InvalidField, ProviderBodyRefused
from core.providers.contracts import Adapted
from core.providers.fields import exact_minor, posted_at, required_id, rows_in, decimal_text
from core.providers.provider import DECOY, ProviderSpec, Scheme, Webhook, one_secret
from core.providers.rows import Part, read_rows, rows_of, make_statement
from core.providers.webhooks import SignatureRefused, as_bytes, share_one, webhook_object


def _transaction(row, reading):
    account = reading.account(row, "account")
    currency = reading.currency_of(account, row, "currency")
    yield make_statement(
        "transaction.recorded",
        account,
        reading.time(),
        transaction_id=required_id(row, "id"),
        amount=decimal_text(exact_minor(row, "amount", currency), currency),
        currency=currency,
        posted_at=posted_at(row, ("day",), ()).text,
        pending=False,
    )


TRANSACTION = Part("toy/transaction", _transaction)


def adapt_pulled(body, context):
    if not isinstance(body, dict):
        raise ProviderBodyRefused("not_this_form", "the body must be an object")
    yield from read_rows(TRANSACTION, rows_of(body.get("moved"), "moved"), context, "moved")


def adapt_webhook(body, context):
    return Adapted(events=tuple(adapt_pulled(webhook_object(body), context)))


def check_secret(text):
    if len(text.strip()) < 16:
        raise InvalidField("secret", "must have 16 characters or more")
    return text.strip()


def verify(delivery, secrets):
    expected = [hmac.new(each.encode(), delivery.body, hashlib.sha256).hexdigest().encode() for each in secrets]
    if not share_one([as_bytes(delivery.header("toy-signature"))], expected):
        raise SignatureRefused("no signature was made with a secret of this address")


def _accounts_in(body):
    yield from (row.get("account") for row in rows_in(body.get("moved") if isinstance(body, dict) else None))


TOY = ProviderSpec(
    "toy",
    formats={"toy-moves": adapt_pulled},
    webhook=Webhook(
        adapt_webhook, Scheme(one_secret(check_secret), verify, decoys=(DECOY,), challenge="Toy-Signature")
    ),
    parts=(TRANSACTION,),
    accounts_in=_accounts_in,
)
'''

# One further import and one further name in core/providers/registry.py.
LISTED = "\n\nPROVIDERS: tuple[ProviderSpec, ...] = ("
REGISTRATION = (LISTED, f"\nfrom core.providers.toy import TOY{LISTED}TOY, ")

# Run with that `core` before ours: what POST, PUT and the command line answer.
PROGRAM = """
import hashlib, hmac, json, sys
from fastapi.testclient import TestClient
from api.app import make_app
from core.settings import load_settings

key, endpoint, secret = sys.argv[1:]
headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
GOOD = {"id": "t1", "account": "a1", "amount": "12.50", "currency": "USD", "day": "2026-03-01"}
pulled = {"moved": [GOOD, {"id": "t2", "account": "a1", "amount": "?", "currency": "USD", "day": "2026-03-01"}]}
hook = json.dumps({"moved": [GOOD | {"id": "t3", "amount": "-2.00"}]}).encode()
signed = {"Toy-Signature": hmac.new(secret.encode(), hook, hashlib.sha256).hexdigest()}
with TestClient(make_app(load_settings())) as http:
    answers = [
        http.put("/provider-accounts/toy/a1", json={"account_id": "savings"}, headers=headers),
        http.post("/events?format=toy-moves&pulled_at=2026-03-01T08:00:00Z", json=pulled, headers=headers),
        http.post(f"/webhooks/toy/{endpoint}", content=hook, headers=signed),
        http.post(f"/webhooks/toy/{endpoint}", content=hook + b" ", headers=signed),
    ]
print(json.dumps([[each.status_code, each.headers.get("WWW-Authenticate"), each.json()] for each in answers]))
"""
