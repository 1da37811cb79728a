"""The act add_milestone."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from core.goals.goal import DESCRIPTION_LONGEST, check_text
from core.goals.milestones import check_milestone, nearest
from core.goals.money import to_minor
from core.requests.goal_access import Versions, hold_goal, moment_for, refuse_final
from core.requests.settle import settle_goal
from core.requests.values import MilestoneDraft, MilestoneView, milestone_view
from core.store.milestones import MilestoneRow, insert_milestone, milestones_of_goals
from core.store.tenants import Tenant


def add_milestone(
    session: Session,
    tenant: Tenant,
    goal_id: str,
    draft: MilestoneDraft,
    now: datetime,
    *,
    seen: Versions | None = None,
) -> MilestoneView:
    """Add a milestone; one that the amount stands at or past already is marked at once.

    Raises NotFound, GoalMoved, GoalIsFinal, and InvalidField for an amount beyond the goal's span or one that is there.
    """
    goal = hold_goal(session, tenant, goal_id, seen)
    refuse_final(goal)
    amount = to_minor(draft.amount, goal.currency, "amount")
    check_milestone(goal.type, goal.span, goal.target_minor, amount)
    at = moment_for(goal, now)
    description = None
    if draft.description is not None:
        description = check_text(
            "description", draft.description, longest=DESCRIPTION_LONGEST, blank_allowed=True, lines_allowed=True
        )
    row = MilestoneRow(goal.tenant, goal.goal_id, amount, description, draft.target_date, None, None, at)
    insert_milestone(session, row)
    upcoming = {amount} if goal.next_milestone_minor is None else {amount, goal.next_milestone_minor}
    goal.next_milestone_minor = nearest(goal.direction, upcoming)
    # An earlier close may have stood past it.
    goal.mark_from(goal.start_date)
    settle_goal(session, goal, at, cause="events")
    milestones = milestones_of_goals(session, [goal.key])[goal.key]
    return next(milestone_view(goal, m) for m in milestones if m.amount_minor == amount)
