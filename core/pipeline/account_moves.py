"""What a batch did to one account, as its goals and links need to know it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import accumulate, islice
from operator import eq
from typing import NamedTuple

from core.events.transactions import Movement
from core.store.links import LinkPeriod
from core.store.plain_goals import BEFORE_ALL


class Membership(NamedTuple):
    """Whose an account is now, and in which currency: what decides to which net worths it belongs."""

    user_id: str | None
    currency: str | None


class Track(NamedTuple):
    """Moments in order, each once, and what all movements up to and at each come to; `latest_at` as of the move."""

    moments: Sequence[datetime]
    sums: Sequence[int]
    latest_at: datetime | None


class AccountMove(NamedTuple):
    """Movements in order of time, and by how much the opening moved; `latest_at` is the last effective time touched.

    `joins` is set where the account's user or currency became another.
    """

    opening_minor: int
    movements: tuple[Movement, ...]
    latest_at: datetime | None = None
    joins: Membership | None = None

    def track(self, measure: str) -> Track:
        """How the movements led a measure away from where it was."""
        amounts = [each.inflow_minor if measure == "inflow" else each.worth_minor for each in self.movements]
        return track([each.at for each in self.movements], amounts, self.latest_at)

    @property
    def earliest_at(self) -> datetime | None:
        """From when on worth or inflow moved; None if they did not, BEFORE_ALL if the opening did."""
        if self.opening_minor:
            return BEFORE_ALL
        return self.movements[0].at if self.movements else None

    def shift_before(self, moment: datetime, measure: str) -> int:
        """By how much the measure just before `moment` moved."""
        if measure == "inflow":
            return sum(m.inflow_minor for m in self.movements if m.at < moment)
        return self.opening_minor + sum(m.worth_minor for m in self.movements if m.at < moment)

    def deltas(self, period: LinkPeriod) -> tuple[int, int]:
        """By how much a link's base and end move. (0, 0) for an open link while facts come in order.

        A link's period holds its first moment and not its last: at a change of allocation the next link begins at
        the very moment at which this one ends, and a fact of that moment must not count in both.
        """
        base = 0 if period.begin_at is None else self.shift_before(period.begin_at, period.measure)
        end = 0 if period.until_at is None else self.shift_before(period.until_at, period.measure)
        return base, end


def track(moments: Sequence[datetime], amounts: Iterable[int], latest_at: datetime | None) -> Track:
    """The track of amounts at moments in order."""
    sums = list(accumulate(amounts))
    if any(map(eq, moments, islice(moments, 1, None))):
        last = dict(zip(moments, sums, strict=True))
        moments, sums = list(last), list(last.values())
    return Track(moments, sums, latest_at)
