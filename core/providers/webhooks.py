"""What webhooks of all providers have in common: deliveries, refusals, pointers; and how their secrets are sealed."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import EventRejected, MilepostError, ProviderBodyRefused
from core.events.envelope import ID_LONGEST, identifier
from core.providers.contracts import Adapted, Context, Refresh
from core.providers.fields import note
from core.providers.rows import Reading, connection, event_of

HEADER_LONGEST = 8_192
SIGNATURES_MOST = 10
_SECONDS = re.compile(r"\d{1,11}", re.ASCII)


class SignatureRefused(MilepostError):
    """The delivery is not signed as it should be; the text says why, for our own log: its sender is told less."""


class UnknownVerificationKey(SignatureRefused):
    """A delivery names a key that we have not been given."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"no verification key {key_id!r} is known")
        self.key_id = key_id


@dataclass(frozen=True, slots=True)
class Delivery:
    """What was posted: the very bytes, the headers by their names in small letters, and when it came."""

    body: bytes = field(repr=False)
    headers: Sequence[tuple[str, str]] = field(repr=False)
    arrived_at: datetime

    def header(self, name: str) -> str:
        """The one header of this name; raises SignatureRefused if it is missing, there twice, or absurdly long."""
        found = [value for key, value in self.headers if key == name]
        if len(found) != 1:
            raise SignatureRefused(f"{name} is {'there more than once' if found else 'missing'}")
        if len(found[0]) > HEADER_LONGEST:
            raise SignatureRefused(f"{name} is longer than {HEADER_LONGEST} characters")
        return found[0].strip()

    def check_age(self, seconds: str, tolerance: timedelta) -> None:
        """Raise SignatureRefused unless a moment in Unix seconds is within `tolerance` of the arrival, both ways."""
        if not _SECONDS.fullmatch(seconds):
            raise SignatureRefused("the moment of signing is no number of seconds")
        age = self.arrived_at.astimezone(UTC).timestamp() - int(seconds)
        if abs(age) > tolerance.total_seconds():
            raise SignatureRefused(
                f"signed {abs(age):.0f} s {'ago' if age > 0 else 'ahead'}, outside the replay window"
            )


def share_one(given: Iterable[bytes], expected: Sequence[bytes]) -> bool:
    """Whether any of `given` is among `expected`, in a time that tells neither which it is nor how near one comes."""
    found = False
    for each in given:
        for other in expected:
            found |= hmac.compare_digest(each, other)
    return found


def as_bytes(header: str) -> bytes:
    """The bytes of a header's value as they came: comparing text that is not ASCII in constant time is not possible."""
    return header.encode("latin-1", "replace")


CODE_LONGEST = 100


def webhook_object(body: object) -> Mapping[str, Any]:
    """The body as the object that every webhook is."""
    if not isinstance(body, dict):
        raise ProviderBodyRefused("not_this_form", "a webhook is an object")
    return body


def code_of(body: Mapping[str, Any], field: str) -> str:
    """A provider's word for what happened, that must be there."""
    try:
        return identifier(body.get(field), field, CODE_LONGEST)
    except EventRejected as error:
        raise ProviderBodyRefused("not_this_form", error.message, field) from None


def refresh(candidates: Iterable[object], kind: str, reason: str) -> Adapted:
    """A pointer: what is to be pulled for the first of the candidates that can name a thing."""
    for subject in candidates:
        try:
            return Adapted(refreshes=(Refresh(identifier(subject, "subject", ID_LONGEST), _word(kind), _word(reason)),))
        except EventRejected:
            continue
    raise ProviderBodyRefused("not_this_form", "the webhook names nothing that it is about")


def connection_state(
    subject: object, named: Iterable[object], state: str, reason: str, known_at: datetime | None, context: Context
) -> Adapted:
    """The state of the accounts that hang on `subject` or are `named`; a pointer where none of them is known."""
    registered = {name for name in named if isinstance(name, str)}
    hanging = [
        known.account_id
        for name, known in context.accounts.items()
        if name in registered or (known.connection is not None and known.connection == subject)
    ]
    if not hanging:
        return refresh([subject, *sorted(registered)], "connection", reason)
    statements = connection(hanging, Reading(context).time(known_at), state, note(reason))
    return Adapted(events=tuple(event_of(statement, context.source, "") for statement in statements))


def _word(said: str) -> str:
    """A provider's word as a database takes it."""
    return "".join(letter for letter in said if letter.isprintable())[:CODE_LONGEST] or "unsaid"


_FORM = b"\x01"
_NAME_BYTES, _NONCE_BYTES = 4, 12


class CannotUnseal(MilepostError):
    """A secret was sealed with a key that this process does not have, or is not as it was written."""

    def __init__(self) -> None:
        super().__init__(
            "a secret cannot be opened: it was sealed with another MILEPOST_SECRETS_KEY than this process has"
        )


class Sealer:
    """Seals with the first of its keys, and opens with any of them, so that the key can be changed."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._ciphers = {_name(key): AESGCM(key) for key in map(_derived, keys)}
        self._first = next(iter(self._ciphers))

    def seal(self, secret: bytes, row: str) -> bytes:
        """The secret as it may lie in the database, in this row only."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _FORM + self._first + nonce + self._ciphers[self._first].encrypt(nonce, secret, row.encode())

    def open(self, sealed: bytes, row: str) -> bytes:
        """The secret in clear; raises CannotUnseal."""
        name, rest = sealed[1 : 1 + _NAME_BYTES], sealed[1 + _NAME_BYTES :]
        cipher = self._ciphers.get(name) if sealed[:1] == _FORM else None
        if cipher is None:
            raise CannotUnseal
        try:
            return cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], row.encode())
        except (InvalidTag, ValueError):
            raise CannotUnseal from None


def _derived(key: str) -> bytes:
    """A key of the cipher from text of any length; the setting asks for enough of it to be beyond guessing."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"milepost secrets").derive(key.encode())


def _name(key: bytes) -> bytes:
    return hashlib.sha256(b"name of " + key).digest()[:_NAME_BYTES]
