"""Links: the period in which a share of an account counts for a goal, and how an account is shared out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from core.errors import AllocationExceeded
from core.goals.goal import GoalType, Tracking
from core.goals.money import WHOLE_PPM, share


class Link(NamedTuple):
    """One funding source. The measure of an account is its worth, or its total inflow for `inflow` tracking.

    `begin_at` is the later of `from_at` and the moment the goal's amount was typed; None, with a base of 0,
    for tracking `balance`, which counts all there is. `base_minor` is the measure just before `begin_at`,
    `end_minor` the measure at `until_at`.
    """

    account_id: str
    ppm: int
    from_at: datetime
    until_at: datetime | None
    begin_at: datetime | None
    base_minor: int
    end_minor: int | None

    @property
    def is_open(self) -> bool:
        """Whether the link still counts what comes."""
        return self.until_at is None


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


def measured(link: Link, measure_minor: int) -> int:
    """What the account's measure moved by within the link; `measure_minor` is the present one.

    0 for a link that ended before it began to count, as when an amount was typed after the unlinking.
    """
    if link.until_at is not None and link.begin_at is not None and link.until_at < link.begin_at:
        return 0
    end = measure_minor if link.end_minor is None else link.end_minor
    return end - link.base_minor


def why_not(
    account_currency: str | None, is_known_asset: bool, goal_currency: str, type: GoalType, tracking: Tracking
) -> str | None:
    """Why a link of such an account counts nothing for such a goal; None if it counts."""
    if account_currency is not None and account_currency != goal_currency:
        return f"counts nothing: the account is in {account_currency}, the goal in {goal_currency}"
    if is_known_asset and type is GoalType.DEBT and tracking is Tracking.BALANCE:
        return "counts nothing: a debt that follows balances takes liabilities only"
    return None


def allocate(open_links: Iterable[tuple[str, int]], account_id: str, ppm: int) -> None:
    """Accept a share for an account beside a goal's open links that share out, (account_id, ppm) each.

    Accounts that count whole are outside the sum. The account's own link is the one to be replaced. Raises
    AllocationExceeded over 100%.
    """
    others = sum(other for account, other in open_links if account != account_id)
    if others + ppm > WHOLE_PPM:
        raise AllocationExceeded


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
