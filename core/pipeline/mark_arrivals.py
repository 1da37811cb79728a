"""Marking arrivals: milestones and targets that goals have come to, each once, with a message about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec
from sqlalchemy.orm import Session

from core.goals.goal import GoalType, Span
from core.goals.lifecycle import GoalStatus
from core.goals.milestones import nearest
from core.goals.money import to_decimal
from core.goals.progress import is_goal_reached
from core.store import ledger
from core.store.goals import GoalKey, GoalRow
from core.store.milestones import Unreached, mark_milestones

# Decimals as numbers with all their digits. Control characters are escaped, others stay as they are.
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Arriving(Protocol):
    """What marking needs of a goal, and what it changes of it: the next milestone and when the target was reached."""

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
        """Where the goal starts and where it should end."""

    @property
    def direction(self) -> int:
        """-1 for debt, +1 for all others."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a locked goal has come to: for a milestone, and for the target, the effective moment; None if it has not."""

    goal: Arriving
    milestone_at: Callable[[int], datetime | None]
    target_at: datetime | None


def marks(goal: GoalRow) -> bool:
    """Whether the goal marks and sends at all: it is active and waits for no balance."""
    return goal.status is GoalStatus.ACTIVE and not goal.waiting_for


def stands_at_target(goal: Arriving, amount_minor: int) -> bool:
    """Whether an amount is the goal's target or past it."""
    return is_goal_reached(goal.type, goal.span, goal.target_minor, amount_minor)


def mark_arrivals(
    session: Session, arrivals: Sequence[Arrival], by_goal: Mapping[GoalKey, Sequence[Unreached]], now: datetime
) -> int:
    """Mark what is not marked yet and note the messages; how many milestones. Goals' rows are left to the caller.

    `by_goal` has the milestones of the goals that are not reached.
    """
    marked: list[tuple[Unreached, datetime]] = []
    messages: list[ledger.Message] = []
    for arrival in arrivals:
        goal = arrival.goal
        left: list[int] = []
        for row in by_goal[goal.key]:
            reached_at = arrival.milestone_at(row.amount_minor)
            if reached_at is None:
                left.append(row.amount_minor)
            else:
                marked.append((row, reached_at))
                messages.append(_milestone_message(goal, row, reached_at, now))
        goal.next_milestone_minor = nearest(goal.direction, left)
        if goal.reached_at is None and arrival.target_at is not None:
            goal.reached_at = arrival.target_at
            messages.append(_goal_message(goal, arrival.target_at, now))
    mark_milestones(session, marked, now)
    ledger.write_messages(session, messages)
    return len(marked)


def _milestone_message(goal: Arriving, row: Unreached, reached_at: datetime, now: datetime) -> ledger.Message:
    amount_reached = to_decimal(row.amount_minor, goal.currency)
    about: dict[str, object] = {"milestone_amount": amount_reached, "description": row.description}
    return _message(goal, "milestone", row.amount_minor, about, reached_at, now)


def _goal_message(goal: Arriving, reached_at: datetime, now: datetime) -> ledger.Message:
    return _message(goal, "goal", goal.target_minor, {}, reached_at, now)


def _message(
    goal: Arriving,
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
        _encode(payload | about).decode(),
        now,
    )
