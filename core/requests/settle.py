"""Settling one goal after a request: its amount anew, then the row written back."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from core.pipeline.settle_goals import settle_goals
from core.store.goals import GoalRow, write_goal


def settle_goal(session: Session, goal: GoalRow, now: datetime, *, cause: str) -> None:
    """Recompute a locked goal that a request changed, and write it. `now` is the moment of the request."""
    version = goal.version
    settle_goals(session, [goal], now, cause=cause)
    goal.version = version + 1
    goal.acted_at = now
    goal.updated_at = max(now, goal.updated_at)
    write_goal(session, goal)
