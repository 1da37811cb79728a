"""Rows of tenants: one integrating application each, with one time zone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.store.direct import Direct

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant and its IANA time zone."""

    name: str
    time_zone: str

    @property
    def zone(self) -> ZoneInfo:
        """The time zone that its days are told in."""
        return ZoneInfo(self.time_zone)


@dataclass(frozen=True, slots=True)
class ListedTenant:
    """A tenant as an operator sees it; `keys` counts those that are not revoked."""

    name: str
    time_zone: str
    created_at: datetime
    closed_through: date | None
    keys: int


_LIST = text(
    """SELECT t.tenant, t.time_zone, t.created_at, t.closed_through, count(k.key_id)
    FROM tenants t LEFT JOIN api_keys k ON k.tenant = t.tenant AND k.revoked_at IS NULL
    GROUP BY t.tenant ORDER BY t.tenant"""
)
_READ = Direct("SELECT tenant, time_zone FROM tenants WHERE tenant = ANY(CAST(:names AS text[]))")
_LOCK = text("SELECT 1 FROM tenants WHERE tenant = :name FOR UPDATE")
_ADD = text(
    """INSERT INTO tenants (tenant, time_zone, created_at) VALUES (:name, :time_zone, :now)
    ON CONFLICT (tenant) DO NOTHING RETURNING tenant"""
)


def lock_tenant(session: Session, name: str) -> None:
    """Let acts on one tenant's keys, or on its webhook endpoints, come one after the other."""
    session.execute(_LOCK, {"name": name})


def read_tenants(session: Session, names: Iterable[str]) -> dict[str, Tenant]:
    """Tenants by name; one that does not exist is left out."""
    rows = _READ.rows(session, {"names": sorted(set(names))})
    return {row[0]: Tenant(*row) for row in rows}


def list_tenants(session: Session) -> list[ListedTenant]:
    """All tenants by name."""
    return [ListedTenant(*row) for row in session.execute(_LIST)]


def add_tenant(session: Session, tenant: Tenant, now: datetime) -> bool:
    """Add a tenant; False if there is one of this name."""
    parameters = {"name": tenant.name, "time_zone": tenant.time_zone, "now": now}
    return session.execute(_ADD, parameters).first() is not None
