"""The reading acts: goals, their progress, milestones and funding."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from sqlalchemy.orm import Session

from core.goals.goal import GoalType
from core.goals.lifecycle import GoalStatus
from core.goals.milestones import nearest
from core.goals.progress import milestones_percent, percent_complete
from core.requests.check_id import is_id
from core.requests.goal_access import find_goal
from core.requests.outlook import amount_as_of, outlook_of
from core.requests.pages import PAGE_LARGEST, Page, cut, id_after, moment_and_id_after, number_after, shown_as
from core.requests.values import (
    FundingView,
    GoalView,
    MilestoneProgressView,
    MilestoneView,
    ProgressView,
    funding_views,
    goal_view,
    milestone_view,
)
from core.store import goals as store
from core.store.goals import GoalRow
from core.store.links import funding_of_goals
from core.store.milestones import MilestoneRow, milestones_of_goal, milestones_of_goals
from core.store.tenants import Tenant


def get_goal(session: Session, tenant: Tenant, goal_id: str) -> GoalView:
    """One goal with its milestones; raises NotFound."""
    row = find_goal(session, tenant, goal_id)
    return goal_view(row, milestones_of_goals(session, [row.key])[row.key])


def list_goals(
    session: Session,
    tenant: Tenant,
    *,
    user_id: str | None,
    type: GoalType | None,
    status: GoalStatus | None,
    limit: int,
    cursor: str | None,
) -> Page[GoalView]:
    """A page of at most `limit` goals in order of creation; raises InvalidField for a cursor that is none of ours."""
    after = id_after(cursor)
    if user_id is not None and not is_id(user_id):
        return Page((), None)
    rows = store.list_goals(
        session, tenant.name, user_id=user_id, type=type, status=status, limit=limit + 1, after=after
    )
    page = cut(rows, limit, lambda row: row.goal_id)
    milestones = milestones_of_goals(session, (row.key for row in page.items))
    return shown_as(page, lambda row: goal_view(row, milestones[row.key]))


def goal_progress(session: Session, tenant: Tenant, goal_id: str, now: datetime) -> ProgressView:
    """How far a goal is, and when it will be reached at the pace of its last thirty closes; raises NotFound."""
    row = find_goal(session, tenant, goal_id)
    outlook = outlook_of(session, tenant, row, now)
    return ProgressView(
        goal_id=row.goal_id,
        currency=row.currency,
        amount_minor=row.amount_minor,
        target_minor=row.target_minor,
        percent_complete=percent_complete(row.type, row.span, row.target_minor, row.amount_minor),
        status=row.status,
        deadline=row.deadline,
        projected_completion_date=outlook.pace.projected_at,
        projection_note=outlook.pace.note,
        waiting_for=tuple(row.waiting_for),
        monthly_actual_minor=outlook.pace.monthly_minor,
        monthly_target_minor=outlook.monthly_target_minor,
        is_on_track=outlook.is_on_track,
        calculated_at=now,
        as_of=amount_as_of(session, row),
    )


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


def list_funding(
    session: Session, tenant: Tenant, goal_id: str, *, limit: int = PAGE_LARGEST, cursor: str | None = None
) -> Page[FundingView]:
    """A page of a goal's linked accounts, in the order of linking; raises NotFound and InvalidField."""
    row = find_goal(session, tenant, goal_id)
    after = moment_and_id_after(cursor)
    views = funding_views(row, funding_of_goals(session, [row.key])[row.key])
    coming = [view for view in views if after is None or (view.linked_at, view.account_id) > after]
    return cut(coming, limit, lambda view: f"{view.linked_at.isoformat()} {view.account_id}")


def _first(goal: GoalRow, unreached: Sequence[MilestoneRow]) -> MilestoneView | None:
    by_amount = {milestone.amount_minor: milestone for milestone in unreached}
    upcoming = nearest(goal.direction, by_amount)
    return None if upcoming is None else milestone_view(goal, by_amount[upcoming])
