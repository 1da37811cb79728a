"""How an account is shared out between goals: what is given away, and what is left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from core.goals.money import share
from core.goals.percent import WHOLE_PPM


@dataclass(frozen=True, slots=True)
class Allotment:
    """What the goals of an account get of it in all, in parts per million, and what is left, in minor units too.

    Nothing is left of an account that is over-allocated: more than 100% of it is given away.
    """

    allocated_ppm: int
    unallocated_ppm: int
    unallocated_minor: int

    @property
    def is_over(self) -> bool:
        """Whether more than all of it is given away."""
        return self.allocated_ppm > WHOLE_PPM


def allot(worth_minor: int, shares: Iterable[tuple[int, int]]) -> Allotment:
    """Sum up the shares of one worth: (ppm, how many have it) each.

    What cutting the shares leaves stays unallocated: three times 33.3333% of 1.00 are 0.99, and 0.01 is left.
    """
    given = list(shares)
    allocated = sum(ppm * number for ppm, number in given)
    if allocated > WHOLE_PPM:
        return Allotment(allocated, 0, 0)
    left = worth_minor - sum(share(worth_minor, ppm) * number for ppm, number in given)
    return Allotment(allocated, WHOLE_PPM - allocated, left)
