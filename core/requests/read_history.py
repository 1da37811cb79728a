"""The act read_history."""

from __future__ import annotations

from sqlalchemy.orm import Session

from core.requests.goal_access import find_goal
from core.requests.pages import Page, cut, number_after
from core.store.ledger import Entry, entries_of_goal
from core.store.tenants import Tenant


def read_history(
    session: Session, tenant: Tenant, goal_id: str, *, limit: int, cursor: str | None
) -> tuple[str, Page[Entry]]:
    """The goal's currency, and a page of its ledger, newest first; raises NotFound and InvalidField."""
    goal = find_goal(session, tenant, goal_id)
    entries = entries_of_goal(session, goal.key, below=number_after(cursor), limit=limit + 1)
    return goal.currency, cut(entries, limit, lambda entry: entry.entry)
