"""Teller: `Teller-Signature: t=SECONDS,v1=HEX[,v1=HEX]`, HMAC-SHA256 over `t.body`.

Source: Teller's documentation of webhooks. While secrets are rotated each delivery carries a signature of each.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import timedelta

from core.errors import InvalidField
from core.signatures.delivery import SIGNATURES_MOST, Delivery, SignatureRefused, as_bytes, share_one

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
