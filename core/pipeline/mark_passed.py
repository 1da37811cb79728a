"""Marking the goals that were moved past something where they lie: each has one link, so little has to be read."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy.orm import Session

from core.pipeline.mark_arrivals import mark_arrivals
from core.pipeline.plain_accounts import Moves
from core.pipeline.way_of_goal import arrival_by_way, way_of_link
from core.store.goals import GoalKey
from core.store.passed_goals import read_passed, write_passed


def mark_passed(session: Session, keys: Collection[GoalKey], moves: Moves, now: datetime) -> int:
    """Mark what these goals came to, as settle_goals does for all others; how many milestones."""
    if not keys:
        return 0
    found = read_passed(session, keys)
    goals = [goal for goal, _ in found]
    arrivals = [
        arrival_by_way(goal, way_of_link(goal, moves.track(goal.account_key, goal.measure), now)) for goal in goals
    ]
    marked = mark_arrivals(session, arrivals, {goal.key: unreached for goal, unreached in found}, now)
    write_passed(session, goals)
    return marked
