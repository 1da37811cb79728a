"""Signatures of the messages that are sent, as the specification Standard Webhooks has them."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence

from core.errors import InvalidField

PREFIX = "whsec_"
SHORTEST_BYTES, LONGEST_BYTES = 24, 64
_MADE_BYTES = 32


def make_secret() -> str:
    """A new secret: `whsec_` and base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_MADE_BYTES)).decode()


def read_secret(text: str) -> str:
    """A secret that is brought, which is returned unchanged; raises InvalidField."""
    try:
        length = len(_key(text))
    except (ValueError, binascii.Error):
        length = 0
    if not text.startswith(PREFIX) or not SHORTEST_BYTES <= length <= LONGEST_BYTES:
        raise InvalidField(
            "secret",
            f"must be {PREFIX} followed by {SHORTEST_BYTES} to {LONGEST_BYTES} bytes in base64, such as"
            ' `echo "whsec_$(openssl rand -base64 32)"` makes',
        )
    return text


def signed_headers(texts: Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a message: its id, the time of the attempt in seconds since 1970, and a signature by each secret.

    `message_id` holds no full stop.
    """
    content = f"{message_id}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(_key(text), content, hashlib.sha256)).decode() for text in texts)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _key(text: str) -> bytes:
    return base64.b64decode(text.removeprefix(PREFIX), validate=True)
