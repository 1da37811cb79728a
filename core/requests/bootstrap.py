"""The act bootstrap."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from core.errors import Conflict
from core.requests.authenticate import key_hash
from core.requests.keys import BOOTSTRAP_LABEL, create_key, list_keys, revoke_key
from core.store.api_keys import ApiKey, find_any_key
from core.store.tenants import DEFAULT, Tenant, add_tenant, lock_tenant

_SCOPES = ("admin",)


def bootstrap(session: Session, *, key: str | None, now: datetime, replaces_others: bool = True) -> None:
    """Make the tenant `default`, in UTC, and give it its first key. Running it again changes nothing.

    With `replaces_others` the first keys of before are revoked, so that giving another one rotates it. Raises
    Conflict for a key that is revoked, another tenant's, or may not do everything: it would not work as the first.
    """
    add_tenant(session, Tenant(DEFAULT, "UTC"), now)
    if key is None:
        return
    # Two starts at once with one new key: the second must see the key that the first made, and not revoke it.
    lock_tenant(session, DEFAULT)
    present = find_any_key(session, key_hash(key))
    if present is None:
        present, _ = create_key(session, DEFAULT, _SCOPES, BOOTSTRAP_LABEL, now, secret=key)
    _require_usable(present)
    if replaces_others:
        _revoke_others(session, present, now)


def _require_usable(key: ApiKey) -> None:
    if key.tenant != DEFAULT:
        trouble = f"it is a key of the tenant {key.tenant}"
    elif key.revoked_at is not None:
        trouble = f"it was revoked on {key.revoked_at:%Y-%m-%d}"
    elif not set(_SCOPES) <= set(key.scopes):
        trouble = f"it is the key {key.key_id}, which may only do {' '.join(key.scopes)}"
    else:
        return
    raise Conflict(f"the bootstrap key cannot be used: {trouble}; set MILEPOST_BOOTSTRAP_KEY to a new one")


def _revoke_others(session: Session, kept: ApiKey, now: datetime) -> None:
    for other in list_keys(session, DEFAULT):
        if other.label == BOOTSTRAP_LABEL and other.revoked_at is None and other.key_id != kept.key_id:
            revoke_key(session, DEFAULT, other.key_id, now)
