"""Milestones: added, listed, checked, and how many of them are reached."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from sqlalchemy.orm import Session

from core.goals.goal import DESCRIPTION_LONGEST, check_text
from core.goals.money import to_minor
from core.goals.progress import check_milestone, in_order, milestones_percent, nearest
from core.ingestion.recompute import recompute_goal
from core.services.goal_access import Versions, find_goal, locked_goal, moment_for, refuse_final
from core.services.goals import _first
from core.services.inputs import MilestoneDraft
from core.services.pages import Page, cut, number_after, shown_as
from core.services.views import (
    MilestoneProgressView,
    MilestoneView,
    milestone_view,
)
from core.store.milestones import MilestoneRow, check_reached, insert_milestone, milestones_of_goal, milestones_of_goals
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
    goal = locked_goal(session, tenant, goal_id, seen)
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
    goal.mark_dirty_from(goal.start_date)
    recompute_goal(session, goal, at, cause="events")
    milestones = milestones_of_goals(session, [goal.key])[goal.key]
    return next(milestone_view(goal, m) for m in milestones if m.amount_minor == amount)


def check_milestones(
    session: Session, tenant: Tenant, goal_id: str, now: datetime, *, seen: Versions | None = None
) -> tuple[str, tuple[MilestoneView, ...]]:
    """The goal's currency, and the milestones reached since the last check, in the order in which they are passed.

    Each is given once, also to callers that ask at the same time, and whatever the goal's status. Milestones are
    marked when they are reached, not here: neither the goal nor its ledger changes. Raises NotFound and GoalMoved.
    """
    goal = locked_goal(session, tenant, goal_id, seen)
    reached = {milestone.amount_minor: milestone for milestone in check_reached(session, goal.key, now)}
    passed = in_order(goal.direction, reached)
    return goal.currency, tuple(milestone_view(goal, reached[amount]) for amount in passed)


def milestone_progress(session: Session, tenant: Tenant, goal_id: str) -> MilestoneProgressView:
    """How many milestones are reached, and the next on the way; raises NotFound."""
    row = find_goal(session, tenant, goal_id)
    milestones = milestones_of_goals(session, [row.key])[row.key]
    unreached = [milestone for milestone in milestones if milestone.reached_at is None]
    reached = len(milestones) - len(unreached)
    return MilestoneProgressView(
        goal_id=row.goal_id,
        currency=row.currency,
        total_milestones=len(milestones),
        reached_count=reached,
        remaining_count=len(unreached),
        percent_complete=milestones_percent(reached, len(milestones)),
        next_milestone=_first(row, unreached),
    )


def next_milestone(session: Session, tenant: Tenant, goal_id: str) -> tuple[str, MilestoneView | None]:
    """The goal's currency, and the next milestone on the way, if one is left; raises NotFound."""
    row = find_goal(session, tenant, goal_id)
    milestones = milestones_of_goals(session, [row.key])[row.key]
    return row.currency, _first(row, [milestone for milestone in milestones if milestone.reached_at is None])


def list_milestones(
    session: Session, tenant: Tenant, goal_id: str, *, limit: int, cursor: str | None
) -> tuple[str, Page[MilestoneView]]:
    """The goal's currency, and a page of its milestones by amount; raises NotFound and InvalidField."""
    row = find_goal(session, tenant, goal_id)
    rows = milestones_of_goal(session, row.key, above_minor=number_after(cursor), limit=limit + 1)
    page = cut(rows, limit, lambda each: each.amount_minor)
    return row.currency, shown_as(page, partial(milestone_view, row))
