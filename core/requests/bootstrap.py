"""The act bootstrap."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from core.requests.keys import create_key
from core.store.tenants import DEFAULT, Tenant, add_tenant


def bootstrap(session: Session, *, key: str | None, now: datetime) -> None:
    """Make the tenant `default`, in UTC, and give it its first key. Running it again changes nothing."""
    add_tenant(session, Tenant(DEFAULT, "UTC"), now)
    if key is not None:
        create_key(session, DEFAULT, ["admin"], "bootstrap", now, secret=key)
