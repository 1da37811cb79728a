"""The catalogue of messages: what each type follows from, and an example of it."""

from typing import Any, NamedTuple

from api.schemas.messages import (
    AccountRelinkSuspectedMessage,
    DeadLetterWaitingMessage,
    EndpointDisabledMessage,
    EndpointPingMessage,
    GoalChangedMessage,
    GoalCompletedMessage,
    GoalCompletedWithdrawnMessage,
    GoalCreatedMessage,
    GoalReachedMessage,
    GoalReachedWithdrawnMessage,
    MilestoneReachedMessage,
    MilestoneReachedWithdrawnMessage,
    RefreshRequestedMessage,
)
from core.messages.types import MessageType


class CatalogueEntry(NamedTuple):
    """A type in the catalogue: its body, a summary, what it follows from, and an example of the body."""

    body: Any
    summary: str
    follows_from: str
    example: dict[str, Any]


_AT = "2026-03-10T09:00:00Z"


def _goal(**others: object) -> dict[str, object]:
    return {
        "goal_id": "goal_019c0f6e9a7e4b1d8c52",
        "user_id": "user_123",
        "name": "Trip",
        "type": "savings",
        "current_amount": 2510.5,
        "target_amount": 5000.0,
        "currency": "USD",
        **others,
    }


_EXAMPLES: dict[MessageType, dict[str, object]] = {
    MessageType.GOAL_CREATED: _goal(current_amount=0.0, status="active", deadline="2026-11-09"),
    MessageType.GOAL_CHANGED: _goal(status="paused", deadline="2026-11-09", changed=["status", "target_amount"]),
    MessageType.GOAL_REACHED: _goal(current_amount=5000.0, reached_at=_AT),
    MessageType.GOAL_REACHED_WITHDRAWN: _goal(),
    MessageType.GOAL_COMPLETED: _goal(current_amount=5000.0, completed_at=_AT, automatically=True),
    MessageType.GOAL_COMPLETED_WITHDRAWN: _goal(),
    MessageType.MILESTONE_REACHED: _goal(milestone_amount=2500.0, description="Half", reached_at=_AT),
    MessageType.MILESTONE_REACHED_WITHDRAWN: _goal(current_amount=2410.5, milestone_amount=2500.0),
    MessageType.REFRESH_REQUESTED: {
        "request_id": "refresh_68e73d6a6617e9cec10277cfa729e948",
        "provider": "plaid",
        "subject": "item_1",
        "kind": "transactions",
        "reason": "SYNC_UPDATES_AVAILABLE",
        "requested_at": _AT,
        "count": 3,
    },
    MessageType.DEAD_LETTER_WAITING: {
        "waiting": 3,
        "codes": {"bad_amount": 1, "missing_field": 2},
        "oldest_at": "2026-03-10T08:59:12Z",
    },
    MessageType.ACCOUNT_RELINK_SUSPECTED: {
        "old_account_id": "savings_001",
        "new_account_id": "savings_002",
        "user_id": "user_123",
        "kind": "asset",
        "currency": "USD",
        "old_balance": 1000.0,
        "old_as_of": "2026-03-08T09:00:00Z",
        "new_balance": 1010.0,
        "new_as_of": "2026-03-09T08:00:00Z",
        "old_last_time": "2026-03-08T09:00:00Z",
        "new_first_time": "2026-03-09T08:00:00Z",
        "why": "silent",
    },
    MessageType.ENDPOINT_PING: {"endpoint_id": "ep_4fK2mZ8vQxT1", "description": "Production"},
    MessageType.ENDPOINT_DISABLED: {
        "endpoint_id": "ep_4fK2mZ8vQxT1",
        "url": "https://example.com/hooks/milepost",
        "reason": "failing",
        "failing_since": "2026-03-07T09:00:00Z",
    },
}


_ABOUT: dict[MessageType, tuple[Any, str, str]] = {
    MessageType.GOAL_CREATED: (GoalCreatedMessage, "A goal was created", "`POST /goals`."),
    MessageType.GOAL_CHANGED: (
        GoalChangedMessage,
        "A goal was changed",
        "A request that changes the target, the deadline, the status or the funding; several at once are one message.",
    ),
    MessageType.GOAL_REACHED: (
        GoalReachedMessage,
        "A goal has reached its target",
        "The goal's amount comes to its target.",
    ),
    MessageType.GOAL_REACHED_WITHDRAWN: (
        GoalReachedWithdrawnMessage,
        "A goal is not at its target",
        "The facts were corrected, or the target was changed: the goal is not at its target after all.",
    ),
    MessageType.GOAL_COMPLETED: (
        GoalCompletedMessage,
        "A goal was completed",
        "A request, or the close of a day if the goal has `auto_complete`.",
    ),
    MessageType.GOAL_COMPLETED_WITHDRAWN: (
        GoalCompletedWithdrawnMessage,
        "A goal is not completed",
        "A request reopened the goal, or the facts of the day that completed it were corrected.",
    ),
    MessageType.MILESTONE_REACHED: (
        MilestoneReachedMessage,
        "A milestone was reached",
        "The goal's amount comes to a milestone, or the milestone is added when it is there already.",
    ),
    MessageType.MILESTONE_REACHED_WITHDRAWN: (
        MilestoneReachedWithdrawnMessage,
        "A milestone is not reached",
        "The facts were corrected, or another milestone has this amount now; if that is reached, a new"
        " `milestone.reached` follows.",
    ),
    MessageType.REFRESH_REQUESTED: (
        RefreshRequestedMessage,
        "Something is to be pulled",
        "A provider's webhook that asks to pull something, each time. Of a verification key there is one message while"
        " it is open, and none while twenty are.",
    ),
    MessageType.DEAD_LETTER_WAITING: (
        DeadLetterWaitingMessage,
        "Dead letters wait",
        "Dead letters that wait for someone to decide, within a minute; none follows until no dead letter waits any"
        " more.",
    ),
    MessageType.ACCOUNT_RELINK_SUSPECTED: (
        AccountRelinkSuspectedMessage,
        "An account probably goes on under a new id",
        "Two accounts that `GET /relinks` lists, looked for each hour; once for each pair, and not if somebody accepted"
        " or undid it before.",
    ),
    MessageType.ENDPOINT_PING: (EndpointPingMessage, "A test", "A request for a test of the endpoint."),
    MessageType.ENDPOINT_DISABLED: (
        EndpointDisabledMessage,
        "Nothing is sent to an endpoint any more",
        "An endpoint that failed for three days, or that answered 410.",
    ),
}
CATALOGUE: dict[MessageType, CatalogueEntry] = {
    type: CatalogueEntry(*about, {"type": str(type), "timestamp": _AT, "data": _EXAMPLES[type]})
    for type, about in _ABOUT.items()
}
"""Every type, in the order of docs/messages.md."""
