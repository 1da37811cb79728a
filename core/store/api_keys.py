"""Rows of API keys, of which only hashes are kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as kept; the secret itself is shown once, when it is made."""

    tenant: str
    key_id: str
    label: str
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None


_COLUMNS = "tenant, key_id, label, scopes, created_at, revoked_at"
_ADD = text(
    """INSERT INTO api_keys (tenant, key_id, key_hash, label, scopes, created_at)
    VALUES (:tenant, :key_id, :key_hash, :label, :scopes, :created_at)
    ON CONFLICT DO NOTHING RETURNING key_id"""
)
_FIND = text(
    f"""SELECT {", ".join(f"k.{c}" for c in _COLUMNS.split(", "))}, t.time_zone
    FROM api_keys k JOIN tenants t USING (tenant)
    WHERE k.key_hash = :key_hash AND k.revoked_at IS NULL"""
)
_FIND_ANY = text(f"SELECT {_COLUMNS} FROM api_keys WHERE key_hash = :key_hash")
_LIST = text(f"SELECT {_COLUMNS} FROM api_keys WHERE tenant = :tenant ORDER BY created_at, key_id")
_REVOKE = text(
    """UPDATE api_keys SET revoked_at = :now
    WHERE tenant = :tenant AND key_id = :key_id AND revoked_at IS NULL RETURNING key_id"""
)


def add_key(session: Session, key: ApiKey, key_hash: bytes) -> bool:
    """Keep a new key; False if one of this hash or id is there already."""
    parameters = {
        "tenant": key.tenant,
        "key_id": key.key_id,
        "key_hash": key_hash,
        "label": key.label,
        "scopes": list(key.scopes),
        "created_at": key.created_at,
    }
    return session.execute(_ADD, parameters).first() is not None


def find_key(session: Session, key_hash: bytes) -> tuple[ApiKey, str] | None:
    """The live key of this hash with its tenant's time zone."""
    row = session.execute(_FIND, {"key_hash": key_hash}).first()
    return None if row is None else (_key(row), row[6])


def find_any_key(session: Session, key_hash: bytes) -> ApiKey | None:
    """The key of this hash, whosever it is and revoked or not."""
    row = session.execute(_FIND_ANY, {"key_hash": key_hash}).first()
    return None if row is None else _key(row)


def list_keys(session: Session, tenant: str) -> list[ApiKey]:
    """A tenant's keys, oldest first, revoked ones too."""
    return [_key(row) for row in session.execute(_LIST, {"tenant": tenant})]


def revoke_key(session: Session, tenant: str, key_id: str, now: datetime) -> bool:
    """Revoke a live key; False if there is none of this id."""
    return session.execute(_REVOKE, {"tenant": tenant, "key_id": key_id, "now": now}).first() is not None


def _key(row: Any) -> ApiKey:
    return ApiKey(row[0], row[1], row[2], tuple(row[3]), row[4], row[5])
