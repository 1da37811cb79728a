"""API keys: create, list, revoke and look them up, and make the first one in a database that is brought up to date."""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum

from core.errors import Conflict, InvalidField, NotFound
from core.goals.goal import NAME_LONGEST, check_text
from core.services.inputs import Caller
from core.services.tenants import require_tenant
from core.store import tenants as store
from core.store.database import open_sessions
from core.store.driver import Session
from core.store.migrate import migrate
from core.store.tenants import DEFAULT, ApiKey, Tenant, add_tenant, find_any_key, find_key, lock_tenant, note_operation

# The label of the first key. When another first key is given, every key with this label is revoked.
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

    Only a key whose secret is given can be the first key and have its label. Raises NotFound, InvalidField, and
    Conflict for a secret that is in use.
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
    note_operation(session, tenant, action="key.created", subject=key.key_id, at=now, actor=actor, detail=scoped)
    return key, secret


def list_keys(session: Session, tenant: str) -> list[ApiKey]:
    """A tenant's keys, the oldest first, including revoked ones; raises NotFound if there is no such tenant."""
    require_tenant(session, tenant)
    return store.list_keys(session, tenant)


def revoke_key(session: Session, tenant: str, key_id: str, now: datetime, *, actor: str = "") -> None:
    """Revoke a key from now on; raises NotFound if no key of this id is in use."""
    require_tenant(session, tenant)
    if not store.revoke_key(session, tenant, key_id, now):
        raise NotFound("Key", key_id)
    note_operation(session, tenant, action="key.revoked", subject=key_id, at=now, actor=actor)


def authenticate(session: Session, secret: str) -> Caller | None:
    """The caller that a key belongs to; None if the key does not exist or is revoked."""
    found = find_key(session, key_hash(secret))
    if found is None:
        return None
    key, time_zone = found
    return Caller(Tenant(key.tenant, time_zone), key.key_id, frozenset(key.scopes))


def key_hash(secret: str) -> bytes:
    """What is stored of a key. Keys are long and random, so one round of SHA-256 is enough, and look-ups stay cheap."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


_SCOPES = ("admin",)


def bootstrap(session: Session, *, key: str | None, now: datetime, replaces_others: bool = True) -> None:
    """Make the tenant `default`, in UTC, and give it its first key. Running it again changes nothing.

    With `replaces_others` earlier first keys are revoked, so that giving another key rotates it. Raises Conflict for a
    key that would not work as the first key: one that is revoked, belongs to another tenant, or lacks a scope.
    """
    add_tenant(session, Tenant(DEFAULT, "UTC"), now)
    if key is None:
        return
    # If two processes start at once with the same new key, the second must see the key that the first made.
    lock_tenant(session, DEFAULT)
    present = find_any_key(session, key_hash(key))
    if present is None:
        present, _ = create_key(session, DEFAULT, _SCOPES, BOOTSTRAP_LABEL, now, secret=key)
    _require_usable(present)
    if replaces_others:
        _revoke_others(session, present, now)


def prepare_database(database_url: str, key: str | None, *, replaces_others: bool = True) -> None:
    """Bring the schema up to date, and make the first tenant and, if `key` is not None, its key, unless they exist.

    `replaces_others`: other first keys are revoked. Raises Conflict for a key that cannot be the first one.
    """
    migrate(database_url)
    with open_sessions(database_url, application_name="milepost migrate") as sessions, sessions.begin() as session:
        bootstrap(session, key=key, now=datetime.now(UTC), replaces_others=replaces_others)


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
