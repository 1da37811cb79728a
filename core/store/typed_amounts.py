"""Rows of typed amounts: what someone set by hand, and when."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.store.goals import GoalKey

_ADD = text(
    """INSERT INTO typed_amounts (tenant, goal_id, typed_at, amount_minor)
    VALUES (:tenant, :goal_id, :typed_at, :amount_minor)"""
)


def add_typed_amount(session: Session, key: GoalKey, typed_at: datetime, amount_minor: int) -> None:
    """Keep an amount typed for a locked goal."""
    session.execute(_ADD, {"tenant": key[0], "goal_id": key[1], "typed_at": typed_at, "amount_minor": amount_minor})
