"""The act check_milestones."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from core.goals.milestones import in_order
from core.requests.goal_access import Versions, hold_goal
from core.requests.values import MilestoneView, milestone_view
from core.store.milestones import check_reached
from core.store.tenants import Tenant


def check_milestones(
    session: Session, tenant: Tenant, goal_id: str, now: datetime, *, seen: Versions | None = None
) -> tuple[str, tuple[MilestoneView, ...]]:
    """The goal's currency, and the milestones reached since the last check, in the order in which they are passed.

    Each is given once, also to callers that ask at the same time, and whatever the goal's status. Milestones are
    marked when they are reached, not here: neither the goal nor its ledger changes. Raises NotFound and GoalMoved.
    """
    goal = hold_goal(session, tenant, goal_id, seen)
    reached = {milestone.amount_minor: milestone for milestone in check_reached(session, goal.key, now)}
    passed = in_order(goal.direction, reached)
    return goal.currency, tuple(milestone_view(goal, reached[amount]) for amount in passed)
