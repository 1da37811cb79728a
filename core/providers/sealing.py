"""Sealing: how the secrets of webhooks are encrypted for the database, with keys that are not in it."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import simplejson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import SecretsUnreadable

# The first byte of a sealed secret, which says how the rest is laid out: name of the key, nonce, ciphertext.
_FORM = b"\x01"
_NAME_BYTES, _NONCE_BYTES = 4, 12


class CannotUnseal(SecretsUnreadable):
    """A secret was sealed with a key that this process does not have, or was changed since."""

    def __init__(self) -> None:
        super().__init__(
            "a secret cannot be opened: it was sealed with another MILEPOST_SECRETS_KEY than this process has"
        )


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret in clear, valid until `until`; None: until it is rotated."""

    text: str = field(repr=False)
    until: datetime | None = None

    def is_good(self, now: datetime) -> bool:
        """Whether it is still valid at a moment."""
        return self.until is None or now < self.until


class Sealer:
    """Encrypts secrets with the first of its keys and decrypts with any of them, so that the key can be changed."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._ciphers = {_name(key): AESGCM(key) for key in map(_derived, keys)}
        self._first = next(iter(self._ciphers))

    def seal(self, secret: bytes, row: str) -> bytes:
        """The encrypted secret, to store in this row; in another row it cannot be opened."""
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

    def seal_all(self, secrets: Sequence[Secret], row: str) -> bytes:
        """All secrets of a row in one sealed text."""
        rows = [(each.text, None if each.until is None else each.until.isoformat()) for each in secrets]
        return self.seal(simplejson.dumps(rows).encode(), row)

    def open_all(self, sealed: bytes, row: str) -> list[Secret]:
        """What `seal_all` sealed, in clear; raises CannotUnseal."""
        rows = simplejson.loads(self.open(sealed, row))
        return [Secret(text, None if until is None else datetime.fromisoformat(until)) for text, until in rows]


def _derived(key: str) -> bytes:
    """The cipher's key for a text of any length. The settings refuse a text that is too short to resist guessing."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"milepost secrets").derive(key.encode())


def _name(key: bytes) -> bytes:
    return hashlib.sha256(b"name of " + key).digest()[:_NAME_BYTES]
