"""The act delete_goal."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from core.requests.goal_access import Versions, hold_goal_and_accounts
from core.store import goals as store
from core.store.audit import note_act
from core.store.tenants import Tenant


def delete_goal(session: Session, tenant: Tenant, goal_id: str, now: datetime, *, seen: Versions | None = None) -> None:
    """Delete a goal with its milestones, links and ledger, which frees what the links held.

    Raises NotFound and GoalMoved.
    """
    goal, _, _ = hold_goal_and_accounts(session, tenant, goal_id, with_ended=True, seen=seen)
    store.delete_goal(session, goal.key)
    note_act(session, tenant.name, action="goal.deleted", subject=goal.goal_id, at=now)
