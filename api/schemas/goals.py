"""The bodies of answers about goals and their past: amounts with their currency's digits, times in UTC with Z."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, NotRequired, cast, overload

import msgspec
from pydantic import Field, WithJsonSchema
from starlette.responses import Response
from typing_extensions import TypedDict

from core.goals.money import from_ppm, to_decimal
from core.services.history import SnapshotView
from core.services.views import FundingView, GoalView, MilestoneProgressView, MilestoneView, ProgressView
from core.store.ledger import Entry

Amount = Annotated[Decimal, WithJsonSchema({"type": "number", "examples": [10000.00]})]
Percent = Annotated[Decimal, WithJsonSchema({"type": "number", "examples": [65.0]})]
Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Day = Annotated[str, WithJsonSchema({"type": "string", "format": "date"})]
Due = Annotated[
    str, WithJsonSchema({"type": "string", "description": "a time in UTC with Z; a day as its midnight without offset"})
]
# The functional form, since `from` is a keyword.
FundingBody = TypedDict(
    "FundingBody",
    {
        "account_id": str,
        "account_name": str | None,
        "allocation_percent": Percent,
        "from": Moment,
        "whole": bool,
        "counted": Amount | None,
        "note": str | None,
    },
)


_encode = msgspec.json.Encoder(decimal_format="number").encode


class ExactResponse(Response):
    """JSON in which a Decimal is a number with all its digits: 10000.00, and never a float."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return exact_json(content)


class PartsResponse(Response):
    """A JSON array of items that are JSON already."""

    media_type = "application/json"

    def render(self, content: Sequence[bytes]) -> bytes:
        return b"[" + b",".join(content) + b"]"


def exact_json(content: Any) -> bytes:
    """JSON text in which a Decimal is a number with all its digits."""
    return _encode(content)


class NextMilestoneBody(TypedDict):
    """The milestone that comes next, as milestone progress shows it."""

    amount: Amount
    description: str | None
    target_date: Due | None
    reached: bool
    id: str


class MilestoneBody(NextMilestoneBody):
    """A milestone."""

    reached_date: Moment | None
    celebration: str | None


class GoalBody(TypedDict):
    """A goal."""

    id: str
    user_id: str
    name: str
    type: str
    tracking: str
    currency: str
    target_amount: Amount
    current_amount: Amount
    start_date: Day
    deadline: Due | None
    description: str | None
    status: str
    auto_complete: bool
    created_at: Moment
    updated_at: Moment
    version: int
    waiting_for: list[str]
    note: str | None
    percent_complete: Percent | None
    external_id: str | None
    metadata: dict[str, Any] | None
    position: int | None
    image_url: str | None
    milestones: list[MilestoneBody]


class ProgressBody(TypedDict):
    """How far a goal is."""

    goal_id: str
    current_amount: Amount
    target_amount: Amount
    percent_complete: Percent | None
    status: str
    deadline: Due | None
    projected_completion_date: Moment | None
    projection_note: str | None
    projected_at: Moment
    trend_months: Annotated[int, Field(description="whole months on which the projection rests: 0 or 1")]
    monthly_contribution_actual: Amount | None
    contribution_months: Annotated[int, Field(description="whole months that it is the mean of: 0 to 3")]
    monthly_contribution_target: Amount | None
    on_track: bool | None
    calculated_at: Moment
    as_of: Moment
    note: str | None


class ListedGoalBody(GoalBody):
    """A goal in a list; it has `progress` if that was asked for."""

    progress: NotRequired[ProgressBody]


class MilestoneProgressBody(TypedDict):
    """How many of a goal's milestones are reached."""

    goal_id: str
    total_milestones: int
    reached_count: int
    remaining_count: int
    percent_complete: Percent
    next_milestone: NextMilestoneBody | None


class EntryBody(TypedDict):
    """One change of a goal's amount."""

    entry: Annotated[int, Field(description="1 is the oldest; no number is left out")]
    recorded_at: Moment
    before: Annotated[Amount | None, Field(description="null in the first entry, which opens the ledger")]
    after: Amount
    change: Annotated[Amount | None, Field(description="after - before")]
    cause: str
    account_ids: list[str]


class CloseBody(TypedDict):
    """A goal's amount at the end of a local day, as known now or at the moment asked for."""

    day: Day
    amount: Amount


def goal_body(goal: GoalView) -> GoalBody:
    """A goal with its milestones."""
    return {
        "id": goal.goal_id,
        "user_id": goal.user_id,
        "name": goal.name,
        "type": goal.type.value,
        "tracking": goal.tracking.value,
        "currency": goal.currency,
        "target_amount": to_decimal(goal.target_minor, goal.currency),
        "current_amount": to_decimal(goal.amount_minor, goal.currency),
        "start_date": day(goal.start_date),
        "deadline": due(goal.deadline),
        "description": goal.description,
        "status": goal.status.value,
        "auto_complete": goal.auto_complete,
        "created_at": moment(goal.created_at),
        "updated_at": moment(goal.updated_at),
        "version": goal.version,
        "waiting_for": list(goal.waiting_for),
        "note": goal.note,
        "percent_complete": goal.percent_complete,
        "external_id": goal.details.external_id,
        # The text that is stored, whose numbers keep their digits.
        "metadata": None if goal.details.metadata is None else msgspec.Raw(goal.details.metadata.encode()),  # type: ignore[typeddict-item]
        "position": goal.details.position,
        "image_url": goal.details.image_url,
        "milestones": [milestone_body(milestone, goal.currency) for milestone in goal.milestones],
    }


def listed_goal_body(goal: GoalView, progress: ProgressView | None) -> ListedGoalBody:
    """A goal as a list shows it."""
    body = cast(ListedGoalBody, goal_body(goal))
    if progress is not None:
        body["progress"] = progress_body(progress)
    return body


def progress_body(progress: ProgressView) -> ProgressBody:
    """A goal's progress; its `projection_note` says why there is no projected date, null if there is one."""
    return {
        "goal_id": progress.goal_id,
        "current_amount": to_decimal(progress.amount_minor, progress.currency),
        "target_amount": to_decimal(progress.target_minor, progress.currency),
        "percent_complete": progress.percent_complete,
        "status": progress.status.value,
        "deadline": due(progress.deadline),
        "projected_completion_date": moment(progress.projected_completion_date),
        "projection_note": progress.projection_note,
        "projected_at": moment(progress.projected_at),
        "trend_months": progress.trend_months,
        "monthly_contribution_actual": _amount(progress.monthly_actual_minor, progress.currency),
        "contribution_months": progress.contribution_months,
        "monthly_contribution_target": _amount(progress.monthly_target_minor, progress.currency),
        "on_track": progress.is_on_track,
        "calculated_at": moment(progress.calculated_at),
        "as_of": moment(progress.as_of),
        "note": progress.note,
    }


def milestone_body(milestone: MilestoneView, currency: str) -> MilestoneBody:
    """A milestone; its `reached_date` is the effective time of the fact that reached it."""
    return {
        **_next_body(milestone, currency),
        "reached_date": moment(milestone.reached_at),
        "celebration": milestone.celebration,
    }


def milestone_progress_body(progress: MilestoneProgressView) -> MilestoneProgressBody:
    """The milestones of a goal in numbers."""
    following = progress.next_milestone
    return {
        "goal_id": progress.goal_id,
        "total_milestones": progress.total_milestones,
        "reached_count": progress.reached_count,
        "remaining_count": progress.remaining_count,
        "percent_complete": progress.percent_complete,
        "next_milestone": _next_body(following, progress.currency) if following else None,
    }


def funding_body(source: FundingView) -> FundingBody:
    """A funding source; `counted` is what it has added to the goal, null while that can't be known."""
    return {
        "account_id": source.account_id,
        "account_name": source.account_name,
        "allocation_percent": from_ppm(source.ppm),
        "from": moment(source.from_at),
        "whole": source.whole,
        "counted": _amount(source.counted_minor, source.currency),
        "note": source.note,
    }


@overload
def moment(at: datetime) -> str: ...


@overload
def moment(at: None) -> None: ...


def moment(at: datetime | None) -> str | None:
    """An instant in UTC: 2026-11-09T00:00:00Z."""
    return None if at is None else at.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def due(by: datetime | date | None) -> str | None:
    """A deadline: a moment as `moment` writes it, a day as its midnight without offset: 2026-11-09T00:00:00."""
    return moment(by) if by is None or isinstance(by, datetime) else f"{by.isoformat()}T00:00:00"


def day(on: date) -> str:
    """A day: 2026-11-09."""
    return on.isoformat()


def entry_body(entry: Entry, currency: str) -> EntryBody:
    """A line of a goal's ledger, in the goal's currency."""
    before = entry.before_minor
    return {
        "entry": entry.entry,
        "recorded_at": moment(entry.recorded_at),
        "before": None if before is None else to_decimal(before, currency),
        "after": to_decimal(entry.after_minor, currency),
        "change": None if before is None else to_decimal(entry.after_minor - before, currency),
        "cause": entry.cause,
        "account_ids": list(entry.account_ids),
    }


def snapshot_body(snapshot: SnapshotView, currency: str) -> CloseBody:
    """The snapshot of a day, in the goal's currency."""
    return {"day": day(snapshot.day), "amount": to_decimal(snapshot.amount_minor, currency)}


def _amount(minor: int | None, currency: str) -> Decimal | None:
    return None if minor is None else to_decimal(minor, currency)


def _next_body(milestone: MilestoneView, currency: str) -> NextMilestoneBody:
    return {
        "amount": to_decimal(milestone.amount_minor, currency),
        "description": milestone.description,
        "target_date": due(milestone.target_date),
        "reached": milestone.reached,
        "id": milestone.milestone_id,
    }
