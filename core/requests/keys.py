"""The acts on API keys: create_key, list_keys, revoke_key."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from sqlalchemy.orm import Session

from core.errors import Conflict, InvalidField, NotFound
from core.goals.goal import NAME_LONGEST, check_text
from core.requests.authenticate import key_hash
from core.requests.tenants import require_tenant
from core.store import api_keys as store
from core.store.api_keys import ApiKey
from core.store.audit import note_act

# The first key's: whoever gives another first key revokes every key of this label.
BOOTSTRAP_LABEL = "bootstrap"


class Scope(StrEnum):
    """What a key may do; `admin` includes the others."""

    GOALS_READ = "goals:read"
    GOALS_WRITE = "goals:write"
    EVENTS_READ = "events:read"
    EVENTS_WRITE = "events:write"
    ADMIN = "admin"


def create_key(
    session: Session,
    tenant: str,
    scopes: Iterable[str],
    label: str,
    now: datetime,
    *,
    secret: str | None = None,
    actor: str = "",
) -> tuple[ApiKey, str]:
    """Make a key and return it with its secret, which cannot be read again.

    Only a key whose secret is given can be the first one, and have its label. Raises NotFound and InvalidField.
    """
    wanted = tuple(sorted(set(scopes)))
    unknown = set(wanted).difference(Scope)
    if unknown or not wanted:
        raise InvalidField("scopes", f"must be some of {', '.join(Scope)}")
    named = check_text("label", label, longest=NAME_LONGEST)
    if named == BOOTSTRAP_LABEL and secret is None:
        raise InvalidField("label", f"{BOOTSTRAP_LABEL} is the first key's, which MILEPOST_BOOTSTRAP_KEY sets")
    require_tenant(session, tenant)
    key = ApiKey(tenant, secrets.token_hex(6), named, wanted, now, None)
    secret = secret or f"mp_{key.key_id}_{secrets.token_urlsafe(32)}"
    if not store.add_key(session, key, key_hash(secret)):
        raise Conflict("there is such a key already")
    scoped = " ".join(wanted)
    note_act(session, tenant, action="key.created", subject=key.key_id, at=now, actor=actor, detail=scoped)
    return key, secret


def list_keys(session: Session, tenant: str) -> list[ApiKey]:
    """A tenant's keys, oldest first, revoked ones too; raises NotFound if there is no such tenant."""
    require_tenant(session, tenant)
    return store.list_keys(session, tenant)


def revoke_key(session: Session, tenant: str, key_id: str, now: datetime, *, actor: str = "") -> None:
    """Revoke a key from this moment on; raises NotFound if there is no live one of this id."""
    require_tenant(session, tenant)
    if not store.revoke_key(session, tenant, key_id, now):
        raise NotFound("Key", key_id)
    note_act(session, tenant, action="key.revoked", subject=key_id, at=now, actor=actor)
