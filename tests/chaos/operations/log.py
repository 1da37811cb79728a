"""Deeds: what was asked for over REST and done, in order, and the periods and amounts that must have come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from tests.chaos.load.world import GoalPlan

WHOLE_PPM = 1_000_000


@dataclass(frozen=True, slots=True)
class Deed:
    """One request that was answered with success, some time between the two moments.

    `since` is the date that was asked for: of a creation the goal's start, of a link its `from`, if it has one.
    """

    verb: str
    began_at: datetime
    ended_at: datetime
    account_id: str = ""
    ppm: int = 0
    since: date | None = None
    amount_minor: int = 0


@dataclass(slots=True)
class Acted:
    """One goal with all that was done to it. Its requests come one after the other."""

    tenant: str
    plan: GoalPlan
    goal_id: str
    deeds: list[Deed] = field(default_factory=list)

    @property
    def shares(self) -> dict[str, int]:
        """The share of each account that is linked now."""
        return {period.account_id: period.ppm for period in periods(self.deeds) if period.ended is None}

    @property
    def status(self) -> str:
        """What was asked for last."""
        return "abandoned" if self.is_over else "paused" if self.is_paused else "active"

    @property
    def is_over(self) -> bool:
        """Whether it was given up."""
        return any(deed.verb == "abandon" for deed in self.deeds)

    @property
    def is_paused(self) -> bool:
        """Whether it was paused and not taken up again."""
        moves = [deed.verb for deed in self.deeds if deed.verb in {"pause", "resume"}]
        return bool(moves) and moves[-1] == "pause"


@dataclass(slots=True)
class Period:
    """A link that must be there: begun by one deed, ended by another or by none."""

    account_id: str
    ppm: int
    begun: Deed
    ended: Deed | None = None


def periods(deeds: Sequence[Deed]) -> list[Period]:
    """The links that deeds have made, in order of their beginning."""
    made: list[Period] = []
    for deed in deeds:
        if deed.verb in {"link", "allocate", "unlink"}:
            for period in made:
                if period.account_id == deed.account_id and period.ended is None:
                    period.ended = deed
        if deed.verb in {"link", "allocate"}:
            made.append(Period(deed.account_id, deed.ppm, deed))
        if deed.verb == "abandon":
            for period in made:
                period.ended = period.ended or deed
    return made
