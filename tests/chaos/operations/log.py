"""The operation log: the successful requests over REST, in order, and the links that must result from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from tests.chaos.load.world import GoalPlan

WHOLE_PPM = 1_000_000


@dataclass(frozen=True, slots=True)
class Operation:
    """One successful request, carried out at some time between the two moments.

    `since` is the date that was requested: of a creation the goal's start, of a link its `from`, if it has one.
    """

    verb: str
    began_at: datetime
    ended_at: datetime
    account_id: str = ""
    ppm: int = 0
    since: date | None = None
    amount_minor: int = 0


@dataclass(slots=True)
class GoalLog:
    """One goal with all its operations. Its requests are sent one after the other."""

    tenant: str
    plan: GoalPlan
    goal_id: str
    operations: list[Operation] = field(default_factory=list)

    @property
    def shares(self) -> dict[str, int]:
        """The share of each account that is linked now."""
        return {period.account_id: period.ppm for period in periods(self.operations) if period.ended is None}

    @property
    def status(self) -> str:
        """The status that was requested last."""
        return "abandoned" if self.is_over else "paused" if self.is_paused else "active"

    @property
    def is_over(self) -> bool:
        """Whether it was abandoned."""
        return any(operation.verb == "abandon" for operation in self.operations)

    @property
    def is_paused(self) -> bool:
        """Whether it was paused and not resumed."""
        moves = [operation.verb for operation in self.operations if operation.verb in {"pause", "resume"}]
        return bool(moves) and moves[-1] == "pause"


@dataclass(slots=True)
class Period:
    """A link that must exist: started by one operation, ended by another or by none."""

    account_id: str
    ppm: int
    started: Operation
    ended: Operation | None = None


def periods(operations: Sequence[Operation]) -> list[Period]:
    """The links that the operations have made, in order of their start."""
    made: list[Period] = []
    for operation in operations:
        if operation.verb in {"link", "allocate", "unlink"}:
            for period in made:
                if period.account_id == operation.account_id and period.ended is None:
                    period.ended = operation
        if operation.verb in {"link", "allocate"}:
            made.append(Period(operation.account_id, operation.ppm, operation))
        if operation.verb == "abandon":
            for period in made:
                period.ended = period.ended or operation
    return made
