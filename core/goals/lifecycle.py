"""The lifecycle of a goal: its statuses and the moves between them."""

from __future__ import annotations

from enum import StrEnum

from core.errors import StatusMoveRefused


class GoalStatus(StrEnum):
    """Where a goal stands; completed and abandoned are final."""

    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    ABANDONED = "abandoned"


_MOVES: dict[GoalStatus, frozenset[GoalStatus]] = {
    GoalStatus.ACTIVE: frozenset({GoalStatus.PAUSED, GoalStatus.COMPLETED, GoalStatus.ABANDONED}),
    GoalStatus.PAUSED: frozenset({GoalStatus.ACTIVE, GoalStatus.ABANDONED}),
    GoalStatus.COMPLETED: frozenset(),
    GoalStatus.ABANDONED: frozenset(),
}


def is_final(status: GoalStatus) -> bool:
    """Whether no move leads out of the status."""
    return not _MOVES[status]


def can_start_as(status: GoalStatus) -> bool:
    """Whether a goal may be created in the status."""
    return not is_final(status)


def move(status: GoalStatus, wanted: GoalStatus) -> bool:
    """Whether the status changes: False if it is `wanted` already; raises StatusMoveRefused."""
    if wanted is status:
        return False
    if wanted not in _MOVES[status]:
        raise StatusMoveRefused(status.value, wanted.value)
    return True
