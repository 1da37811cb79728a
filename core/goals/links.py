"""Links: the period in which a share of an account counts for a goal, and how one account is divided among goals."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from core.errors import AllocationExceeded
from core.goals.goal import GoalType, Tracking
from core.goals.money import WHOLE_PPM, share


class Link(NamedTuple):
    """One funding source. The measure of an account is its worth, or its total inflow for `inflow` tracking.

    `begin_at` is the later of `from_at` and the moment at which the goal's amount was last set by hand. For a goal that
    follows balances it is None and the base 0, since the whole balance counts. `base_minor` is the measure just before
    `begin_at`, `end_minor` the measure at `until_at`.
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
        """Whether new movements of the account still count."""
        return self.until_at is None

    def kept_measure(self, moment: datetime) -> int | None:
        """The measure just before a moment if it is the link's begin or its end; None for any other moment."""
        if moment == self.until_at and self.end_minor is not None:
            return self.end_minor
        return self.base_minor if moment == self.begin_at else None

    def ends_after(self, moment: datetime) -> bool:
        """Whether the period is not over yet at a moment."""
        return self.until_at is None or self.until_at > moment


@dataclass(frozen=True, slots=True)
class Allotment:
    """How much of an account its goals get in all, in parts per million, and how much is left, also in minor units.

    Nothing is left of an account that is over-allocated, which means by more than 100%.
    """

    allocated_ppm: int
    unallocated_ppm: int
    unallocated_minor: int

    @property
    def is_over(self) -> bool:
        """Whether more than 100% is allocated."""
        return self.allocated_ppm > WHOLE_PPM


def measured(link: Link, measure_minor: int) -> int:
    """By how much the account's measure moved during the link; `measure_minor` is the present measure.

    0 for a link that ended before it began to count: its goal's amount was set by hand after the account was unlinked.
    """
    if link.until_at is not None and link.begin_at is not None and link.until_at < link.begin_at:
        return 0
    end = measure_minor if link.end_minor is None else link.end_minor
    return end - link.base_minor


def why_not(
    account_currency: str | None, is_known_asset: bool, goal_currency: str, type: GoalType, tracking: Tracking
) -> str | None:
    """Why a link from such an account adds nothing to such a goal; None if it counts."""
    if account_currency is None and tracking is Tracking.NET_WORTH:
        return "counts nothing: the account has no currency yet"
    if account_currency is not None and account_currency != goal_currency:
        return f"counts nothing: the account is in {account_currency}, the goal in {goal_currency}"
    if is_known_asset and type is GoalType.DEBT and tracking is Tracking.BALANCE:
        return "counts nothing: a debt that follows balances takes liabilities only"
    return None


def allocate(open_links: Iterable[tuple[str, int]], account_id: str, ppm: int) -> None:
    """Check that a goal may take this share of an account; raises AllocationExceeded over 100%.

    `open_links` are the goal's open links as (account_id, ppm), without those that count their account whole. A link
    of the same account among them is left out of the sum, because the new share replaces it.
    """
    others = sum(other for account, other in open_links if account != account_id)
    if others + ppm > WHOLE_PPM:
        raise AllocationExceeded(others)


def allot(worth_minor: int, shares: Iterable[tuple[int, int]]) -> Allotment:
    """Sum up the shares of an account with this worth; `shares` are (ppm, number of goals with that share).

    Shares are cut towards zero, and what that leaves stays unallocated: three times 33.3333% of 1.00 are 0.99, and
    0.01 is left.
    """
    counted = list(shares)
    allocated = sum(ppm * number for ppm, number in counted)
    if allocated > WHOLE_PPM:
        return Allotment(allocated, 0, 0)
    left = worth_minor - sum(share(worth_minor, ppm) * number for ppm, number in counted)
    return Allotment(allocated, WHOLE_PPM - allocated, left)
