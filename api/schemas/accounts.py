"""The bodies of answers about accounts: what is known of one, and which goals get how much of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from api.schemas.goals import Amount, Moment, Percent, moment
from core.goals.money import from_ppm, to_decimal
from core.services.allocations import AllocationsView, AllocationView

# The functional form, since `from` is a keyword.
AllocationBody = TypedDict(
    "AllocationBody",
    {
        "goal_id": str,
        "goal_name": str,
        "tracking": str,
        "allocation_percent": Percent,
        "whole": Annotated[bool, Field(description="all of the account counts, outside the sums")],
        "share": Amount | None,
        "from": Moment,
        "note": Annotated[str | None, Field(description="why the share is 0 and outside the sums, if so")],
    },
)


class AllocationsBody(TypedDict):
    """An account and how it is divided between goals; amounts are null until a fact names the account's currency."""

    account_id: str
    name: str | None
    user_id: str | None
    kind: str
    currency: str | None
    worth: Amount | None
    closed: bool
    allocated_percent: Annotated[Percent, Field(description="the sum, also beyond 100")]
    unallocated_percent: Annotated[Percent, Field(description="what is left to 100, never below 0")]
    unallocated: Annotated[Amount | None, Field(description="the worth without the shares; 0 if over-allocated")]
    over_allocated: bool
    allocations: list[AllocationBody]


def allocations_body(view: AllocationsView) -> AllocationsBody:
    """An account with one page of its allocations."""
    account, allotment = view.account, view.allotment
    return {
        "account_id": account.account_id,
        "name": account.name,
        "user_id": account.user_id,
        "kind": account.kind,
        "currency": account.currency,
        "worth": _amount(account.worth_minor, account.currency),
        "closed": account.closed,
        "allocated_percent": from_ppm(allotment.allocated_ppm),
        "unallocated_percent": from_ppm(allotment.unallocated_ppm),
        "unallocated": _amount(allotment.unallocated_minor, account.currency),
        "over_allocated": allotment.is_over,
        "allocations": [_allocation_body(each, account.currency) for each in view.page.items],
    }


def _allocation_body(allocation: AllocationView, currency: str | None) -> AllocationBody:
    return {
        "goal_id": allocation.goal_id,
        "goal_name": allocation.goal_name,
        "tracking": allocation.tracking.value,
        "allocation_percent": from_ppm(allocation.ppm),
        "whole": allocation.whole,
        "share": _amount(allocation.share_minor, currency),
        "from": moment(allocation.from_at),
        "note": allocation.note,
    }


def _amount(minor: int, currency: str | None) -> Amount | None:
    return None if currency is None else to_decimal(minor, currency)
