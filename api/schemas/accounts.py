"""How accounts and dead letters go out: what is known of each."""

import base64
from typing import Annotated, Any, NotRequired

from msgspec import Raw
from pydantic import Field, with_config
from typing_extensions import TypedDict

from api.schemas.rendering import Amount, Day, Moment, Percent, day, moment
from api.schemas.values import (
    AccountKind,
    ConnectionState,
    Currency,
    CurrencySaidBy,
    DeadLetterCode,
    DeadLetterState,
    FactType,
)
from core.errors import MalformedEvent
from core.events.envelope import parse_json
from core.events.spans import NEVER
from core.goals.goal import Tracking
from core.goals.money import from_ppm, to_decimal
from core.services.accounts import AccountView
from core.services.funding import AllocationsView, AllocationView
from core.store.account_views import ReportRow
from core.store.dead_letters import DeadLetterSummary

IN_ACCOUNTS = "in the account's currency with exactly its digits"

# In a class it could not be written: `from` is a keyword.
_AllocationBegin = TypedDict(
    "_AllocationBegin", {"from": Annotated[Moment, Field(description="from when on the account counts for the goal")]}
)


@with_config(title="Allocation")
class AllocationBody(_AllocationBegin):
    """What one goal gets of an account."""

    goal_id: Annotated[str, Field(description="the goal's id")]
    goal_name: Annotated[str, Field(description="the goal's name")]
    tracking: Annotated[Tracking, Field(description="how the goal's amount follows from accounts")]
    allocation_percent: Annotated[Percent, Field(description="the share that counts, in percent")]
    whole: Annotated[bool, Field(description="all of the account counts, outside the sums")]
    share: Annotated[Amount | None, Field(description=f"that share of the worth, cut towards zero, {IN_ACCOUNTS}")]
    note: Annotated[str | None, Field(description="why the share is 0 and outside the sums, if so")]


@with_config(title="AccountAllocations")
class AllocationsBody(TypedDict):
    """An account and how it is divided between goals; amounts are null until a fact names the account's currency."""

    account_id: Annotated[str, Field(description="your own id for the account")]
    name: Annotated[str | None, Field(description="the account's own name, else the one of its latest link")]
    user_id: Annotated[str | None, Field(description="whose account it is")]
    kind: Annotated[AccountKind, Field(description="`asset` until something says otherwise")]
    currency: Annotated[Currency | None, Field(description="an ISO 4217 code; null until a fact names it")]
    worth: Annotated[
        Amount | None, Field(description=f"by all facts so far, negative for an amount owed, {IN_ACCOUNTS}")
    ]
    closed: Annotated[bool, Field(description="it takes no new links")]
    allocated_percent: Annotated[Percent, Field(description="the sum of the shares in percent, also beyond 100")]
    unallocated_percent: Annotated[Percent, Field(description="what is left to 100, never below 0, in percent")]
    unallocated: Annotated[
        Amount | None, Field(description=f"the worth without the shares, 0 if over-allocated, {IN_ACCOUNTS}")
    ]
    over_allocated: Annotated[bool, Field(description="whether the shares sum to more than 100")]
    allocations: Annotated[list[AllocationBody], Field(description="one page of the goals that get a share")]


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
        "tracking": allocation.tracking,
        "allocation_percent": from_ppm(allocation.ppm),
        "whole": allocation.whole,
        "share": _amount(allocation.share_minor, currency),
        "from": moment(allocation.from_at),
        "note": allocation.note,
    }


def _amount(minor: int | None, currency: str | None) -> Amount | None:
    return None if minor is None or currency is None else to_decimal(minor, currency)


@with_config(title="LastFact")
class LastFactBody(TypedDict):
    """The last report or transaction that counts."""

    type: Annotated[FactType, Field(description="which of the two it is")]
    at: Annotated[Moment, Field(description="the moment that it is dated at")]
    time: Annotated[Moment, Field(description="the `time` of the event that states it: when its source said so")]


@with_config(title="Connection")
class ConnectionBody(TypedDict):
    """The account's connection at its provider, as far as it is known."""

    provider: Annotated[str | None, Field(description="of the latest registration of the account, like `id`")]
    id: Annotated[str | None, Field(description="the item, enrollment or member")]
    state: Annotated[ConnectionState | None, Field(description="by the latest event about it")]
    reason: Annotated[str | None, Field(description="why, as that event says")]
    changed_at: Annotated[Moment | None, Field(description="the `time` of that event")]


@with_config(title="Report")
class ReportBody(TypedDict):
    """A report of an account's balance, with the `time`, `source` and `id` of the event that states it."""

    as_of: Annotated[Moment, Field(description="the moment at which the balance was this")]
    currency: Annotated[Currency, Field(description="of its amounts, maybe another one than the account's")]
    current: Annotated[
        Amount, Field(description="the balance, of a liability positive when owed, with exactly its currency's digits")
    ]
    available: Annotated[
        Amount | None, Field(description="what is available, with exactly its currency's digits, if that was said")
    ]
    difference: Annotated[
        Amount | None,
        Field(
            description="by how much it puts the account's worth above what the report before it and the transactions"
            " between the two lead to, with exactly its currency's digits; null for the first report"
        ),
    ]
    time: Annotated[Moment, Field(description="the `time` of the event: when its source said so")]
    source: Annotated[str, Field(description="the `source` of the event")]
    id: Annotated[str, Field(description="the `id` of the event")]


@with_config(title="Account")
class AccountBody(TypedDict):
    """An account; what is not known is null."""

    account_id: Annotated[str, Field(description="your own id for the account")]
    name: Annotated[str | None, Field(description="the account's own name, else the one of its latest link")]
    user_id: Annotated[str | None, Field(description="whose account it is")]
    kind: Annotated[AccountKind, Field(description="`asset` until something says otherwise")]
    currency: Annotated[Currency | None, Field(description="an ISO 4217 code; null until a fact names it")]
    currency_from: Annotated[CurrencySaidBy | None, Field(description="who says so")]
    worth: Annotated[
        Amount | None,
        Field(
            description="by all facts so far; an amount owed is negative, and 0 is that of an account in whose place"
            f" another one counts; {IN_ACCOUNTS}"
        ),
    ]
    closed: Annotated[bool, Field(description="it takes no new links")]
    replaced_by: Annotated[str | None, Field(description="the account that it is said to go on as")]
    replaces: Annotated[list[str], Field(description="the accounts that are said to go on as this one")]
    opened: Annotated[Day | None, Field(description="the day before which it is stated to be worth nothing")]
    counts_from: Annotated[Moment | None, Field(description="from when on it counts, if that has a beginning")]
    counts_until: Annotated[Moment | None, Field(description="when another account begins to count in its place")]
    note: Annotated[str | None, Field(description="why `replaced_by` has no effect, or that it does not count yet")]
    last_report: Annotated[ReportBody | None, Field(description="the last report; null if there is none")]
    last_fact: Annotated[
        LastFactBody | None, Field(description="the last report or booked transaction; null if there is none")
    ]
    connection: Annotated[
        ConnectionBody | None, Field(description="null if neither a registration nor an event names one")
    ]


def account_body(view: AccountView) -> AccountBody:
    """An account with its latest facts."""
    account = view.summary
    return {
        "account_id": account.account_id,
        "name": account.name,
        "user_id": account.user_id,
        "kind": account.kind,
        "currency": account.currency,
        "currency_from": view.currency_from,
        "worth": _amount(account.worth_minor, account.currency),
        "closed": account.closed,
        "replaced_by": account.replaced_by,
        "replaces": account.replaces,
        "opened": None if account.opened is None else day(account.opened),
        "counts_from": None if account.counts_from == NEVER else moment(account.counts_from),
        "counts_until": moment(account.counts_until),
        "note": view.note,
        "last_report": None if account.last_report is None else report_body(account.last_report),
        "last_fact": _last_fact_body(view),
        "connection": _connection_body(view),
    }


def report_body(report: ReportRow) -> ReportBody:
    """A report with its difference."""
    return {
        "as_of": moment(report.as_of),
        "currency": report.currency,
        "current": to_decimal(report.current_minor, report.currency),
        "available": _amount(report.available_minor, report.currency),
        "difference": _amount(report.difference_minor, report.currency),
        "time": moment(report.time),
        "source": report.source,
        "id": report.event_id,
    }


def _last_fact_body(view: AccountView) -> LastFactBody | None:
    fact = view.last_fact
    return None if fact is None else {"type": fact.type, "at": moment(fact.at), "time": moment(fact.time)}


def _connection_body(view: AccountView) -> ConnectionBody | None:
    connection = view.connection
    if connection is None:
        return None
    return {
        "provider": connection.provider,
        "id": connection.connection_id,
        "state": connection.state,
        "reason": connection.reason,
        "changed_at": moment(connection.changed_at),
    }


@with_config(title="DeadLetter")
class LetterBody(TypedDict):
    """A dead letter without its event; `shard` and `entry_id`, its place on the stream, identify it."""

    shard: Annotated[int, Field(description="its shard of the stream")]
    entry_id: Annotated[str, Field(description="its entry on that shard")]
    code: Annotated[DeadLetterCode, Field(description="why it could not take effect")]
    reason: Annotated[str, Field(description="the same, as text for a person")]
    state: Annotated[DeadLetterState, Field(description="what was done about it")]
    event_bytes: Annotated[int, Field(description="how long the event is, in bytes")]
    arrived_at: Annotated[Moment, Field(description="when the event was put onto the stream")]
    recorded_at: Annotated[Moment, Field(description="when it became a dead letter")]
    replayed_at: Annotated[Moment | None, Field(description="when it was last put onto the stream again")]
    discarded_at: Annotated[Moment | None, Field(description="when it was given up")]


@with_config(title="DeadLetterWithEvent")
class WholeLetterBody(LetterBody):
    """A dead letter with its event: `event` if that is JSON, digit by digit as it came, else `event_base64`."""

    event: Annotated[NotRequired[Any], Field(description="the event, if it is JSON")]
    event_base64: Annotated[NotRequired[str], Field(description="its bytes in base64, if it is not")]


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
        body["event"] = Raw(event)
    return body
