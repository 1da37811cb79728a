"""The acts around a request with an idempotency key: find_answer before it acts, keep_answer after."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from core.errors import KeyReused
from core.store.idempotency import KeyedAnswer, add_filled_key, claim_key, fill_key
from core.store.tenants import Tenant


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request under a key of its caller's choice: what it asks of what (`route`), and a hash of its body."""

    key: str
    route: str
    body_hash: bytes


def find_answer(session: Session, tenant: Tenant, request: KeyedRequest, now: datetime) -> KeyedAnswer | None:
    """The answer that the request got before; None if it has yet to act, for which its key is now taken.

    Raises KeyReused if the key stands for another request, and KeyBusy if its first request takes too long.
    """
    found = claim_key(session, tenant.name, request.key, route=request.route, body_hash=request.body_hash, now=now)
    if found is not None and (found.route, found.body_hash) != (request.route, request.body_hash):
        raise KeyReused
    return found


def keep_answer(
    session: Session, tenant: Tenant, request: KeyedRequest, *, status: int, location: str | None, body: bytes
) -> None:
    """Keep the answer of a request that has acted, in its transaction: both are there, or neither is."""
    fill_key(session, tenant.name, request.key, status=status, location=location, body=body)


def keep_first_answer(
    session: Session,
    tenant: Tenant,
    request: KeyedRequest,
    now: datetime,
    *,
    status: int,
    location: str | None,
    body: bytes,
) -> None:
    """Keep the answer of a request whose key was made for it and was never sent before: nothing had to be found."""
    add_filled_key(
        session,
        tenant.name,
        request.key,
        route=request.route,
        body_hash=request.body_hash,
        status=status,
        location=location,
        body=body,
        now=now,
    )
