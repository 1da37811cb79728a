"""Settling goals: from what is now known, their amounts, milestones, ledger lines and messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import simplejson
from sqlalchemy.orm import Session

from core.goals.amounts import amount, waiting_for
from core.goals.lifecycle import GoalStatus
from core.goals.milestones import is_reached, nearest
from core.goals.money import to_decimal
from core.goals.progress import is_goal_reached
from core.pipeline.account_moves import AccountMove
from core.pipeline.way_of_goal import way_of
from core.store import ledger
from core.store.accounts import AccountKey
from core.store.goals import GoalKey, GoalRow
from core.store.links import FundingRow, funding_of_goals
from core.store.milestones import MilestoneRow, mark_milestones, milestones_of_goals

Moves = Mapping[AccountKey, AccountMove]


@dataclass(slots=True)
class Settled:
    """What settling changed: `goals` are the rows that differ now, which the caller writes back."""

    goals: dict[GoalKey, GoalRow] = field(default_factory=dict)
    milestones_reached: int = 0


def settle_goals(
    session: Session, goals: Sequence[GoalRow], now: datetime, *, cause: str, moves: Moves | None = None
) -> Settled:
    """Recompute locked goals from their links' accounts; writes entries, marks and messages, not the goals' rows.

    `moves` is what a batch did to accounts, from which the effective time of a reached milestone is told; without
    it the effective time is `now`. Only active goals that wait for no report mark and send.
    """
    moves = moves or {}
    funding = funding_of_goals(session, (goal.key for goal in goals))
    settled = Settled()
    entries: list[ledger.Entry] = []
    passing: list[GoalRow] = []
    for goal in goals:
        before = goal.amount_minor
        if _resettle(goal, funding[goal.key]):
            settled.goals[goal.key] = goal
            goal.version += 1
            goal.updated_at = max(now, goal.updated_at)
        if goal.amount_minor != before:
            entries.append(_entry(goal, before, funding[goal.key], moves, now, cause))
        if _has_passed_something(goal):
            passing.append(goal)
            settled.goals[goal.key] = goal
            goal.updated_at = max(now, goal.updated_at)
    ledger.write_entries(session, entries)
    settled.milestones_reached = _mark(session, passing, funding, moves, now)
    return settled


def _resettle(goal: GoalRow, sources: Sequence[FundingRow]) -> bool:
    """Bring the row's amount and what it waits for up to date; whether either changed."""
    links = [source.funded(goal) for source in sources]
    new_amount = amount(goal.tracking, goal.direction, goal.typed_minor, links, final_at=goal.final_at)
    waiting = list(waiting_for(goal.tracking, links, final_at=goal.final_at))
    if new_amount == goal.amount_minor and waiting == goal.waiting_for:
        return False
    goal.amount_minor, goal.waiting_for = new_amount, waiting
    return True


def _entry(
    goal: GoalRow, before: int, sources: Sequence[FundingRow], moves: Moves, now: datetime, cause: str
) -> ledger.Entry:
    behind = sorted({s.row.link.account_id for s in sources if s.row.account_key in moves})
    goal.entries += 1
    return ledger.Entry(goal.tenant, goal.goal_id, goal.entries, now, before, goal.amount_minor, cause, behind)


def _has_passed_something(goal: GoalRow) -> bool:
    if goal.status is not GoalStatus.ACTIVE or goal.waiting_for:
        return False
    upcoming = goal.next_milestone_minor
    if upcoming is not None and is_reached(goal.direction, goal.amount_minor, upcoming):
        return True
    return goal.reached_at is None and _stands_at_target(goal, goal.amount_minor)


def _stands_at_target(goal: GoalRow, amount_minor: int) -> bool:
    return is_goal_reached(goal.type, goal.span, goal.target_minor, amount_minor)


def _mark(
    session: Session,
    goals: Sequence[GoalRow],
    funding: Mapping[GoalKey, list[FundingRow]],
    moves: Moves,
    now: datetime,
) -> int:
    """Mark the milestones that the goals passed, and note the messages; how many milestones there were."""
    by_goal = milestones_of_goals(session, (goal.key for goal in goals))
    marks: list[tuple[MilestoneRow, datetime]] = []
    messages: list[ledger.Message] = []
    for goal in goals:
        way = way_of(goal, funding[goal.key], moves, now)
        unreached = [row for row in by_goal[goal.key] if row.reached_at is None]
        passed = [row for row in unreached if is_reached(goal.direction, goal.amount_minor, row.amount_minor)]
        for row in passed:
            at = way.first(partial(_is_past, goal, row.amount_minor))
            marks.append((row, at))
            messages.append(_milestone_message(goal, row, at, now))
        goal.next_milestone_minor = nearest(
            goal.direction, (row.amount_minor for row in unreached if row not in passed)
        )
        if goal.reached_at is None and _stands_at_target(goal, goal.amount_minor):
            goal.reached_at = way.first(partial(_stands_at_target, goal))
            messages.append(_goal_message(goal, goal.reached_at, now))
    mark_milestones(session, marks, now)
    ledger.write_messages(session, messages)
    return len(marks)


def _is_past(goal: GoalRow, milestone_minor: int, amount_minor: int) -> bool:
    return is_reached(goal.direction, amount_minor, milestone_minor)


def _milestone_message(goal: GoalRow, row: MilestoneRow, reached_at: datetime, now: datetime) -> ledger.Message:
    amount_reached = to_decimal(row.amount_minor, goal.currency)
    about: dict[str, object] = {"milestone_amount": amount_reached, "description": row.description}
    return _message(goal, "milestone", row.amount_minor, about, reached_at, now)


def _goal_message(goal: GoalRow, reached_at: datetime, now: datetime) -> ledger.Message:
    return _message(goal, "goal", goal.target_minor, {}, reached_at, now)


def _message(
    goal: GoalRow,
    what: str,
    threshold_minor: int,
    about: dict[str, object],
    reached_at: datetime,
    now: datetime,
) -> ledger.Message:
    payload = {
        "goal_id": goal.goal_id,
        "user_id": goal.user_id,
        "name": goal.name,
        "current_amount": to_decimal(goal.amount_minor, goal.currency),
        "target_amount": to_decimal(goal.target_minor, goal.currency),
        "currency": goal.currency,
        "reached_at": reached_at.isoformat().replace("+00:00", "Z"),
    }
    return ledger.Message(
        goal.tenant,
        f"{what}.reached:{goal.goal_id}:{threshold_minor}",
        f"{what}.reached",
        goal.goal_id,
        simplejson.dumps(payload | about, use_decimal=True),
        now,
    )
