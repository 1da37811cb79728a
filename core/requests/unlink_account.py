"""The act unlink_account."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from core.errors import NotFound
from core.requests.end_link import end_open_link
from core.requests.goal_access import hold_goal_and_accounts, moment_for, refuse_final
from core.requests.settle import settle_goal
from core.store.tenants import Tenant


def unlink_account(session: Session, tenant: Tenant, goal_id: str, account_id: str, now: datetime) -> None:
    """End an account's link; what it counted stays. Raises NotFound for the goal or the link, and GoalIsFinal."""
    goal, sources, _ = hold_goal_and_accounts(session, tenant, goal_id)
    at = moment_for(goal, now)
    refuse_final(goal)
    if end_open_link(session, goal, sources, account_id, at) is None:
        raise NotFound("Account", account_id)
    settle_goal(session, goal, at, cause="unlinked")
