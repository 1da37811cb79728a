"""Marking the goals that were moved past something where they lie: each has one link, so little has to be read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from core.pipeline.mark_arrivals import mark_arrivals
from core.pipeline.plain_accounts import Moves
from core.pipeline.way_of_goal import arrival_by_way, way_of_link
from core.store.passed_goals import PassedGoal, write_passed


def mark_passed(session: Session, goals: Sequence[PassedGoal], moves: Moves, now: datetime) -> int:
    """Mark what these goals came to, as settle_goals does for all others; how many milestones."""
    if not goals:
        return 0
    arrivals = [
        arrival_by_way(goal, way_of_link(goal, moves.track(goal.account_key, goal.measure), now)) for goal in goals
    ]
    marked = mark_arrivals(session, arrivals, now)
    write_passed(session, goals)
    return marked
