"""The messages as receivers get them: the body of each type."""

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema, with_config
from typing_extensions import TypeAliasType, TypedDict

from api.schemas.relinks import RelinkBody
from api.schemas.rendering import Amount, Moment
from api.schemas.values import Currency, DisabledReason
from core.goals.goal import GoalStatus, GoalType
from core.messages.types import MessageType

HappenedAt = Annotated[Moment, Field(description="when it happened")]
Deadline = Annotated[
    str | None,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date-time"},
                {"type": "string", "format": "date"},
                {"type": "null"},
            ],
            "examples": ["2026-11-09"],
        }
    ),
    Field(description="a moment, or the last day as a date"),
]
DeadLetterCounts = TypeAliasType(
    "DeadLetterCounts",
    Annotated[
        dict[str, int],
        WithJsonSchema(
            {
                "type": "object",
                "additionalProperties": {"type": "integer"},
                "description": "How many dead letters wait, by their code",
            }
        ),
    ],
)


class _GoalData(TypedDict):
    goal_id: Annotated[str, Field(description="the goal")]
    user_id: Annotated[str, Field(description="whose goal it is")]
    name: Annotated[str, Field(description="the goal's name")]
    type: Annotated[GoalType, Field(description="what the goal's money is for")]
    current_amount: Annotated[Amount, Field(description="with exactly the currency's digits")]
    target_amount: Annotated[Amount, Field(description="with exactly the currency's digits")]
    currency: Annotated[Currency, Field(description="the goal's: an ISO 4217 code")]


class GoalCreatedData(_GoalData):
    """A goal as it was created."""

    status: Annotated[GoalStatus, Field(description="the status")]
    deadline: Deadline


class GoalChangedData(_GoalData):
    """A goal after a request, and what the request changed."""

    status: Annotated[GoalStatus, Field(description="the status since")]
    deadline: Deadline
    changed: Annotated[
        list[Literal["deadline", "funding", "status", "target_amount"]], Field(description="what the request changed")
    ]


class GoalReachedData(_GoalData):
    """A goal that came to its target."""

    reached_at: Annotated[Moment, Field(description="when")]


class GoalReachedWithdrawnData(_GoalData):
    """A goal that is not at its target after all."""


class GoalCompletedData(_GoalData):
    """A goal that was completed."""

    completed_at: Annotated[Moment, Field(description="what is dated later counts nothing")]
    automatically: Annotated[bool, Field(description="whether by the close of a day; else by a request")]


class GoalCompletedWithdrawnData(_GoalData):
    """A goal that is active again."""


class MilestoneReachedData(_GoalData):
    """A goal, and the milestone that it came to."""

    milestone_amount: Annotated[Amount, Field(description="the amount that was reached")]
    description: Annotated[str | None, Field(description="the milestone's own text")]
    reached_at: Annotated[Moment, Field(description="when")]


class MilestoneReachedWithdrawnData(_GoalData):
    """A goal, and the milestone that it is not at after all."""

    milestone_amount: Annotated[Amount, Field(description="the amount that is not reached")]


class RefreshRequestedData(TypedDict):
    """Something to be pulled from a provider."""

    request_id: Annotated[str, Field(description="the `id` of the refresh request")]
    provider: Annotated[str, Field(description="the provider's name, such as plaid")]
    subject: Annotated[str, Field(description="the provider's item, enrollment, member, account, or key id")]
    kind: Annotated[str, Field(description="what to pull: transactions, balances, accounts, verification_key, ...")]
    reason: Annotated[str, Field(description="the provider's word for it")]
    requested_at: Annotated[Moment, Field(description="when it was asked for")]
    count: Annotated[int, Field(description="how often it was asked for; give it back when it is done")]


class DeadLetterWaitingData(TypedDict):
    """The dead letters that wait for someone to decide."""

    waiting: Annotated[int, Field(description="how many")]
    codes: Annotated[DeadLetterCounts, Field(description="how many by code, as dead letters have it")]
    oldest_at: Annotated[Moment, Field(description="when the first of them was refused")]


@with_config(title="AccountRelinkSuspectedData")
class AccountRelinkSuspectedData(RelinkBody):
    """Two accounts of one user, kind and currency that are probably one; as GET /relinks lists them."""


class EndpointPingData(TypedDict):
    """The endpoint that is tested."""

    endpoint_id: Annotated[str, Field(description="the endpoint that the test is for")]
    description: Annotated[str | None, Field(description="the endpoint's own text")]


class EndpointDisabledData(TypedDict):
    """An endpoint to which nothing is sent any more."""

    endpoint_id: Annotated[str, Field(description="the endpoint")]
    url: Annotated[str, Field(description="its address")]
    reason: Annotated[DisabledReason, Field(description="it failed for three days, or answered 410")]
    failing_since: Annotated[Moment | None, Field(description="since when it has failed; null if it has not")]


class GoalCreatedMessage(TypedDict):
    """A goal was created."""

    type: Annotated[Literal[MessageType.GOAL_CREATED], Field(description="what the message says")]
    timestamp: HappenedAt
    data: Annotated[GoalCreatedData, Field(description="what it is about")]


class GoalChangedMessage(TypedDict):
    """A goal was changed."""

    type: Annotated[Literal[MessageType.GOAL_CHANGED], Field(description="what the message says")]
    timestamp: HappenedAt
    data: Annotated[GoalChangedData, Field(description="what it is about")]


class GoalReachedMessage(TypedDict):
    """A goal has reached its target."""

    type: Annotated[Literal[MessageType.GOAL_REACHED], Field(description="what the message says")]
    timestamp: HappenedAt
    data: Annotated[GoalReachedData, Field(description="what it is about")]


class GoalReachedWithdrawnMessage(TypedDict):
    """A goal is not at its target."""

    type: Annotated[Literal[MessageType.GOAL_REACHED_WITHDRAWN], Field(description="what the message says")]
    timestamp: HappenedAt
    data: Annotated[GoalReachedWithdrawnData, Field(description="what it is about")]


class GoalCompletedMessage(TypedDict):
    """A goal was completed."""

    type: Annotated[Literal[MessageType.GOAL_COMPLETED], Field(description="what the message says")]
    timestamp: HappenedAt
    data: Annotated[GoalCompletedData, Field(description="what it is about")]


class GoalCompletedWithdrawnMessage(TypedDict):
    """A goal is not completed."""

    type: Annotated[Literal[MessageType.GOAL_COMPLETED_WITHDRAWN], Field(description="what the message says")]
    timestamp: HappenedAt
    data: Annotated[GoalCompletedWithdrawnData, Field(description="what it is about")]


class MilestoneReachedMessage(TypedDict):
    """A milestone was reached."""

    type: Annotated[Literal[MessageType.MILESTONE_REACHED], Field(description="what the message says")]
    timestamp: HappenedAt
    data: Annotated[MilestoneReachedData, Field(description="what it is about")]


class MilestoneReachedWithdrawnMessage(TypedDict):
    """A milestone is not reached."""

    type: Annotated[Literal[MessageType.MILESTONE_REACHED_WITHDRAWN], Field(description="what the message says")]
    timestamp: HappenedAt
    data: Annotated[MilestoneReachedWithdrawnData, Field(description="what it is about")]


class RefreshRequestedMessage(TypedDict):
    """Something is to be pulled."""

    type: Annotated[Literal[MessageType.REFRESH_REQUESTED], Field(description="what the message says")]
    timestamp: HappenedAt
    data: Annotated[RefreshRequestedData, Field(description="what it is about")]


class DeadLetterWaitingMessage(TypedDict):
    """Dead letters wait."""

    type: Annotated[Literal[MessageType.DEAD_LETTER_WAITING], Field(description="what the message says")]
    timestamp: HappenedAt
    data: Annotated[DeadLetterWaitingData, Field(description="what it is about")]


class AccountRelinkSuspectedMessage(TypedDict):
    """An account probably goes on under a new id."""

    type: Annotated[Literal[MessageType.ACCOUNT_RELINK_SUSPECTED], Field(description="what the message says")]
    timestamp: HappenedAt
    data: Annotated[AccountRelinkSuspectedData, Field(description="what it is about")]


class EndpointPingMessage(TypedDict):
    """A test."""

    type: Annotated[Literal[MessageType.ENDPOINT_PING], Field(description="what the message says")]
    timestamp: HappenedAt
    data: Annotated[EndpointPingData, Field(description="what it is about")]


class EndpointDisabledMessage(TypedDict):
    """Nothing is sent to an endpoint any more."""

    type: Annotated[Literal[MessageType.ENDPOINT_DISABLED], Field(description="what the message says")]
    timestamp: HappenedAt
    data: Annotated[EndpointDisabledData, Field(description="what it is about")]


# A type that has all fields of another one comes before it, for readers that take the first that fits.
MessageData = TypeAliasType(
    "MessageData",
    Annotated[
        GoalChangedData
        | GoalCreatedData
        | GoalCompletedData
        | MilestoneReachedData
        | GoalReachedData
        | MilestoneReachedWithdrawnData
        | GoalReachedWithdrawnData
        | GoalCompletedWithdrawnData
        | RefreshRequestedData
        | DeadLetterWaitingData
        | AccountRelinkSuspectedData
        | EndpointDisabledData
        | EndpointPingData,
        Field(description="What a message is about, by its `type`"),
    ],
)
