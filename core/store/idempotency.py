"""Rows of idempotency keys: claimed before a request is carried out, filled with its answer, deleted after a day."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg.errors

from core.errors import KeyBusy
from core.store.driver import Session, Sql

KEPT = timedelta(hours=24)

# Status 0 means that there is no answer yet; no other transaction ever sees it.
_CLAIM = Sql(
    """INSERT INTO idempotency_keys AS k
        (tenant, idempotency_key, route, body_hash, status, location, body, created_at)
    VALUES (:tenant, :key, :route, :body_hash, 0, NULL, '', :now)
    ON CONFLICT (tenant, idempotency_key) DO UPDATE
        SET route = excluded.route, body_hash = excluded.body_hash, status = 0, location = NULL, body = '',
            created_at = excluded.created_at
        WHERE k.created_at <= :forgotten
    RETURNING k.idempotency_key"""
)
_READ = Sql(
    """SELECT route, body_hash, status, location, body FROM idempotency_keys
    WHERE tenant = :tenant AND idempotency_key = :key"""
)
_FILL = Sql(
    """UPDATE idempotency_keys SET status = :status, location = :location, body = :body
    WHERE tenant = :tenant AND idempotency_key = :key"""
)
_FORGET = Sql(
    """DELETE FROM idempotency_keys WHERE (tenant, idempotency_key) IN
        (SELECT tenant, idempotency_key FROM idempotency_keys WHERE created_at < :before
        ORDER BY created_at LIMIT :most FOR UPDATE SKIP LOCKED)
    RETURNING 1"""
)


@dataclass(frozen=True, slots=True)
class KeyedAnswer:
    """What is stored for a key: the request (its route and the hash of its body), and the answer that it got."""

    route: str
    body_hash: bytes
    status: int
    location: str | None
    body: bytes


def claim_key(
    session: Session, tenant: str, key: str, *, route: str, body_hash: bytes, now: datetime
) -> KeyedAnswer | None:
    """Claim a key for a request that is still to be carried out; None if the key was free, else what is stored for it.

    If another request with this key is in progress, the call waits for it. When that request is refused, the key is
    free; when it is committed, its answer is stored. Raises KeyBusy if the wait exceeds the lock timeout. Claim the
    key before any other lock is taken.
    """
    which = {"tenant": tenant, "key": key}
    request = which | {"route": route, "body_hash": body_hash, "now": now, "forgotten": now - KEPT}
    try:
        claimed = _CLAIM.first(session, request)
    except psycopg.errors.LockNotAvailable:
        raise KeyBusy from None
    # A key that was not claimed is locked now, too, so that it cannot be deleted before it is read.
    return None if claimed else KeyedAnswer(*_READ.one(session, which))


def fill_key(session: Session, tenant: str, key: str, *, status: int, location: str | None, body: bytes) -> None:
    """Store the answer for a claimed key, in the transaction of the request itself."""
    _FILL.run(session, {"tenant": tenant, "key": key, "status": status, "location": location, "body": body})


def forget_idempotency_keys(session: Session, before: datetime, most: int = 10_000) -> int:
    """Delete at most `most` keys of all tenants that were first used before `before`, and return how many.

    The retain job calls this until it deletes none. Keys whose request is in progress are left for the next call.
    """
    return len(_FORGET.rows(session, {"before": before, "most": most}))
