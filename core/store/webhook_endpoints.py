"""Rows of webhook endpoints: the addresses that providers post to, each with its sealed secrets."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.store.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address; its id cannot be guessed, since a provider sends nothing else that names the tenant."""

    tenant: str
    endpoint_id: str
    provider: str
    label: str
    sealed_secrets: bytes = field(repr=False)
    secrets: int
    created_at: datetime
    changed_at: datetime

    @property
    def row(self) -> str:
        """What its secrets are sealed for."""
        return f"{self.tenant}/{self.endpoint_id}"


_COLUMNS = "tenant, endpoint_id, provider, label, sealed_secrets, secrets, created_at, changed_at"
_ALL = ", ".join(f"e.{column}" for column in _COLUMNS.split(", "))
_ADD = text(
    f"""INSERT INTO webhook_endpoints ({_COLUMNS})
    VALUES (:tenant, :endpoint_id, :provider, :label, :sealed_secrets, :secrets, :created_at, :changed_at)"""
)
_LIST = text(f"SELECT {_COLUMNS} FROM webhook_endpoints WHERE tenant = :tenant ORDER BY created_at, endpoint_id")
_LOCK = text(
    f"SELECT {_COLUMNS} FROM webhook_endpoints WHERE tenant = :tenant AND endpoint_id = :endpoint_id FOR UPDATE"
)
_CHANGE = text(
    """UPDATE webhook_endpoints SET sealed_secrets = :sealed_secrets, secrets = :secrets, changed_at = :changed_at
    WHERE tenant = :tenant AND endpoint_id = :endpoint_id"""
)
_REMOVE = text(
    """DELETE FROM webhook_endpoints WHERE tenant = :tenant AND endpoint_id = :endpoint_id RETURNING provider"""
)
_FIND = text(
    f"""SELECT {_ALL}, t.time_zone FROM webhook_endpoints e JOIN tenants t USING (tenant)
    WHERE e.endpoint_id = :endpoint_id AND e.provider = :provider"""
)
_FIND_OF_TENANT = text(
    f"""SELECT {_ALL}, t.time_zone FROM webhook_endpoints e JOIN tenants t USING (tenant)
    WHERE e.tenant = :tenant AND e.provider = :provider ORDER BY e.created_at, e.endpoint_id"""
)
_FIND_SOLE = text(
    f"""SELECT {_ALL}, t.time_zone FROM webhook_endpoints e JOIN tenants t USING (tenant)
    WHERE e.provider = :provider LIMIT 2"""
)


def add_endpoint(session: Session, endpoint: Endpoint) -> None:
    """Add an address."""
    session.execute(_ADD, _values(endpoint))


def list_endpoints(session: Session, tenant: str) -> list[Endpoint]:
    """A tenant's addresses, the oldest first."""
    return [Endpoint(*row) for row in session.execute(_LIST, {"tenant": tenant})]


def lock_endpoint(session: Session, tenant: str, endpoint_id: str) -> Endpoint | None:
    """One address, locked so that two changes of its secrets come one after the other."""
    row = session.execute(_LOCK, {"tenant": tenant, "endpoint_id": endpoint_id}).first()
    return None if row is None else Endpoint(*row)


def change_secrets(session: Session, endpoint: Endpoint) -> None:
    """Write the secrets of a locked address."""
    session.execute(_CHANGE, _values(endpoint))


def remove_endpoint(session: Session, tenant: str, endpoint_id: str) -> str | None:
    """Drop an address; its provider, None if there is none of this id."""
    found: str | None = session.execute(_REMOVE, {"tenant": tenant, "endpoint_id": endpoint_id}).scalar()
    return found


def find_endpoint(session: Session, provider: str, endpoint_id: str) -> list[tuple[Endpoint, Tenant]]:
    """The address of this id with its tenant, if it is there and this provider's."""
    return _found(session.execute(_FIND, {"provider": provider, "endpoint_id": endpoint_id}))


def endpoints_of(session: Session, provider: str, tenant: str) -> list[tuple[Endpoint, Tenant]]:
    """A tenant's addresses for a provider."""
    return _found(session.execute(_FIND_OF_TENANT, {"provider": provider, "tenant": tenant}))


def sole_endpoint(session: Session, provider: str) -> list[tuple[Endpoint, Tenant]]:
    """The address of a provider if there is exactly one in the whole system."""
    found = _found(session.execute(_FIND_SOLE, {"provider": provider}))
    return found if len(found) == 1 else []


def _found(rows: Any) -> list[tuple[Endpoint, Tenant]]:
    return [(Endpoint(*row[:8]), Tenant(row[0], row[8])) for row in rows]


def _values(endpoint: Endpoint) -> dict[str, object]:
    return {column: getattr(endpoint, column) for column in _COLUMNS.split(", ")}
