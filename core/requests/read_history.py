"""The act read_history."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from core.requests.check_moment import check_past
from core.requests.goal_access import find_goal
from core.requests.pages import Page, cut, number_after
from core.store.ledger import Entry, entries_of_goal
from core.store.tenants import Tenant


def read_history(
    session: Session,
    tenant: Tenant,
    goal_id: str,
    *,
    limit: int,
    cursor: str | None,
    now: datetime,
    as_known_at: datetime | None = None,
) -> tuple[str, Page[Entry]]:
    """The goal's currency, and a page of its ledger, newest first; raises NotFound and InvalidField.

    With `as_known_at` the ledger as it was at that moment, the amount then being that of its first line.
    """
    goal = find_goal(session, tenant, goal_id)
    check_past("as_known_at", as_known_at, now)
    below = number_after(cursor)
    entries = entries_of_goal(session, goal.key, below=below, limit=limit + 1, at=as_known_at)
    return goal.currency, cut(entries, limit, lambda entry: entry.entry)
