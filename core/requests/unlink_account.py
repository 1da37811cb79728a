"""The act unlink_account."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from core.errors import NotFound
from core.events.calendar import local_day
from core.pipeline.end_links import end_open_link
from core.requests.goal_access import Versions, hold_goal_and_accounts, moment_for, refuse_final, refuse_links
from core.requests.settle import settle_goal
from core.store.tenants import Tenant


def unlink_account(
    session: Session, tenant: Tenant, goal_id: str, account_id: str, now: datetime, *, seen: Versions | None = None
) -> None:
    """End an account's link; what it counted stays.

    Raises NotFound for the goal or the link, GoalMoved and GoalIsFinal.
    """
    goal, sources, _ = hold_goal_and_accounts(session, tenant, goal_id, seen=seen)
    at = moment_for(goal, now)
    refuse_final(goal)
    refuse_links(goal)
    if end_open_link(session, goal, sources, account_id, at) is None:
        raise NotFound("Account", account_id)
    goal.mark_from(local_day(at, tenant.zone))
    settle_goal(session, goal, at, cause="unlinked")
