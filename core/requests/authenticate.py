"""The act authenticate."""

from __future__ import annotations

import hashlib

from sqlalchemy.orm import Session

from core.requests.values import Caller
from core.store.api_keys import find_key
from core.store.tenants import Tenant


def authenticate(session: Session, secret: str) -> Caller | None:
    """Who a key stands for; None if no live key is this one."""
    found = find_key(session, key_hash(secret))
    if found is None:
        return None
    key, time_zone = found
    return Caller(Tenant(key.tenant, time_zone), key.key_id, frozenset(key.scopes))


def key_hash(secret: str) -> bytes:
    """What is kept of a key. Keys are long and random, so one round of SHA-256 is enough and a look-up stays cheap."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
