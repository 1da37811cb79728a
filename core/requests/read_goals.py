"""The reading acts: goals, their progress, milestones and funding."""

from __future__ import annotations

import base64
import binascii

from sqlalchemy.orm import Session

from core.errors import InvalidField
from core.goals.goal import GoalType
from core.goals.lifecycle import GoalStatus
from core.goals.milestones import nearest
from core.goals.progress import milestones_percent, percent_complete
from core.requests.check_id import is_id
from core.requests.goal_access import find_goal
from core.requests.values import (
    FundingView,
    GoalView,
    MilestoneProgressView,
    Page,
    ProgressView,
    funding_views,
    goal_view,
    milestone_view,
)
from core.store import goals as store
from core.store.links import funding_of_goals
from core.store.milestones import milestones_of_goals
from core.store.tenants import Tenant

NO_PROJECTION = "no projection yet: this version keeps no daily closes to project from"


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
) -> Page:
    """A page of at most `limit` goals in order of creation; raises InvalidField for a cursor that is none of ours."""
    after = None if cursor is None else _read_cursor(cursor)
    if user_id is not None and not is_id(user_id):
        return Page((), None)
    rows = store.list_goals(
        session, tenant.name, user_id=user_id, type=type, status=status, limit=limit + 1, after=after
    )
    shown = rows[:limit]
    milestones = milestones_of_goals(session, (row.key for row in shown))
    more = _cursor(shown[-1].goal_id) if len(rows) > limit else None
    return Page(tuple(goal_view(row, milestones[row.key]) for row in shown), more)


def goal_progress(session: Session, tenant: Tenant, goal_id: str) -> ProgressView:
    """How far a goal is; raises NotFound."""
    row = find_goal(session, tenant, goal_id)
    return ProgressView(
        goal_id=row.goal_id,
        currency=row.currency,
        amount_minor=row.amount_minor,
        target_minor=row.target_minor,
        percent_complete=percent_complete(row.type, row.span, row.target_minor, row.amount_minor),
        status=row.status,
        deadline=row.deadline,
        projected_completion_date=None,
        projection_note=NO_PROJECTION,
        waiting_for=tuple(row.waiting_for),
    )


def milestone_progress(session: Session, tenant: Tenant, goal_id: str) -> MilestoneProgressView:
    """How many milestones are reached, and the next on the way; raises NotFound."""
    row = find_goal(session, tenant, goal_id)
    milestones = milestones_of_goals(session, [row.key])[row.key]
    unreached = {m.amount_minor: m for m in milestones if m.reached_at is None}
    upcoming = nearest(row.direction, unreached)
    reached = len(milestones) - len(unreached)
    return MilestoneProgressView(
        goal_id=row.goal_id,
        currency=row.currency,
        total_milestones=len(milestones),
        reached_count=reached,
        remaining_count=len(unreached),
        percent_complete=milestones_percent(reached, len(milestones)),
        next_milestone=None if upcoming is None else milestone_view(unreached[upcoming]),
    )


def list_funding(session: Session, tenant: Tenant, goal_id: str) -> tuple[FundingView, ...]:
    """A goal's linked accounts in the order in which their links were made; raises NotFound."""
    row = find_goal(session, tenant, goal_id)
    return funding_views(row, funding_of_goals(session, [row.key])[row.key])


def _cursor(goal_id: str) -> str:
    return base64.urlsafe_b64encode(f"g:{goal_id}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> str:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    if not text.startswith("g:goal_") or not text.isprintable():
        raise InvalidField("cursor", "is not one that a Link header gave")
    return text[2:]
