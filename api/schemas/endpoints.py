"""The bodies of endpoints: what callers send, and what they get."""

from typing import Annotated, NotRequired

from pydantic import ConfigDict, Field, StrictBool, StrictInt, WithJsonSchema, with_config
from typing_extensions import TypeAliasType, TypedDict

from api.bodies import Body
from api.schemas.given import GivenMoment
from api.schemas.rendering import Moment, moment
from api.schemas.values import id_schema, text_schema
from core.delivery.addresses import URL_LONGEST
from core.goals.goal import NAME_LONGEST
from core.services.endpoints import CHOSEN_TYPES, RATE_MOST, EndpointChanges, EndpointDraft, EndpointView
from core.store.deliveries import DeliveryStatus, ListedAttempt
from core.store.endpoints import DisabledReason

_Url = Annotated[
    str,
    WithJsonSchema(
        {
            "type": "string",
            "format": "uri",
            "maxLength": URL_LONGEST,
            "pattern": "^[hH][tT][tT][pP][sS]?://[!-~]+$",
            "examples": ["https://app.example/milepost"],
        }
    ),
]
_Types = Annotated[
    list[str],
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string", "enum": [str(each) for each in CHOSEN_TYPES]},
            "minItems": 1,
            "uniqueItems": True,
            "examples": [["milestone.reached", "goal.reached"]],
        }
    ),
]
_Description = Annotated[str, WithJsonSchema(text_schema(NAME_LONGEST, shortest=1))]
_Rate = Annotated[StrictInt, WithJsonSchema({"type": "integer", "minimum": 1, "maximum": RATE_MOST})]
_Secret = Annotated[
    str,
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^whsec_[A-Za-z0-9+/]{32,}={0,2}$",
            "examples": ["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"],
        }
    ),
]
_MessageId = Annotated[str, WithJsonSchema(id_schema("milestone_reached:goal_019c0000:250000:1"))]
_ABOUT_URL = "where messages are posted: https://, without a user and a password"
_ABOUT_TYPES = "which types of messages it takes; null: all"
_ABOUT_RATE = "at most so many attempts a second; null: any number"
_ABOUT_SECRET = (
    "a secret of your own, `whsec_` and 24 to 64 bytes in base64, for one who moves here; without it one is made"
)
DisabledBy = TypeAliasType(
    "DisabledBy",
    Annotated[
        str,
        WithJsonSchema(
            {
                "type": "string",
                "enum": [str(each) for each in DisabledReason],
                "description": "Why nothing is sent: a `request` said so, it answered 410 (`gone`), or it had been"
                " `failing` for three days",
            }
        ),
    ],
)
DeliveryState = TypeAliasType(
    "DeliveryState",
    Annotated[
        str,
        WithJsonSchema(
            {
                "type": "string",
                "enum": [str(each) for each in DeliveryStatus],
                "description": "What became of a delivery: `pending` is tried again, `failed` can be resent",
            }
        ),
    ],
)


class NewEndpoint(Body):
    """An endpoint to be made."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"url": "https://app.example/milepost", "types": ["milestone.reached", "goal.reached"]}
        }
    )

    url: Annotated[_Url, Field(description=_ABOUT_URL)]
    types: Annotated[_Types | None, Field(description=_ABOUT_TYPES)] = None
    description: Annotated[_Description | None, Field(description="a text for you")] = None
    rate: Annotated[_Rate | None, Field(description=_ABOUT_RATE)] = None
    enabled: Annotated[StrictBool, Field(description="whether messages are sent to it")] = True
    secret: Annotated[_Secret | None, Field(description=_ABOUT_SECRET)] = None

    def draft(self) -> EndpointDraft:
        """What core needs to make the endpoint."""
        return EndpointDraft(self.url, self.types, self.description, self.rate, self.enabled, self.secret)


class EndpointPatch(Body):
    """Changes of an endpoint: what is left out stays as it is, and null clears what may be null."""

    model_config = ConfigDict(title="EndpointChanges", json_schema_extra={"example": {"enabled": True}})

    url: Annotated[_Url, Field(description=_ABOUT_URL)] = Field(default_factory=str)
    types: Annotated[_Types | None, Field(description=_ABOUT_TYPES)] = None
    description: Annotated[_Description | None, Field(description="a text for you")] = None
    rate: Annotated[_Rate | None, Field(description=_ABOUT_RATE)] = None
    enabled: Annotated[
        StrictBool,
        Field(
            description="whether messages are sent to it; what is pending when it is disabled has failed, and what it"
            " misses meanwhile can be recovered"
        ),
    ] = Field(default_factory=bool)

    def changes(self) -> EndpointChanges:
        """The changes asked for; a field that was left out is UNSET, whatever its default here."""
        return EndpointChanges(**{name: getattr(self, name) for name in self.model_fields_set})


class NewSecret(Body):
    """A new secret for an endpoint."""

    model_config = ConfigDict(json_schema_extra={"example": {"overlap_hours": 24}})

    secret: Annotated[_Secret | None, Field(description=_ABOUT_SECRET)] = None
    overlap_hours: Annotated[
        Annotated[StrictInt, WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 720})],
        Field(description="how long the old secrets sign too"),
    ] = 24


class ResentMessage(Body):
    """The message that shall be sent."""

    model_config = ConfigDict(json_schema_extra={"example": {"message_id": "milestone_reached:goal_019c0000:250000:1"}})

    message_id: Annotated[_MessageId, Field(description="the `id` of an announced message")]


class RecoveredTime(Body):
    """The time whose messages shall be sent."""

    model_config = ConfigDict(json_schema_extra={"example": {"since": "2026-03-10T12:00:00Z"}})

    since: Annotated[GivenMoment, Field(description="what was announced from then on, within the last 90 days")]
    until: Annotated[GivenMoment | None, Field(description="and before this; now unless given")] = None


@with_config(title="Endpoint")
class EndpointBody(TypedDict):
    """An address to which messages are delivered."""

    id: Annotated[str, Field(description="given by Milepost")]
    url: Annotated[str, Field(description="where messages are posted")]
    description: Annotated[str | None, Field(description="a text for you")]
    types: Annotated[list[str] | None, Field(description=_ABOUT_TYPES)]
    rate: Annotated[int | None, Field(description=_ABOUT_RATE)]
    enabled: Annotated[bool, Field(description="whether messages are sent to it")]
    disabled_reason: Annotated[DisabledBy | None, Field(description="why it is disabled, if it is")]
    disabled_at: Annotated[Moment | None, Field(description="since when it is disabled")]
    failing_since: Annotated[
        Moment | None, Field(description="the first failed attempt since the last one that succeeded; else null")
    ]
    pending: Annotated[int, Field(description="how many messages wait to be sent, or to be sent again")]
    secrets: Annotated[int, Field(description="how many secrets sign its messages: two or more after a rotation")]
    created_at: Annotated[Moment, Field(description="when it was made")]
    changed_at: Annotated[Moment, Field(description="when a request changed it last")]
    secret: Annotated[
        NotRequired[str],
        Field(description="the secret, only when it was made by this request: it cannot be read again"),
    ]


@with_config(title="QueuedMessage")
class QueuedBody(TypedDict):
    """A message that will be sent in moments."""

    message_id: Annotated[str, Field(description="its `id`, by which its attempts are found")]


@with_config(title="Recovered")
class RecoveredBody(TypedDict):
    """What will be sent once more."""

    messages: Annotated[int, Field(description="how many messages; if it is 100,000 there may be more: ask again")]


@with_config(title="DeliveryAttempt")
class AttemptBody(TypedDict):
    """One attempt to deliver a message."""

    message_id: Annotated[str, Field(description="the message's `id`")]
    type: Annotated[str | None, Field(description="the message's type")]
    attempt: Annotated[int, Field(description="which attempt of this message at this endpoint it was")]
    at: Annotated[Moment, Field(description="when it began")]
    status: Annotated[int | None, Field(description="the status of the answer; null: there was none")]
    error: Annotated[str | None, Field(description="why there was no answer, or no whole one")]
    latency_ms: Annotated[int, Field(description="how long it took")]
    answer: Annotated[str, Field(description="the first 1,024 bytes of the answer's body, as text")]
    delivery: Annotated[DeliveryState, Field(description="what became of the message at this endpoint by now")]
    next_at: Annotated[Moment | None, Field(description="when it is tried again, if it is pending")]


def endpoint_body(view: EndpointView, secret: str | None = None) -> EndpointBody:
    """An endpoint as it is shown; `secret` if one was made now."""
    each = view.endpoint
    body: EndpointBody = {
        "id": each.endpoint_id,
        "url": each.url,
        "description": each.description,
        "types": each.types,
        "rate": each.rate,
        "enabled": each.enabled,
        "disabled_reason": each.disabled_reason,
        "disabled_at": None if each.disabled_at is None else moment(each.disabled_at),
        "failing_since": None if each.failing_since is None else moment(each.failing_since),
        "pending": view.pending,
        "secrets": each.secrets,
        "created_at": moment(each.created_at),
        "changed_at": moment(each.changed_at),
    }
    return body if secret is None else {**body, "secret": secret}


def attempt_body(each: ListedAttempt) -> AttemptBody:
    """An attempt as it is shown."""
    return {
        "message_id": each.message_id,
        "type": each.type,
        "attempt": each.attempt,
        "at": moment(each.at),
        "status": each.status,
        "error": each.error,
        "latency_ms": each.latency_ms,
        "answer": each.answer,
        "delivery": each.delivery,
        "next_at": None if each.next_at is None else moment(each.next_at),
    }
