"""Milestones: add, list and check them, and read how many of them are reached."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from sqlalchemy.orm import Session

from core.goals.goal import DESCRIPTION_LONGEST, check_text
from core.goals.money import to_minor
from core.goals.progress import check_milestone, in_order, milestones_percent, nearest
from core.ingestion.recompute import recompute_goal
from core.services.goal_access import Versions, find_goal, locked_goal, moment_for, refuse_final
from core.services.inputs import MilestoneDraft
from core.services.pages import Page, cut, number_after, shown_as
from core.services.views import MilestoneProgressView, MilestoneView, milestone_view
from core.store.goals import GoalRow, at_or_day
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
    """Add a milestone; if the goal's amount is at or beyond it already, it is marked as reached at once.

    Raises NotFound, GoalMoved, GoalIsFinal, and InvalidField for an amount outside the goal's span or one that the goal
    has a milestone at already.
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
    row = MilestoneRow(goal.tenant, goal.goal_id, amount, description, *at_or_day(draft.target_date), None, None, at)
    insert_milestone(session, row)
    upcoming = {amount} if goal.next_milestone_minor is None else {amount, goal.next_milestone_minor}
    goal.next_milestone_minor = nearest(goal.direction, upcoming)
    # The amount of an earlier day may have been beyond it.
    goal.mark_dirty_from(goal.start_date)
    recompute_goal(session, goal, at, cause="events")
    milestones = milestones_of_goals(session, [goal.key])[goal.key]
    return next(milestone_view(goal, m) for m in milestones if m.amount_minor == amount)


def check_milestones(
    session: Session, tenant: Tenant, goal_id: str, now: datetime, *, seen: Versions | None = None
) -> tuple[str, tuple[MilestoneView, ...]]:
    """The goal's currency, and the milestones reached since the last check, in the order in which a goal reaches them.

    Each milestone is returned only once, also to callers that ask at the same time, and whatever the goal's status.
    Milestones are marked as reached when that happens, not here: neither the goal nor its ledger changes. Raises
    NotFound and GoalMoved.
    """
    goal = locked_goal(session, tenant, goal_id, seen)
    reached = {milestone.amount_minor: milestone for milestone in check_reached(session, goal.key, now)}
    amounts = in_order(goal.direction, reached)
    return goal.currency, tuple(milestone_view(goal, reached[amount]) for amount in amounts)


def milestone_progress(session: Session, tenant: Tenant, goal_id: str) -> MilestoneProgressView:
    """How many milestones are reached, and which comes next; raises NotFound."""
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
        next_milestone=_next(row, unreached),
    )


def next_milestone(session: Session, tenant: Tenant, goal_id: str) -> tuple[str, MilestoneView | None]:
    """The goal's currency, and the next milestone, None if all are reached; raises NotFound."""
    row = find_goal(session, tenant, goal_id)
    milestones = milestones_of_goals(session, [row.key])[row.key]
    return row.currency, _next(row, [milestone for milestone in milestones if milestone.reached_at is None])


def list_milestones(
    session: Session, tenant: Tenant, goal_id: str, *, limit: int, cursor: str | None
) -> tuple[str, Page[MilestoneView]]:
    """The goal's currency, and a page of its milestones by amount; raises NotFound and InvalidField."""
    row = find_goal(session, tenant, goal_id)
    rows = milestones_of_goal(session, row.key, above_minor=number_after(cursor), limit=limit + 1)
    page = cut(rows, limit, lambda each: each.amount_minor)
    return row.currency, shown_as(page, partial(milestone_view, row))


def _next(goal: GoalRow, unreached: Sequence[MilestoneRow]) -> MilestoneView | None:
    by_amount = {milestone.amount_minor: milestone for milestone in unreached}
    upcoming = nearest(goal.direction, by_amount)
    return None if upcoming is None else milestone_view(goal, by_amount[upcoming])
