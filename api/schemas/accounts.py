"""How accounts and dead letters go out: what is known of each."""

import base64
from typing import Annotated, Any, NotRequired

from pydantic import Field
from simplejson import RawJSON
from typing_extensions import TypedDict

from api.schemas.goals import Amount, Moment, Percent, moment
from core.errors import MalformedEvent
from core.events.envelope import parse_json
from core.goals.money import from_ppm, to_decimal
from core.services.funding import AllocationsView, AllocationView
from core.store.dead_letters import DeadLetterSummary

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


class LetterBody(TypedDict):
    """A dead letter without its event; `shard` and `entry_id`, its place on the stream, identify it."""

    shard: int
    entry_id: str
    code: Annotated[str, Field(description="why it could not take effect, from a fixed list")]
    reason: Annotated[str, Field(description="the same, as text for a person")]
    state: Annotated[str, Field(description="waiting, replayed or discarded")]
    event_bytes: int
    arrived_at: Moment
    recorded_at: Moment
    replayed_at: Moment | None
    discarded_at: Moment | None


class WholeLetterBody(LetterBody):
    """A dead letter with its event: `event` if that is JSON, digit by digit as it came, else `event_base64`."""

    event: NotRequired[Any]
    event_base64: NotRequired[str]


def letter_body(dead_letter: DeadLetterSummary) -> LetterBody:
    """A dead letter without its event."""
    return {
        "shard": dead_letter.shard,
        "entry_id": dead_letter.entry_id,
        "code": dead_letter.code,
        "reason": dead_letter.reason,
        "state": dead_letter.state,
        "event_bytes": dead_letter.event_bytes,
        "arrived_at": moment(dead_letter.arrived_at),
        "recorded_at": moment(dead_letter.recorded_at),
        "replayed_at": moment(dead_letter.replayed_at),
        "discarded_at": moment(dead_letter.discarded_at),
    }


def whole_letter_body(dead_letter: DeadLetterSummary, event: bytes) -> dict[str, Any]:
    """A dead letter with its event, as WholeLetterBody describes it."""
    body: dict[str, Any] = {**letter_body(dead_letter)}
    try:
        parse_json(event)
    except MalformedEvent:
        body["event_base64"] = base64.b64encode(event).decode()
    else:
        # The very text, not parsed and written again: what is wrong with the event may be how it is spelt.
        body["event"] = RawJSON(event.decode())
    return body
