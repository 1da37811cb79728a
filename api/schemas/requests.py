"""The bodies that callers send, and how they become the drafts of core, which checks their values."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, PlainValidator, StrictBool, StrictInt, WithJsonSchema
from pydantic_core import PydanticKnownError

from api.bodies import Body
from api.schemas.given import AccountId, Day, Due, MomentOrDay, Number, Percent
from api.schemas.values import AccountKind, Currency, Id, Metadata, Sign, UserId, id_schema, text_schema
from core.errors import InvalidField
from core.goals.details import IMAGE_URL_LONGEST, METADATA_DEEPEST, METADATA_LONGEST_BYTES, POSITION_MOST
from core.goals.goal import DESCRIPTION_LONGEST, NAME_LONGEST, GoalStatus, GoalType, Tracking, can_start_as
from core.services.dead_letters import REASON_LONGEST
from core.services.inputs import GoalChanges, GoalDraft, LinkDraft, MilestoneChanges, MilestoneDraft
from core.services.milestones import MILESTONES_MOST
from core.services.provider_accounts import AccountDraft
from core.services.relinks import RelinkDraft

_FIRST_STATUSES = [status.value for status in GoalStatus if can_start_as(status)]


def _first_status(value: Any) -> GoalStatus:
    """Any status: core refuses those that a goal cannot start in. What is no status is refused without naming these."""
    try:
        return GoalStatus(value)
    except ValueError:
        raise PydanticKnownError("enum", {"expected": " or ".join(map(repr, _FIRST_STATUSES))}) from None


FirstStatus = Annotated[
    GoalStatus, PlainValidator(_first_status), WithJsonSchema({"type": "string", "enum": _FIRST_STATUSES})
]
Name = Annotated[str, WithJsonSchema(text_schema(NAME_LONGEST, shortest=1))]
Description = Annotated[str, WithJsonSchema(text_schema(DESCRIPTION_LONGEST))]
_AS_DUE = "a time; a date, or a midnight without offset, for that whole local day"
_IN_CURRENCY = "in the goal's currency, with no more decimals than it has"


ExternalId = Annotated[
    Annotated[str, WithJsonSchema(id_schema("house-1"))] | None,
    Field(description="your own id for it; no other goal of the user has the same"),
]
GivenMetadata = Annotated[
    Metadata | None,
    Field(
        description=f"a JSON object of your own, at most {METADATA_LONGEST_BYTES:,} bytes and nested at most"
        f" {METADATA_DEEPEST} deep; it replaces the one before"
    ),
]
Position = Annotated[
    Annotated[StrictInt, WithJsonSchema({"type": "integer", "minimum": 0, "maximum": POSITION_MOST})] | None,
    Field(description="where you show it; lists are in order of creation"),
]
ImageUrl = Annotated[
    Annotated[
        str,
        WithJsonSchema(
            {
                "type": "string",
                "format": "uri",
                "maxLength": IMAGE_URL_LONGEST,
                "pattern": "^[hH][tT][tT][pP][sS]://[!-~]+$",
                "examples": ["https://example.com/house.png"],
            }
        ),
    ]
    | None,
    Field(description="an https:// URL in ASCII, without a user and a password"),
]


class NewMilestone(Body):
    """A milestone to be added."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "amount": 5000.00,
                "description": "Halfway to emergency fund",
                "target_date": "2025-12-31T00:00:00",
            }
        }
    )

    amount: Annotated[
        Number,
        Field(
            description=f"the goal's amount at which it is reached, {_IN_CURRENCY}; above 0 and at most the target, of"
            " a debt from its start down to its end, of a net worth also below 0; each once in a goal"
        ),
    ]
    description: Annotated[Description | None, Field(description="a text for the user")] = None
    target_date: Annotated[Due | None, Field(description=f"when it should be reached: {_AS_DUE}")] = None

    def draft(self) -> MilestoneDraft:
        """What core needs to add the milestone."""
        return MilestoneDraft(self.amount, self.description, self.target_date)


class NewGoal(Body):
    """A goal to be created."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "user_id": "user_123",
                "name": "Emergency Fund",
                "type": "savings",
                "target_amount": 10000.00,
                "current_amount": 0.00,
                "deadline": "2026-11-09T00:00:00",
                "description": "Build 6-month emergency fund",
                "status": "active",
            }
        }
    )

    second_names: ClassVar[Mapping[str, str]] = {"goal_type": "type"}
    nested: ClassVar[Mapping[str, type[Body]]] = {"milestones": NewMilestone}

    user_id: Annotated[UserId, Field(description="whose goal it is: your own id for the user")]
    name: Annotated[Name, Field(description="a text for the user; white space around it is removed")]
    type: Annotated[GoalType, Field(description="what the money is for; also taken as `goal_type`")]
    target_amount: Annotated[
        Number,
        Field(
            description=f"where the goal should end, {_IN_CURRENCY}; above 0, of a debt also 0, of a net worth also"
            " below"
        ),
    ]
    current_amount: Annotated[
        Number | None,
        Field(
            description=f"where the goal is, {_IN_CURRENCY}; not below 0, except for net_worth and income; unless"
            " given, 0, and of a debt its target"
        ),
    ] = None
    currency: Annotated[
        Currency, Field(description="of all amounts of the goal: an ISO 4217 code; unless given, USD")
    ] = "USD"
    deadline: Annotated[Due | None, Field(description=f"when the target should be reached: {_AS_DUE}")] = None
    description: Annotated[Description | None, Field(description="a text for the user")] = None
    status: Annotated[FirstStatus, Field(description="active or paused; unless given, active")] = GoalStatus.ACTIVE
    tracking: Annotated[
        Tracking | None,
        Field(
            description="how the amount follows from accounts; unless given, `inflow` for the type income, `net_worth`"
            " for net_worth, and `change` for all others"
        ),
    ] = None
    start_date: Annotated[
        Day | None,
        Field(description="the day of the first snapshot: not before 1900 and not after today; unless given, today"),
    ] = None
    auto_complete: Annotated[
        StrictBool, Field(description="whether it is completed by itself once it is reached; unless given, it is not")
    ] = False
    external_id: ExternalId = None
    metadata: GivenMetadata = None
    position: Position = None
    image_url: ImageUrl = None
    milestones: list[NewMilestone] = Field(
        default_factory=list, max_length=MILESTONES_MOST, description="milestones that the goal has from the start"
    )

    def draft(self) -> GoalDraft:
        """What core needs to create the goal."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return GoalDraft(**values | {"milestones": [milestone.draft() for milestone in self.milestones]})


class GoalPatch(Body):
    """Changes of a goal: what is left out stays as it is, and null clears what may be null."""

    model_config = ConfigDict(
        title="GoalChanges", json_schema_extra={"example": {"current_amount": 3500.00, "status": "active"}}
    )
    fixed: ClassVar[Collection[str]] = frozenset(
        {"user_id", "type", "goal_type", "currency", "tracking", "start_date", "auto_complete"}
    )

    # Factories, since the OpenAPI text would show a plain default, and a field that is left out stays as it is.
    name: Annotated[Name, Field(description="a text for the user; white space around it is removed")] = Field(
        default_factory=str
    )
    description: Annotated[Description | None, Field(description="a text for the user")] = None
    target_amount: Annotated[
        Number, Field(description=f"where the goal should end, {_IN_CURRENCY}; not of a goal that is final")
    ] = Field(default_factory=int)
    current_amount: Annotated[
        Number,
        Field(description=f"where the goal is now, {_IN_CURRENCY}; not of a goal that is final or follows balances"),
    ] = Field(default_factory=int)
    deadline: Annotated[Due | None, Field(description=f"when the target should be reached: {_AS_DUE}")] = None
    status: Annotated[GoalStatus, Field(description="`completed` and `abandoned` are final: reopen the goal")] = Field(
        default_factory=lambda: GoalStatus.ACTIVE
    )
    external_id: ExternalId = None
    metadata: GivenMetadata = None
    position: Position = None
    image_url: ImageUrl = None
    version: StrictInt = Field(default_factory=int, description="If the goal is at another version, it stays as it is")

    def changes(self) -> GoalChanges:
        """The changes asked for; a field that was left out is UNSET, whatever its default here."""
        return GoalChanges(**{name: getattr(self, name) for name in self.model_fields_set - {"version"}})

    @property
    def expected_version(self) -> int | None:
        """The version that the changes are meant for; None for any."""
        return self.version if "version" in self.model_fields_set else None


class MilestonePatch(Body):
    """Changes of a milestone: what is left out stays as it is, and null clears what may be null."""

    model_config = ConfigDict(
        title="MilestoneChanges", json_schema_extra={"example": {"amount": 6000.00, "target_date": "2026-06-30"}}
    )

    amount: Annotated[
        Number, Field(description=f"the goal's amount at which it is reached, {_IN_CURRENCY}, as of a new milestone")
    ] = Field(default_factory=int)
    description: Annotated[Description | None, Field(description="a text for the user")] = None
    target_date: Annotated[Due | None, Field(description=f"when it should be reached: {_AS_DUE}")] = None

    def changes(self) -> MilestoneChanges:
        """The changes asked for; a field that was left out is UNSET, whatever its default here."""
        return MilestoneChanges(**{name: getattr(self, name) for name in self.model_fields_set})


class NewLink(Body):
    """An account of which a share, or all, shall count for a goal."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"account_id": "savings_001", "account_name": "High Yield Savings", "allocation_percent": 60.0}
        }
    )

    account_id: Annotated[
        AccountId,
        Field(description="your own id for the account, which need not exist yet; no part between slashes is . or .."),
    ]
    account_name: Annotated[Name | None, Field(description="a text for the user")] = None
    allocation_percent: Annotated[
        Percent | None,
        Field(
            description="the share that counts, in percent, with at most four decimals; all shares of a goal sum to at"
            " most 100; needed unless `whole`"
        ),
    ] = None
    from_: Annotated[
        MomentOrDay | None,
        Field(
            alias="from",
            description="from when on the account counts: a time, or a date for the whole of that local day; not before"
            " 1900 and not in the future; unless given, now",
        ),
    ] = None
    whole: Annotated[
        StrictBool,
        Field(description="all of it counts, outside the 100% and without `allocation_percent`; unless given, a share"),
    ] = False

    def draft(self) -> LinkDraft:
        """What core needs to link the account."""
        percent = self.allocation_percent
        if percent is None and not self.whole:
            raise InvalidField("allocation_percent", "is needed, unless the account counts whole")
        return LinkDraft(
            account_id=self.account_id,
            account_name=self.account_name,
            allocation_percent=100 if percent is None else percent,
            from_=self.from_,
            whole=self.whole,
        )


class Allocation(Body):
    """Another share of an account."""

    model_config = ConfigDict(title="AllocationChange", json_schema_extra={"example": {"allocation_percent": 70.0}})
    second_names: ClassVar[Mapping[str, str]] = {"new_allocation_percent": "allocation_percent"}

    allocation_percent: Annotated[
        Percent,
        Field(
            description="the share that counts, in percent, with at most four decimals; all shares of a goal sum to at"
            " most 100; also taken as `new_allocation_percent`"
        ),
    ]
    correct_from: Annotated[
        Day | None,
        Field(
            description="the local day since which the share was another: from the goal's start date to today; unless"
            " given, now"
        ),
    ] = None


class DiscardReason(Body):
    """Why a dead letter is given up."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "a test of the bank's"}})

    reason: Annotated[
        Annotated[str, WithJsonSchema(text_schema(REASON_LONGEST, shortest=1))],
        Field(description="why it is given up, for the audit"),
    ]


class NewProviderAccount(Body):
    """What is registered for a provider's account; what is left out, or null, is not registered."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"account_id": "savings_001", "user_id": "user_123", "currency": "USD"}}
    )

    account_id: Annotated[
        AccountId | None,
        Field(
            description="your own id for it, of which no part between slashes is . or ..; unless given, the provider's"
        ),
    ] = None
    user_id: Annotated[UserId | None, Field(description="whose account it is: your own id for the user")] = None
    kind: Annotated[AccountKind | None, Field(description="asset or liability, where the provider leaves it out")] = (
        None
    )
    currency: Annotated[Currency | None, Field(description="where the provider leaves it out, as Teller does")] = None
    since: Annotated[Day | None, Field(description="records of earlier days came under its former id")] = None
    connection: Annotated[
        Annotated[str, WithJsonSchema(id_schema("item_1"))] | None,
        Field(description="the item, enrollment or member that it belongs to"),
    ] = None
    sign: Annotated[Sign | None, Field(description="whether the bank turns signs; unless given, `as_given`")] = None

    def draft(self) -> AccountDraft:
        """What core needs to register the account."""
        return AccountDraft(**{name: getattr(self, name) for name in type(self).model_fields})


class NewRelink(Body):
    """Two accounts of which one goes on as the other."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"old_account_id": "savings_001", "new_account_id": "savings_002"}}
    )

    old_account_id: Annotated[Id, Field(description="the account that goes on under another id")]
    new_account_id: Annotated[Id, Field(description="the account that it goes on as")]
    from_: Annotated[
        Day | None,
        Field(
            alias="from",
            description="the local day from which on the new one counts, not before 1900 and not after today; unless"
            " given, it counts from its first report on",
        ),
    ] = None

    def draft(self) -> RelinkDraft:
        """What core needs to join the accounts."""
        return RelinkDraft(self.old_account_id, self.new_account_id, self.from_)


class UndoneRelink(Body):
    """The account whose relink is taken back."""

    model_config = ConfigDict(json_schema_extra={"example": {"old_account_id": "savings_001"}})

    old_account_id: Annotated[Id, Field(description="the account that shall go on as itself")]


class DoneRefresh(Body):
    """That a refresh request was carried out."""

    model_config = ConfigDict(json_schema_extra={"example": {"count": 1}})

    count: Annotated[
        Annotated[StrictInt, WithJsonSchema({"type": "integer", "minimum": 1})],
        Field(description="the `count` of the request when you read it, before you pulled"),
    ]
