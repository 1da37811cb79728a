"""Milestones: add, change, delete, list and check them, and read how many of them are reached."""

from datetime import datetime
from functools import partial

from core.errors import NotFound, TooManyMilestones
from core.goals.goal import DESCRIPTION_LONGEST, check_text, direction
from core.goals.money import to_minor
from core.goals.progress import check_milestone, in_order, milestones_percent, nearest
from core.ingestion.messages import milestone_withdrawn
from core.ingestion.recompute import recompute_goal
from core.services.goal_access import Versions, find_goal, locked_goal, moment_for, refuse_final
from core.services.inputs import UNSET, MilestoneChanges, MilestoneDraft, is_id, new_id
from core.services.pages import Page, cut, number_after, shown_as
from core.services.views import GoalView, MilestoneProgressView, MilestoneView, milestone_view
from core.store.driver import Session
from core.store.goals import GoalRow, at_or_day
from core.store.milestones import (
    MilestoneRow,
    check_reached,
    count_milestones,
    delete_milestone,
    insert_milestone,
    milestones_of_goal,
    read_milestone,
    unreached_of_goals,
    write_milestone,
)
from core.store.outbox import withdraw_messages
from core.store.tenants import Tenant, note_operation

MILESTONES_MOST = 100
"""Of one goal: all of them come with it in every answer about it."""


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

    Raises NotFound, GoalMoved, GoalIsFinal, TooManyMilestones, and InvalidField for an amount outside the goal's span
    or one that the goal has a milestone at already.
    """
    goal = locked_goal(session, tenant, goal_id, seen)
    refuse_final(goal)
    if count_milestones(session, goal.key) >= MILESTONES_MOST:
        raise TooManyMilestones(MILESTONES_MOST)
    at = moment_for(goal, now)
    row = insert_draft(session, goal, draft, at)
    _evaluate_anew(session, goal, at, row.amount_minor)
    return _view_of(session, goal, row.milestone_id)


def insert_draft(session: Session, goal: GoalRow, draft: MilestoneDraft, at: datetime) -> MilestoneRow:
    """Insert a milestone of a locked or new goal, not evaluated yet; raises InvalidField."""
    amount = to_minor(draft.amount, goal.currency, "amount")
    check_milestone(goal.type, goal.span, goal.target_minor, amount)
    row = MilestoneRow(
        goal.tenant,
        goal.goal_id,
        new_id("milestone", at),
        amount,
        _description(draft.description),
        *at_or_day(draft.target_date),
        None,
        None,
        at,
    )
    insert_milestone(session, row)
    return row


def next_of(session: Session, goal: GoalRow) -> int | None:
    """The amount of the milestone that a locked or new goal reaches next; None if none is left."""
    return nearest(goal.direction, unreached_of_goals(session, [goal.key])[goal.key])


def change_milestone(
    session: Session,
    tenant: Tenant,
    goal_id: str,
    milestone_id: str,
    changes: MilestoneChanges,
    now: datetime,
    *,
    seen: Versions | None = None,
) -> MilestoneView:
    """Change a milestone; with another amount it is as one that was added just now, reached or not.

    Raises NotFound for the goal or the milestone, and what `add_milestone` raises.
    """
    goal = locked_goal(session, tenant, goal_id, seen)
    refuse_final(goal)
    row = changed = _find(session, goal, milestone_id)
    if changes.description is not UNSET:
        changed = changed._replace(description=_description(changes.description))
    if changes.target_date is not UNSET:
        target_at, target_day = at_or_day(changes.target_date)
        changed = changed._replace(target_at=target_at, target_day=target_day)
    if changes.amount is not UNSET:
        changed = changed._replace(amount_minor=to_minor(changes.amount, goal.currency, "amount"))
    if changed == row:
        return milestone_view(goal, row)
    at = moment_for(goal, now)
    if changed.amount_minor != row.amount_minor:
        check_milestone(goal.type, goal.span, goal.target_minor, changed.amount_minor)
        write_milestone(session, changed._replace(reached_at=None, marked_at=None))
        _evaluate_anew(session, goal, at, changed.amount_minor)
    else:
        write_milestone(session, changed)
        recompute_goal(session, goal, at, cause="events")
    _note(session, goal, "milestone.changed", milestone_id, at)
    return _view_of(session, goal, milestone_id)


def remove_milestone(
    session: Session, tenant: Tenant, goal_id: str, milestone_id: str, now: datetime, *, seen: Versions | None = None
) -> None:
    """Delete a milestone, reached or not; a message that it was reached stays.

    Raises NotFound for the goal or the milestone, GoalMoved and GoalIsFinal.
    """
    goal = locked_goal(session, tenant, goal_id, seen)
    refuse_final(goal)
    delete_milestone(session, _find(session, goal, milestone_id))
    at = moment_for(goal, now)
    _find_next(session, goal)
    recompute_goal(session, goal, at, cause="events")
    _note(session, goal, "milestone.deleted", milestone_id, at)


def _evaluate_anew(session: Session, goal: GoalRow, at: datetime, amount_minor: int) -> None:
    """Mark a milestone that has just got this amount if the goal is there; the snapshot job looks at earlier days."""
    # An earlier milestone at this amount, which has another one now or is deleted, may have been reached.
    withdraw_messages(session, [milestone_withdrawn(goal, amount_minor, at)])
    _find_next(session, goal)
    goal.mark_dirty_from(goal.start_date)
    recompute_goal(session, goal, at, cause="events")


def _find_next(session: Session, goal: GoalRow) -> None:
    goal.next_milestone_minor = next_of(session, goal)


def _find(session: Session, goal: GoalRow, milestone_id: str) -> MilestoneRow:
    row = read_milestone(session, goal.key, milestone_id) if is_id(milestone_id) else None
    if row is None:
        raise NotFound("Milestone", milestone_id)
    return row


def _view_of(session: Session, goal: GoalRow, milestone_id: str) -> MilestoneView:
    return milestone_view(goal, _find(session, goal, milestone_id))


def _description(text: str | None) -> str | None:
    if text is None:
        return None
    return check_text("description", text, longest=DESCRIPTION_LONGEST, blank_allowed=True, lines_allowed=True)


def _note(session: Session, goal: GoalRow, action: str, milestone_id: str, at: datetime) -> None:
    note_operation(session, goal.tenant, action=action, subject=f"{goal.goal_id} {milestone_id}", at=at)


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


def milestone_progress(goal: GoalView) -> MilestoneProgressView:
    """How many of a goal's milestones are reached, and which comes next."""
    reached = sum(milestone.reached for milestone in goal.milestones)
    return MilestoneProgressView(
        goal_id=goal.goal_id,
        currency=goal.currency,
        total_milestones=len(goal.milestones),
        reached_count=reached,
        remaining_count=len(goal.milestones) - reached,
        percent_complete=milestones_percent(reached, len(goal.milestones)),
        next_milestone=next_milestone(goal),
    )


def next_milestone(goal: GoalView) -> MilestoneView | None:
    """The nearest milestone that is not reached; None if all are."""
    by_amount = {milestone.amount_minor: milestone for milestone in goal.milestones if not milestone.reached}
    upcoming = nearest(direction(goal.type), by_amount)
    return None if upcoming is None else by_amount[upcoming]


def list_milestones(
    session: Session, tenant: Tenant, goal_id: str, *, limit: int, cursor: str | None
) -> tuple[str, Page[MilestoneView]]:
    """The goal's currency, and a page of its milestones by amount; raises NotFound and InvalidField."""
    row = find_goal(session, tenant, goal_id)
    rows = milestones_of_goal(session, row.key, above_minor=number_after(cursor), limit=limit + 1)
    page = cut(rows, limit, lambda each: each.amount_minor)
    return row.currency, shown_as(page, partial(milestone_view, row))
