"""The values of the Python interface: enumerations and records, with the types of their fields."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, overload

from milepost.client.errors import InvalidField
from milepost.client.records import Exact, Record, read_float


class GoalType(StrEnum):
    """What the money is for; only DEBT goes down."""

    SAVINGS = "savings"
    DEBT = "debt"
    INVESTMENT = "investment"
    NET_WORTH = "net_worth"
    INCOME = "income"
    CUSTOM = "custom"


class GoalStatus(StrEnum):
    """The status of a goal; COMPLETED and ABANDONED are final."""

    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    ABANDONED = "abandoned"


class Tracking(StrEnum):
    """How the amount of a goal follows from its linked accounts: see docs/rest.md."""

    CHANGE = "change"
    INFLOW = "inflow"
    BALANCE = "balance"
    NET_WORTH = "net_worth"


class NextMilestone(Record):
    """The milestone that comes next, as the progress of milestones shows it: not reached yet."""

    _NEEDED = "amount"

    id: str
    amount: Exact
    description: str | None
    target_date: datetime | None
    reached: bool

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, name: Literal["id"], /) -> str: ...
        @overload
        def __getitem__(self, name: Literal["amount"], /) -> Exact: ...
        @overload
        def __getitem__(self, name: Literal["description"], /) -> str | None: ...
        @overload
        def __getitem__(self, name: Literal["target_date"], /) -> datetime | None: ...
        @overload
        def __getitem__(self, name: Literal["reached"], /) -> bool: ...
        @overload
        def __getitem__(self, name: str, /) -> Any: ...
        def __getitem__(self, name: str, /) -> Any: ...


class Milestone(Record):
    """An amount to reach before the target. `celebration` is a sentence for when it is reached, None before that."""

    _NEEDED = "amount"

    id: str
    amount: Exact
    description: str | None
    target_date: datetime | None
    reached: bool
    reached_date: datetime | None
    celebration: str | None

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, name: Literal["id"], /) -> str: ...
        @overload
        def __getitem__(self, name: Literal["amount"], /) -> Exact: ...
        @overload
        def __getitem__(self, name: Literal["description", "celebration"], /) -> str | None: ...
        @overload
        def __getitem__(self, name: Literal["target_date", "reached_date"], /) -> datetime | None: ...
        @overload
        def __getitem__(self, name: Literal["reached"], /) -> bool: ...
        @overload
        def __getitem__(self, name: str, /) -> Any: ...
        def __getitem__(self, name: str, /) -> Any: ...


class Goal(Record):
    """A goal with its milestones as it was at `version`, when it was read.

    It has `progress` only where list_goals was asked for it.
    """

    _NEEDED = "id"

    id: str
    user_id: str
    name: str
    type: GoalType
    tracking: Tracking
    currency: str
    target_amount: Exact
    current_amount: Exact
    start_date: date
    deadline: datetime | None
    description: str | None
    status: GoalStatus
    auto_complete: bool
    created_at: datetime
    updated_at: datetime
    version: int
    waiting_for: list[str]
    note: str | None
    percent_complete: Exact | None
    external_id: str | None
    metadata: dict[str, Any] | None
    position: int | None
    image_url: str | None
    milestones: list[Milestone]
    progress: GoalProgress

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, name: Literal["id", "user_id", "name", "currency"], /) -> str: ...
        @overload
        def __getitem__(self, name: Literal["type"], /) -> GoalType: ...
        @overload
        def __getitem__(self, name: Literal["tracking"], /) -> Tracking: ...
        @overload
        def __getitem__(self, name: Literal["status"], /) -> GoalStatus: ...
        @overload
        def __getitem__(self, name: Literal["target_amount", "current_amount"], /) -> Exact: ...
        @overload
        def __getitem__(self, name: Literal["start_date"], /) -> date: ...
        @overload
        def __getitem__(self, name: Literal["deadline"], /) -> datetime | None: ...
        @overload
        def __getitem__(self, name: Literal["description", "note", "external_id", "image_url"], /) -> str | None: ...
        @overload
        def __getitem__(self, name: Literal["percent_complete"], /) -> Exact | None: ...
        @overload
        def __getitem__(self, name: Literal["metadata"], /) -> dict[str, Any] | None: ...
        @overload
        def __getitem__(self, name: Literal["position"], /) -> int | None: ...
        @overload
        def __getitem__(self, name: Literal["created_at", "updated_at"], /) -> datetime: ...
        @overload
        def __getitem__(self, name: Literal["auto_complete"], /) -> bool: ...
        @overload
        def __getitem__(self, name: Literal["version"], /) -> int: ...
        @overload
        def __getitem__(self, name: Literal["waiting_for"], /) -> list[str]: ...
        @overload
        def __getitem__(self, name: Literal["milestones"], /) -> list[Milestone]: ...
        @overload
        def __getitem__(self, name: Literal["progress"], /) -> GoalProgress: ...
        @overload
        def __getitem__(self, name: str, /) -> Any: ...
        def __getitem__(self, name: str, /) -> Any: ...


class GoalProgress(Record):
    """How far a goal is at `calculated_at`, by facts up to `as_of`. Monthly amounts above 0 are towards the goal.

    The projection rests on `trend_months` whole months, the actual contribution on `contribution_months`, both as of
    `projected_at`.
    """

    _NEEDED = "goal_id"

    goal_id: str
    current_amount: Exact
    target_amount: Exact
    percent_complete: Exact | None
    status: GoalStatus
    deadline: datetime | None
    projected_completion_date: datetime | None
    projection_note: str | None
    projected_at: datetime
    trend_months: int
    on_track: bool | None
    monthly_contribution_actual: Exact | None
    contribution_months: int
    monthly_contribution_target: Exact | None
    calculated_at: datetime
    as_of: datetime
    note: str | None

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, name: Literal["goal_id"], /) -> str: ...
        @overload
        def __getitem__(self, name: Literal["current_amount", "target_amount"], /) -> Exact: ...
        @overload
        def __getitem__(self, name: Literal["status"], /) -> GoalStatus: ...
        @overload
        def __getitem__(self, name: Literal["deadline", "projected_completion_date"], /) -> datetime | None: ...
        @overload
        def __getitem__(self, name: Literal["projection_note", "note"], /) -> str | None: ...
        @overload
        def __getitem__(self, name: Literal["on_track"], /) -> bool | None: ...
        @overload
        def __getitem__(
            self, name: Literal["percent_complete", "monthly_contribution_actual", "monthly_contribution_target"], /
        ) -> Exact | None: ...
        @overload
        def __getitem__(self, name: Literal["projected_at", "calculated_at", "as_of"], /) -> datetime: ...
        @overload
        def __getitem__(self, name: Literal["trend_months", "contribution_months"], /) -> int: ...
        @overload
        def __getitem__(self, name: str, /) -> Any: ...
        def __getitem__(self, name: str, /) -> Any: ...


class MilestoneProgress(Record):
    """How many of a goal's milestones are reached, and which comes next."""

    _NEEDED = "goal_id"

    goal_id: str
    total_milestones: int
    reached_count: int
    remaining_count: int
    percent_complete: Exact
    next_milestone: NextMilestone | None

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, name: Literal["goal_id"], /) -> str: ...
        @overload
        def __getitem__(self, name: Literal["total_milestones", "reached_count", "remaining_count"], /) -> int: ...
        @overload
        def __getitem__(self, name: Literal["percent_complete"], /) -> Exact: ...
        @overload
        def __getitem__(self, name: Literal["next_milestone"], /) -> NextMilestone | None: ...
        @overload
        def __getitem__(self, name: str, /) -> Any: ...
        def __getitem__(self, name: str, /) -> Any: ...


class FundingSource(Record):
    """A linked account and what it has `counted` for the goal since `from_`, the key "from"."""

    _NEEDED = "account_id"

    account_id: str
    account_name: str | None
    allocation_percent: Exact
    from_: datetime
    whole: bool
    counted: Exact | None
    note: str | None

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, name: Literal["account_id"], /) -> str: ...
        @overload
        def __getitem__(self, name: Literal["account_name", "note"], /) -> str | None: ...
        @overload
        def __getitem__(self, name: Literal["allocation_percent"], /) -> Exact: ...
        @overload
        def __getitem__(self, name: Literal["from"], /) -> datetime: ...
        @overload
        def __getitem__(self, name: Literal["whole"], /) -> bool: ...
        @overload
        def __getitem__(self, name: Literal["counted"], /) -> Exact | None: ...
        @overload
        def __getitem__(self, name: str, /) -> Any: ...
        def __getitem__(self, name: str, /) -> Any: ...


def get_celebration_message(milestone: Mapping[str, Any]) -> str:
    """The sentence about a reached milestone, as check_milestones and list_milestones give it.

    A dictionary in the documented structure has none, and gets one with the `currency` that it may have. Raises
    ValueError for a milestone that is not reached yet, and for one without an amount.
    """
    message = milestone.get("celebration")
    if message is not None:
        return str(message)
    if not milestone.get("reached"):
        raise InvalidField.of("milestone", "is not reached yet, so there is nothing to celebrate")
    currency = milestone.get("currency")
    amount = _shown(milestone.get("amount")) + (f" {currency}" if currency else "")
    words = " ".join(str(milestone.get("description") or "").split())
    return f"Milestone reached: {amount} ({words})." if words else f"Milestone reached: {amount}."


def _shown(amount: object) -> str:
    """An amount for a person: a decimal with its own digits, 5,000.000 KWD; another number with two decimals."""
    if isinstance(amount, Decimal):
        return f"{amount:,f}"
    if isinstance(amount, bool) or not isinstance(amount, float | int):
        raise InvalidField.of("milestone", "has no amount that is a number")
    return f"{read_float(amount) if isinstance(amount, float) else amount:,.2f}"
