"""Sealing: secrets that must be had in clear again lie in the database under a key that is not in it.

AES-256-GCM, with the row that a secret belongs to as associated data: copied to another row it does not open. A sealed
secret is one byte for the form, four that name the key, twelve of nonce, and what the cipher gives.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import MilepostError

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
