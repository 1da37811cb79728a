"""MX: no signature, but HTTP Basic credentials that MX was given with the address.

Source: MX's page on webhooks, which offers basic authentication, mutual TLS, and a bearer token that MX fetches. TLS
ends at the proxy, so mutual TLS is asked for there; the bearer token is not taken. Basic credentials carry no moment,
so there is no replay window: a delivery that is repeated states the same facts.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from core.errors import InvalidField
from core.signatures.delivery import Delivery, SignatureRefused, share_one

PASSWORD_SHORTEST = 16


def check_secret(text: str) -> str:
    """`user:password`, trimmed of the line break; raises InvalidField."""
    secret = text.strip("\r\n")
    user, colon, password = secret.partition(":")
    if not (secret.isprintable() and user and colon and len(password) >= PASSWORD_SHORTEST and len(secret) <= 500):
        raise InvalidField("secret", f"must be USER:PASSWORD on one line, the password {PASSWORD_SHORTEST} or longer")
    return secret


def verify(delivery: Delivery, secrets: Sequence[str]) -> None:
    """Raise SignatureRefused unless the credentials are among `secrets`."""
    scheme, _, given = delivery.header("authorization").partition(" ")
    try:
        credentials = base64.b64decode(given.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise SignatureRefused("authorization holds no Basic credentials") from None
    if scheme.lower() != "basic" or not share_one([credentials], [each.encode() for each in secrets]):
        raise SignatureRefused("the credentials are not those of this address")
