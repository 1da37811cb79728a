"""The act update_goal."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy.orm import Session

from core.errors import AmountFollowsAccounts
from core.events.calendar import local_day
from core.goals.amounts import follows_accounts
from core.goals.goal import (
    DESCRIPTION_LONGEST,
    NAME_LONGEST,
    check_current,
    check_target,
    check_text,
    follows_balances,
    retarget,
)
from core.goals.lifecycle import GoalStatus, is_final, move
from core.goals.money import to_minor
from core.goals.progress import is_goal_reached
from core.pipeline.end_links import end_links
from core.requests.goal_access import Versions, hold_goal_and_accounts, moment_for, refuse_final
from core.requests.settle import settle_goal
from core.requests.values import UNSET, GoalChanges, GoalView, Stated, goal_view
from core.store.goals import GoalRow
from core.store.links import FundingRow, rebase_link
from core.store.measures import measures_before
from core.store.milestones import milestones_of_goals
from core.store.tenants import Tenant
from core.store.typed_amounts import add_typed_amount


def update_goal(
    session: Session, tenant: Tenant, goal_id: str, changes: GoalChanges, now: datetime, *, seen: Versions | None = None
) -> GoalView:
    """Change a goal, all of it at one moment: texts and target, then the amount, then the status.

    Raises NotFound, GoalMoved, InvalidField, GoalIsFinal, AmountFollowsAccounts and StatusMoveRefused.
    """
    goal, sources, _ = hold_goal_and_accounts(session, tenant, goal_id, seen=seen)
    at = moment_for(goal, now)
    today = local_day(at, tenant.zone)
    before = replace(goal)
    _change_texts(goal, changes)
    if changes.target_amount is not UNSET:
        refuse_final(goal)
        if _change_target(goal, changes.target_amount):
            goal.judged_from = at
    if changes.current_amount is not UNSET:
        refuse_final(goal)
        _type_amount(session, goal, sources, changes.current_amount, at)
    # The amount is settled under the status it was typed in: a milestone that it reaches counts even if the same
    # request completes the goal.
    if goal != before:
        goal.mark_from(today)
        settle_goal(session, goal, at, cause="typed")
    if changes.status is not UNSET and move(goal.status, changes.status):
        goal.status = changes.status
        goal.mark_from(today)
        if is_final(goal.status):
            goal.final_at = at
            end_links(session, goal, (s.row for s in sources if s.row.link.is_open), at)
        if goal.status is GoalStatus.ACTIVE:
            # Now the milestones are marked that the closes of the pause stood past.
            goal.judged_from = at
            goal.mark_from(goal.start_date)
        settle_goal(session, goal, at, cause="status")
    return goal_view(goal, milestones_of_goals(session, [goal.key])[goal.key])


def _change_texts(goal: GoalRow, changes: GoalChanges) -> None:
    if changes.name is not UNSET:
        goal.name = check_text("name", changes.name, longest=NAME_LONGEST)
    if changes.description is not UNSET:
        goal.description = changes.description and check_text(
            "description", changes.description, longest=DESCRIPTION_LONGEST, blank_allowed=True, lines_allowed=True
        )
    if changes.deadline is not UNSET:
        goal.deadline = changes.deadline


def _change_target(goal: GoalRow, stated: Stated) -> bool:
    """Move the target; whether it is another. A goal that no longer stands at it can be reached once more."""
    target = to_minor(stated, goal.currency, "target_amount")
    check_target(goal.type, target)
    span = retarget(goal.type, goal.span, target)
    has_moved = target != goal.target_minor
    goal.target_minor, goal.start_minor, goal.finish_minor = target, span.start_minor, span.finish_minor
    if not is_goal_reached(goal.type, goal.span, target, goal.amount_minor):
        goal.reached_at = None
    return has_moved


def _type_amount(session: Session, goal: GoalRow, sources: list[FundingRow], stated: Stated, at: datetime) -> None:
    """Set the amount by hand: what is dated before this moment is in it, so links count from here on."""
    if follows_accounts(goal.tracking, [source.funded(goal) for source in sources]):
        raise AmountFollowsAccounts
    amount = to_minor(stated, goal.currency, "current_amount")
    check_current(goal.type, amount)
    goal.typed_minor, goal.typed_at, goal.judged_from = amount, at, at
    add_typed_amount(session, goal.key, at, amount)
    if follows_balances(goal.tracking):
        return
    # Ended links are left as they are: what was typed after their end holds all they counted, and their rows belong
    # to batches that hold their accounts.
    rows = [source.row for source in sources if source.row.link.is_open]
    measures = measures_before(session, goal.tenant, (row.link.account_id for row in rows), at)
    for row in rows:
        rebase_link(session, row, at, measures[row.link.account_id].of(row.measure))
