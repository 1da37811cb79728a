"""The bodies that callers send, and how they become the drafts of core, which checks their values."""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, Field, PlainValidator, StrictBool, StrictInt, WithJsonSchema

from api.bodies import Body
from core.errors import InvalidField
from core.events.envelope import parse_moment
from core.goals.details import METADATA_LONGEST_BYTES
from core.goals.goal import GoalStatus, GoalType, Tracking
from core.services.inputs import GoalChanges, GoalDraft, LinkDraft, MilestoneChanges, MilestoneDraft
from core.services.milestones import MILESTONES_MOST
from core.services.provider_accounts import AccountDraft
from core.services.relinks import RelinkDraft

_NUMBER_SCHEMA = {"anyOf": [{"type": "number"}, {"type": "string"}]}
# Of a text that is known to be a date or a time.
_LOCAL_MIDNIGHT = re.compile(r".{10}T00:00:00(\.0+)?", re.IGNORECASE)


def _number(value: Any) -> Decimal | int | str:
    """A JSON number or a string. Core parses the string, so that one place has the rule for amounts."""
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise ValueError("must be a number or a decimal string")
    return value


Number = Annotated[Decimal | int | str, PlainValidator(_number), WithJsonSchema(_NUMBER_SCHEMA)]


def _query_moment(value: Any) -> datetime:
    given = _moment_or_day(with_its_plus(value) if isinstance(value, str) else value)
    if isinstance(given, datetime):
        return given
    return datetime(given.year, given.month, given.day, tzinfo=UTC)


QueryMoment = Annotated[
    datetime, PlainValidator(_query_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]


def _moment_or_day(value: Any) -> datetime | date:
    try:
        return parse_moment(value)
    except OverflowError:
        raise ValueError("is out of range") from None


MomentOrDay = Annotated[
    datetime | date,
    PlainValidator(_moment_or_day),
    WithJsonSchema({"type": "string", "description": "a time, or a date for the whole of that day"}),
]


def _due(value: Any) -> datetime | date:
    given = _moment_or_day(value)
    if isinstance(given, datetime) and _LOCAL_MIDNIGHT.fullmatch(value):
        return given.date()
    return given


Due = Annotated[
    datetime | date,
    PlainValidator(_due),
    WithJsonSchema(
        {"type": "string", "description": "a time; a date, or a midnight without offset, for that whole local day"}
    ),
]


def _day(value: Any) -> date:
    given = _moment_or_day(value)
    if isinstance(given, datetime):
        raise ValueError("must be a date (2026-01-31)")
    return given


Day = Annotated[date, PlainValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]


def _check_addressable(account_id: str) -> str:
    """Refuse ids with `.` or `..`: clients resolve these in a path, even encoded, and would reach another URL."""
    if not {".", ".."}.isdisjoint(account_id.split("/")):
        raise ValueError("must not be . or .., nor hold one of them between slashes: no URL could name the account")
    return account_id


AccountId = Annotated[str, AfterValidator(_check_addressable)]
Type = Annotated[GoalType, WithJsonSchema({"type": "string", "enum": list(GoalType)})]
Status = Annotated[GoalStatus, WithJsonSchema({"type": "string", "enum": list(GoalStatus)})]
TrackingName = Annotated[Tracking, WithJsonSchema({"type": "string", "enum": list(Tracking)})]


ExternalId = Annotated[str | None, Field(description="your own id for it; no other goal of the user has the same")]
Metadata = Annotated[
    dict[str, Any] | None,
    Field(
        description=f"a JSON object of your own, at most {METADATA_LONGEST_BYTES:,} bytes; it replaces the one before"
    ),
]
Position = Annotated[StrictInt | None, Field(description="where you show it; lists are in order of creation")]
ImageUrl = Annotated[str | None, Field(description="an https:// URL")]


class NewMilestone(Body):
    """POST /goals/{goal_id}/milestones."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "amount": 5000.00,
                "description": "Halfway to emergency fund",
                "target_date": "2025-12-31T00:00:00",
            }
        }
    )

    amount: Number
    description: str | None = None
    target_date: Due | None = None

    def draft(self) -> MilestoneDraft:
        """What core needs to add the milestone."""
        return MilestoneDraft(self.amount, self.description, self.target_date)


class NewGoal(Body):
    """POST /goals."""

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

    user_id: str
    name: str
    type: Annotated[Type, Field(description="also taken as `goal_type`")]
    target_amount: Number
    current_amount: Number | None = None
    currency: str = "USD"
    deadline: Due | None = None
    description: str | None = None
    status: Status = GoalStatus.ACTIVE
    tracking: TrackingName | None = None
    start_date: Day | None = None
    auto_complete: StrictBool = False
    external_id: ExternalId = None
    metadata: Metadata = None
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
    """PATCH /goals/{goal_id}: only what is given changes."""

    model_config = ConfigDict(json_schema_extra={"example": {"current_amount": 3500.00, "status": "active"}})
    fixed: ClassVar[Collection[str]] = frozenset(
        {"user_id", "type", "goal_type", "currency", "tracking", "start_date", "auto_complete"}
    )

    # Factories, since the OpenAPI text would show a plain default, and a field that is left out stays as it is.
    name: str = Field(default_factory=str)
    description: str | None = None
    target_amount: Number = Field(default_factory=int)
    current_amount: Number = Field(default_factory=int)
    deadline: Due | None = None
    status: Status = Field(default_factory=lambda: GoalStatus.ACTIVE)
    external_id: ExternalId = None
    metadata: Metadata = None
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
    """PATCH /goals/{goal_id}/milestones/{milestone_id}: only what is given changes."""

    model_config = ConfigDict(json_schema_extra={"example": {"amount": 6000.00, "target_date": "2026-06-30"}})

    amount: Number = Field(default_factory=int)
    description: str | None = None
    target_date: Due | None = None

    def changes(self) -> MilestoneChanges:
        """The changes asked for; a field that was left out is UNSET, whatever its default here."""
        return MilestoneChanges(**{name: getattr(self, name) for name in self.model_fields_set})


class NewLink(Body):
    """POST /goals/{goal_id}/funding."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"account_id": "savings_001", "account_name": "High Yield Savings", "allocation_percent": 60.0}
        }
    )

    account_id: AccountId
    account_name: str | None = None
    allocation_percent: Annotated[Number | None, Field(description="needed unless `whole`")] = None
    from_: MomentOrDay | None = Field(None, alias="from")
    whole: StrictBool = False

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
    """PATCH /goals/{goal_id}/funding/{account_id}."""

    model_config = ConfigDict(json_schema_extra={"example": {"allocation_percent": 70.0}})
    second_names: ClassVar[Mapping[str, str]] = {"new_allocation_percent": "allocation_percent"}

    allocation_percent: Annotated[Number, Field(description="also taken as `new_allocation_percent`")]
    correct_from: Annotated[Day | None, Field(description="since when the share was another; unless given, now")] = None


class DiscardReason(Body):
    """POST /dead-letters/{shard}/{entry_id}/discard."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "a test of the bank's"}})

    reason: Annotated[str, Field(description="why it is given up, for the audit")]


_SIGN = (
    "`reversed` if the bank writes the amounts of transactions and the balances with the opposite sign, "
    "`reversed_amounts` or `reversed_balances` if only one of them, else `as_given`"
)


class NewProviderAccount(Body):
    """PUT /provider-accounts/{provider}/{provider_account_id}."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"account_id": "savings_001", "user_id": "user_123", "currency": "USD"}}
    )

    account_id: Annotated[AccountId | None, Field(description="your own id for it; unless given, the provider's")] = (
        None
    )
    user_id: str | None = None
    kind: Annotated[str | None, Field(description="asset or liability, where the provider leaves it out")] = None
    currency: Annotated[str | None, Field(description="where the provider leaves it out, as Teller does")] = None
    since: Annotated[Day | None, Field(description="records of earlier days came under its former id")] = None
    connection: Annotated[str | None, Field(description="the item, enrollment or member that it belongs to")] = None
    sign: Annotated[str | None, Field(description=_SIGN)] = None

    def draft(self) -> AccountDraft:
        """What core needs to register the account."""
        return AccountDraft(**{name: getattr(self, name) for name in type(self).model_fields})


class NewRelink(Body):
    """POST /relinks."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"old_account_id": "savings_001", "new_account_id": "savings_002"}}
    )

    old_account_id: Annotated[str, Field(description="the account that goes on under another id")]
    new_account_id: Annotated[str, Field(description="the account that it goes on as")]
    from_: Annotated[
        Day | None, Field(alias="from", description="the day from which on the new one counts, not its first report")
    ] = None

    def draft(self) -> RelinkDraft:
        """What core needs to join the accounts."""
        return RelinkDraft(self.old_account_id, self.new_account_id, self.from_)


class UndoneRelink(Body):
    """POST /relinks/undo."""

    model_config = ConfigDict(json_schema_extra={"example": {"old_account_id": "savings_001"}})

    old_account_id: Annotated[str, Field(description="the account that shall go on as itself")]


class DoneRefresh(Body):
    """POST /refresh-requests/{request_id}/done."""

    model_config = ConfigDict(json_schema_extra={"example": {"count": 1}})

    count: Annotated[StrictInt, Field(description="the `count` of the request when you read it, before you pulled")]


def with_its_plus(text: str) -> str:
    """The text of a moment in a query with its + restored: a client that does not encode it in fact sends a space."""
    return text.replace(" ", "+")
