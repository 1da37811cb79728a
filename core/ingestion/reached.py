"""Marking milestones and targets as reached, each once, and writing a message about each."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import msgspec
from sqlalchemy.orm import Session

from core.goals.goal import GoalStatus, GoalType, Span
from core.goals.money import to_decimal
from core.goals.progress import is_goal_reached, nearest
from core.store import ledger
from core.store.goals import GoalKey, GoalRow
from core.store.milestones import Reached, mark_milestones, unreached_of_goals

# Decimals as numbers with all their digits. Control characters are escaped, others stay as they are.
_encode = msgspec.json.Encoder(decimal_format="number").encode


class CrossingGoal(Protocol):
    """What marking reads of a goal, and what it changes: the next milestone and when the target was reached."""

    tenant: str
    goal_id: str
    user_id: str
    name: str
    currency: str
    type: GoalType
    amount_minor: int
    target_minor: int
    next_milestone_minor: int | None
    reached_at: datetime | None

    @property
    def key(self) -> GoalKey:
        """(tenant, goal_id)."""

    @property
    def span(self) -> Span:
        """The amounts at which the goal starts and should end."""

    @property
    def direction(self) -> int:
        """-1 for debt, +1 for all others."""


class Crossing(NamedTuple):
    """What a locked goal has reached: the effective moment for a milestone and for the target; None if not reached."""

    goal: CrossingGoal
    milestone_at: Callable[[int], datetime | None]
    target_at: datetime | None


def can_reach_milestones(goal: GoalRow) -> bool:
    """Whether the goal can reach milestones and its target at present: it is active and waits for no balance."""
    return goal.status is GoalStatus.ACTIVE and not goal.waiting_for


def is_at_target(goal: CrossingGoal, amount_minor: int) -> bool:
    """Whether the amount reaches the goal's target."""
    return is_goal_reached(goal.type, goal.span, goal.target_minor, amount_minor)


def mark_crossings(session: Session, crossings: Sequence[Crossing], now: datetime) -> int:
    """Mark milestones and targets that are newly reached, and write their messages; returns how many milestones.

    The caller has locked the goals and writes their rows. Their milestones are read only here, after the lock: another
    transaction may have added one while this one waited for the goal.
    """
    goals = {crossing.goal.key: crossing.goal for crossing in crossings}
    unreached = unreached_of_goals(session, goals)
    reached: list[tuple[GoalKey, int, datetime]] = []
    at_target: list[tuple[CrossingGoal, datetime]] = []
    for goal, milestone_at, target_at in crossings:
        key = goal.key
        left: list[int] = []
        for amount_minor in unreached[key]:
            reached_at = milestone_at(amount_minor)
            if reached_at is None:
                left.append(amount_minor)
            else:
                reached.append((key, amount_minor, reached_at))
        goal.next_milestone_minor = nearest(goal.direction, left)
        if goal.reached_at is None and target_at is not None:
            goal.reached_at = target_at
            at_target.append((goal, target_at))
    marked = mark_milestones(session, reached, now)
    messages = [_milestone_message(goals[milestone.goal_key], milestone, now) for milestone in marked]
    messages += [_goal_message(goal, target_at, now) for goal, target_at in at_target]
    ledger.write_messages(session, messages)
    return len(marked)


def _milestone_message(goal: CrossingGoal, reached: Reached, now: datetime) -> ledger.Message:
    amount_reached = to_decimal(reached.amount_minor, goal.currency)
    about: dict[str, object] = {"milestone_amount": amount_reached, "description": reached.description}
    return _message(goal, "milestone.reached", reached.amount_minor, about, reached.reached_at, now)


def _goal_message(goal: CrossingGoal, reached_at: datetime, now: datetime) -> ledger.Message:
    return _message(goal, "goal.reached", goal.target_minor, {}, reached_at, now)


def _message(
    goal: CrossingGoal,
    message_type: str,
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
        "reached_at": reached_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }
    return ledger.Message(
        goal.tenant,
        f"{message_type}:{goal.goal_id}:{threshold_minor}",
        message_type,
        goal.goal_id,
        _encode(payload | about).decode(),
        now,
    )
