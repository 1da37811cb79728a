"""Webhooks from anyone who signs as Standard Webhooks says: our own events, signed over `id.timestamp.body`."""

import base64
import binascii
import hashlib
import hmac
import secrets as randomness
from collections.abc import Sequence
from datetime import datetime, timedelta

from core.errors import InvalidField, MalformedEvent, ProviderBodyRefused
from core.events.envelope import EVENT_LONGEST_BYTES, Envelope, check_clock, check_envelope
from core.providers.contracts import Adapted, AdaptedEvent, Context
from core.providers.provider import DECOY, ProviderSpec, Scheme, Webhook, one_secret
from core.providers.rows import exact_json, rows_of
from core.providers.webhooks import SIGNATURES_MOST, Delivery, SignatureRefused, share_one

TOLERANCE = timedelta(minutes=5)
SECRET, PUBLIC = "whsec_", "whpk_"
SECRET_BYTES = (24, 64)
PUBLIC_BYTES = 32
_ID_LONGEST = 256


def adapt_webhook(body: object, context: Context) -> Adapted:
    """One event or an array of them.

    A malformed envelope, or a `time` ahead of the arrival, refuses the whole body; the refusal names its index.
    """
    events = rows_of(body, "") if isinstance(body, list) else [body]
    return Adapted(events=tuple(_checked(event, context.pulled_at, f"[{index}]") for index, event in enumerate(events)))


def _checked(event: object, arrived_at: datetime | None, where: str) -> AdaptedEvent:
    try:
        envelope = check_envelope(event)
        if arrived_at is not None:
            check_clock(envelope.time, arrived_at)
    except MalformedEvent as error:
        raise ProviderBodyRefused(error.code, error.message, where) from None
    text = exact_json(event, where)
    if len(text) > EVENT_LONGEST_BYTES:
        raise ProviderBodyRefused("too_large", f"an event has at most {EVENT_LONGEST_BYTES:,} bytes", where)
    return AdaptedEvent(_account_for_shard(envelope), text)


def _account_for_shard(envelope: Envelope) -> str:
    """The account, so that all events of an account go to one shard; the event's own id if it has no account."""
    accounts = envelope.data.get("account_ids")
    first = accounts[0] if isinstance(accounts, list) and accounts else None
    names = (name for name in (envelope.data.get("account_id"), first) if isinstance(name, str) and name)
    return next(names, envelope.event_id)


def check_secret(text: str) -> str:
    """A `whsec_` secret or a `whpk_` public key, trimmed; raises InvalidField."""
    secret = text.strip()
    decoded = _decoded(secret.removeprefix(SECRET).removeprefix(PUBLIC)) or b""
    if secret.startswith(SECRET) and SECRET_BYTES[0] <= len(decoded) <= SECRET_BYTES[1]:
        return secret
    if secret.startswith(PUBLIC) and len(decoded) == PUBLIC_BYTES:
        return secret
    raise InvalidField(
        "secret",
        f"must be {SECRET} and {SECRET_BYTES[0]} to {SECRET_BYTES[1]} bytes in base64, or {PUBLIC} and the "
        f"{PUBLIC_BYTES} bytes of an Ed25519 key",
    )


def verify(delivery: Delivery, secrets: Sequence[str]) -> None:
    """Raise SignatureRefused unless a signature within the tolerance was made with one of the secrets or keys."""
    name, moment = delivery.header("webhook-id"), delivery.header("webhook-timestamp")
    parts = [part.partition(",") for part in delivery.header("webhook-signature").split()]
    if not name or len(name) > _ID_LONGEST or not 1 <= len(parts) <= SIGNATURES_MOST:
        raise SignatureRefused("webhook-id or webhook-signature is not of the standard's form")
    delivery.check_age(moment, TOLERANCE)
    head = f"{name}.{moment}.".encode("latin-1", "replace")
    symmetric = [each for each in secrets if each.startswith(SECRET)]
    public = [each for each in secrets if each.startswith(PUBLIC)]
    # Only a public key needs the signed content in one piece, which copies the whole body.
    if not _is_mac(parts, symmetric, head, delivery.body) and not (
        public and _is_signed(parts, public, head + delivery.body)
    ):
        raise SignatureRefused("no signature was made with a secret of this address")


def _is_mac(parts: Sequence[tuple[str, str, str]], secrets: Sequence[str], head: bytes, body: bytes) -> bool:
    given = [code for version, _, text in parts if version == "v1" and (code := _decoded(text)) is not None]
    return share_one(given, [_code(secret, head, body) for secret in secrets])


def _code(secret: str, head: bytes, body: bytes) -> bytes:
    code = hmac.new(_decoded(secret.removeprefix(SECRET)) or b"", head, hashlib.sha256)
    code.update(body)
    return code.digest()


def _is_signed(parts: Sequence[tuple[str, str, str]], keys: Sequence[str], content: bytes) -> bool:
    given = [code for version, _, text in parts if version == "v1a" and (code := _decoded(text)) is not None]
    return any(_is_signature(key, signature, content) for key in keys for signature in given)


def _is_signature(key: str, signature: bytes, content: bytes) -> bool:
    # Not at the top: drains read rows and check no signatures.
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(_decoded(key.removeprefix(PUBLIC)) or b"").verify(signature, content)
    except (InvalidSignature, ValueError):
        return False
    return True


def _decoded(text: str) -> bytes | None:
    """The bytes of base64 text, with or without padding; None if it is not base64."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _make_secret() -> str:
    return SECRET + base64.b64encode(randomness.token_bytes(32)).decode()


STANDARD = ProviderSpec(
    "standard",
    webhook=Webhook(
        adapt_webhook,
        Scheme(
            one_secret(check_secret),
            verify,
            decoys=(SECRET + base64.b64encode(DECOY.encode()).decode(),),
            challenge="Webhook-Signature",
            make_secret=_make_secret,
        ),
    ),
)
