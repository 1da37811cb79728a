"""Requests with an idempotency key: call find_answer before carrying one out, and keep_answer afterwards."""

from dataclasses import dataclass
from datetime import datetime

from core.errors import KeyReused
from core.store.driver import Session
from core.store.idempotency import KeyedAnswer, claim_key, fill_key
from core.store.tenants import Tenant


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request with a key that its caller chose; `route` is the method and the resource, `body_hash` of its body."""

    key: str
    route: str
    body_hash: bytes


def find_answer(session: Session, tenant: Tenant, request: KeyedRequest, now: datetime) -> KeyedAnswer | None:
    """The answer that the request got before; None if it is still to be carried out, and then its key is claimed.

    Raises KeyReused if the key belongs to another request, and KeyBusy if the first request with it takes too long.
    """
    found = claim_key(session, tenant.name, request.key, route=request.route, body_hash=request.body_hash, now=now)
    if found is not None and (found.route, found.body_hash) != (request.route, request.body_hash):
        raise KeyReused
    return found


def keep_answer(
    session: Session, tenant: Tenant, request: KeyedRequest, *, status: int, location: str | None, body: bytes
) -> None:
    """Store the answer of a request in the request's own transaction, so that both are committed or neither is."""
    fill_key(session, tenant.name, request.key, status=status, location=location, body=body)
