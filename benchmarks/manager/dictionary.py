"""The comparison for the Python interface: goals as floats in a dictionary, lost at the end of the process."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4


class DictionaryGoals:
    """Goals in memory, with no rules, no accounts and no other process."""

    def __init__(self) -> None:
        self._goals: dict[str, dict[str, Any]] = {}

    def create_goal(self, user_id: str, target_amount: float) -> str:
        """The id of a new goal at 0."""
        goal_id = f"goal_{uuid4()}"
        self._goals[goal_id] = {
            "id": goal_id,
            "user_id": user_id,
            "target_amount": target_amount,
            "current_amount": 0.0,
            "milestones": [],
            "updated_at": datetime.now(UTC),
        }
        return goal_id

    def get_goal(self, goal_id: str) -> dict[str, Any]:
        """A goal; raises KeyError."""
        return self._goals[goal_id]

    def add_milestone(self, goal_id: str, amount: float) -> None:
        """Add a milestone at an amount."""
        milestone = {"amount": amount, "reached": False, "reached_date": None}
        self._goals[goal_id]["milestones"].append(milestone)

    def update_goal(self, goal_id: str, **fields: Any) -> dict[str, Any]:
        """Overwrite fields."""
        goal = self._goals[goal_id]
        goal.update(fields, updated_at=datetime.now(UTC))
        return goal

    def check_milestones(self, goal_id: str) -> list[dict[str, Any]]:
        """Mark the milestones that the amount has reached."""
        goal, found = self._goals[goal_id], []
        for milestone in goal["milestones"]:
            if not milestone["reached"] and goal["current_amount"] >= milestone["amount"]:
                milestone.update(reached=True, reached_date=datetime.now(UTC))
                found.append(milestone)
        return found
