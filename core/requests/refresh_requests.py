"""The acts on refresh requests: record_refreshes, ask_for_key, list_open, mark_done.

A webhook that is only a pointer says that something is to be pulled. Milepost has no access to the provider, so it is
recorded for the integrator, once however often it is said. Each saying is counted: who pulled says which count it saw
before, so that a pointer that came since keeps the request open, whatever the clocks of the two show.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy.orm import Session

from core.errors import InvalidField, NotFound
from core.events.providers import Refresh
from core.requests.check_id import is_id
from core.requests.pages import Page, cut, moment_and_id_after
from core.store import refresh_requests as store
from core.store.refresh_requests import OpenPlace, RefreshRow

VERIFICATION_KEY = "verification_key"
# Anyone who knows an address can name keys that do not exist.
KEYS_ASKED_MOST = 20


def record_refreshes(session: Session, tenant: str, provider: str, refreshes: Iterable[Refresh], now: datetime) -> int:
    """Record what a delivery points to, how many things that are; one that is open already is asked for once more."""
    rows = {row.request_id: row for each in refreshes for row in [_row(tenant, provider, each, now)]}
    # In one order, so that two deliveries with the same pointers wait for each other and never for good.
    for request_id in sorted(rows):
        store.ask_refresh(session, rows[request_id])
    return len(rows)


def ask_for_key(session: Session, tenant: str, provider: str, key_id: str, now: datetime) -> None:
    """Ask the integrator for a verification key that a delivery named and that is not known; once for each key."""
    asked = Refresh(key_id, VERIFICATION_KEY, "unknown_key")
    store.ask_refresh_once(session, _row(tenant, provider, asked, now), most=KEYS_ASKED_MOST)


def list_open(
    session: Session, tenant: str, *, provider: str | None, kind: str | None, limit: int, cursor: str | None
) -> Page[RefreshRow]:
    """A page of a tenant's open requests, those that wait longest first; raises InvalidField."""
    position = moment_and_id_after(cursor)
    if not all(is_id(each) for each in (provider, kind) if each is not None):
        return Page((), None)
    after = None if position is None else OpenPlace(*position)
    rows = store.list_open(session, tenant, provider=provider, kind=kind, after=after, limit=limit + 1)
    return cut(rows, limit, lambda row: f"{row.opened_at.isoformat()} {row.request_id}")


def mark_done(session: Session, tenant: str, request_id: str, count: int, now: datetime) -> RefreshRow:
    """Note that a request was seen to, as it was when its `count` was read; the request as it is then.

    It stays open if it was asked for since. Saying it twice changes nothing. Raises NotFound and InvalidField.
    """
    row = store.lock_refresh(session, tenant, request_id) if is_id(request_id) else None
    if row is None:
        raise NotFound("Refresh request", request_id)
    if not 1 <= count <= row.count:
        raise InvalidField("count", f"must be 1 to {row.count}, the count that was read before the pull")
    store.mark_refreshed(session, row, count, now)
    found = store.lock_refresh(session, tenant, request_id)
    assert found is not None, "it is locked"
    return found


def _row(tenant: str, provider: str, refresh: Refresh, now: datetime) -> RefreshRow:
    named = "\x00".join((provider, refresh.kind, refresh.subject))
    request_id = f"refresh_{hashlib.sha256(named.encode()).hexdigest()[:32]}"
    return RefreshRow(
        tenant, request_id, provider, refresh.subject, refresh.kind, refresh.reason, now, now, count=1, done_count=0
    )
