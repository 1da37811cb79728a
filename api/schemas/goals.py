"""The bodies of answers about goals and their past: amounts with their currency's digits, times in UTC with Z."""

from decimal import Decimal
from typing import Annotated, NotRequired, cast

import msgspec
from pydantic import Field, with_config
from typing_extensions import TypedDict

from api.schemas.rendering import Amount, Day, Due, Moment, Percent, day, due, moment
from api.schemas.values import Currency, HistoryCause, Metadata
from core.goals.goal import GoalStatus, GoalType, Tracking
from core.goals.money import from_ppm, to_decimal
from core.services.history import SnapshotView
from core.services.views import FundingView, GoalView, MilestoneProgressView, MilestoneView, ProgressView
from core.store.ledger import Entry

IN_CURRENCY = "in the goal's currency with exactly its digits"
AS_DUE = "a time in UTC with Z; a whole local day as its midnight without offset"


@with_config(title="NextMilestone")
class NextMilestoneBody(TypedDict):
    """The milestone that comes next, as milestone progress shows it."""

    amount: Annotated[Amount, Field(description=f"the goal's amount at which it is reached, {IN_CURRENCY}")]
    description: Annotated[str | None, Field(description="a text for the user")]
    target_date: Annotated[Due | None, Field(description=f"when it should be reached, {AS_DUE}")]
    reached: Annotated[bool, Field(description="whether it was ever reached, also if the amount has moved away since")]
    id: Annotated[str, Field(description="given by Milepost")]


@with_config(title="Milestone")
class MilestoneBody(NextMilestoneBody):
    """A milestone of a goal."""

    reached_date: Annotated[
        Moment | None, Field(description="the date of the fact that reached it; null until it is reached")
    ]
    celebration: Annotated[
        str | None, Field(description="a sentence for the user who reached it; null until it is reached")
    ]


@with_config(title="Goal")
class GoalBody(TypedDict):
    """A goal with its milestones."""

    id: Annotated[str, Field(description="given by Milepost")]
    user_id: Annotated[str, Field(description="whose goal it is: your own id for the user")]
    name: Annotated[str, Field(description="a text for the user")]
    type: Annotated[GoalType, Field(description="what the money is for; the amount of a debt goes down")]
    tracking: Annotated[Tracking, Field(description="how the amount follows from accounts")]
    currency: Annotated[Currency, Field(description="of all amounts of the goal: an ISO 4217 code")]
    target_amount: Annotated[Amount, Field(description=f"where the goal should end, {IN_CURRENCY}")]
    current_amount: Annotated[Amount, Field(description=f"where the goal is, {IN_CURRENCY}")]
    start_date: Annotated[Day, Field(description="the day of the first snapshot, in the tenant's time zone")]
    deadline: Annotated[Due | None, Field(description=f"when the target should be reached, {AS_DUE}")]
    description: Annotated[str | None, Field(description="a text for the user")]
    status: Annotated[GoalStatus, Field(description="`completed` and `abandoned` are final")]
    auto_complete: Annotated[bool, Field(description="whether it is completed by itself once it is reached")]
    created_at: Annotated[Moment, Field(description="when the goal was created")]
    updated_at: Annotated[Moment, Field(description="when the goal last changed")]
    version: Annotated[int, Field(description="rises with each change of the goal; the ETag stands for it")]
    waiting_for: Annotated[
        list[str],
        Field(description="the accounts whose first balance a goal with tracking balance or net_worth waits for"),
    ]
    note: Annotated[
        str | None,
        Field(
            description="what looks like a slip, or which accounts a net worth leaves out since they are in another"
            " currency; null if there is nothing to say"
        ),
    ]
    percent_complete: Annotated[
        Percent | None,
        Field(
            description="in percent, cut to four decimals, so 100 only when it is reached; null for a debt that has no"
            " first balance yet"
        ),
    ]
    external_id: Annotated[str | None, Field(description="your own id for the goal")]
    metadata: Annotated[Metadata | None, Field(description="a JSON object of your own")]
    position: Annotated[int | None, Field(description="where you show it; lists are in order of creation")]
    image_url: Annotated[str | None, Field(description="an https:// URL")]
    milestones: Annotated[list[MilestoneBody], Field(description="all of them, by amount")]


@with_config(title="GoalProgress")
class ProgressBody(TypedDict):
    """How far a goal is, and when it will be reached by the trend of its last whole month."""

    goal_id: Annotated[str, Field(description="the goal's id")]
    current_amount: Annotated[Amount, Field(description=f"where the goal is, {IN_CURRENCY}")]
    target_amount: Annotated[Amount, Field(description=f"where the goal should end, {IN_CURRENCY}")]
    percent_complete: Annotated[
        Percent | None,
        Field(
            description="in percent, cut to four decimals, so 100 only when it is reached; null for a debt that has no"
            " first balance yet"
        ),
    ]
    status: Annotated[GoalStatus, Field(description="the goal's status")]
    deadline: Annotated[Due | None, Field(description=f"when the target should be reached, {AS_DUE}")]
    projected_completion_date: Annotated[
        Moment | None,
        Field(description="when the amount reaches the target if it goes on as in the last whole month; else null"),
    ]
    projection_note: Annotated[
        str | None, Field(description="why there is no projected date, as text for a person; null if there is one")
    ]
    projected_at: Annotated[
        Moment, Field(description="when the trend and the contributions were computed: at the last closing, or now")
    ]
    trend_months: Annotated[int, Field(description="whole months on which the projected date rests: 0 or 1")]
    monthly_contribution_actual: Annotated[
        Amount | None,
        Field(
            description="the mean of what was contributed in a month, cut towards zero, above 0 towards the goal,"
            f" {IN_CURRENCY}; null while there is no whole month"
        ),
    ]
    contribution_months: Annotated[int, Field(description="whole months that it is the mean of: 0 to 3")]
    monthly_contribution_target: Annotated[
        Amount | None,
        Field(
            description="how much has to be added in each month until the deadline, rounded up,"
            f" {IN_CURRENCY}; null without a deadline"
        ),
    ]
    on_track: Annotated[
        bool | None, Field(description="whether the goal will be reached by its deadline; null if that is not known")
    ]
    calculated_at: Annotated[Moment, Field(description="now")]
    as_of: Annotated[Moment, Field(description="the date of the newest fact in the amount")]
    note: Annotated[
        str | None, Field(description="which accounts a net worth leaves out, since they are in another currency")
    ]


@with_config(title="ListedGoal")
class ListedGoalBody(GoalBody):
    """A goal in a list."""

    progress: Annotated[NotRequired[ProgressBody], Field(description="how far it is; only if that was asked for")]


@with_config(title="MilestoneProgress")
class MilestoneProgressBody(TypedDict):
    """How many of a goal's milestones are reached."""

    goal_id: Annotated[str, Field(description="the goal's id")]
    total_milestones: Annotated[int, Field(description="how many milestones the goal has")]
    reached_count: Annotated[int, Field(description="how many of them are reached")]
    remaining_count: Annotated[int, Field(description="how many of them are not")]
    percent_complete: Annotated[Percent, Field(description="the share of the milestones that are reached, in percent")]
    next_milestone: Annotated[
        NextMilestoneBody | None, Field(description="the nearest one that is not reached; null if none is left")
    ]


# In a class it could not be written: `from` is a keyword.
_LinkBegin = TypedDict("_LinkBegin", {"from": Annotated[Moment, Field(description="from when on the account counts")]})


@with_config(title="FundingSource")
class FundingBody(_LinkBegin):
    """An account of which a share counts for a goal."""

    account_id: Annotated[str, Field(description="your own id for the account")]
    account_name: Annotated[
        str | None, Field(description="as given when it was linked, else the account's own name, if it has one")
    ]
    allocation_percent: Annotated[Percent, Field(description="the share that counts, in percent")]
    whole: Annotated[bool, Field(description="all of the account counts, outside the sum of 100%")]
    counted: Annotated[
        Amount, Field(description=f"what it has added since `from`, or since the last manual amount, {IN_CURRENCY}")
    ]
    note: Annotated[
        str | None, Field(description="why it adds nothing, or what looks like a slip; null if there is nothing to say")
    ]


@with_config(title="HistoryEntry")
class EntryBody(TypedDict):
    """One change of a goal's amount."""

    entry: Annotated[int, Field(description="1 is the oldest; no number is left out")]
    recorded_at: Annotated[
        Moment, Field(description="when Milepost recorded the change, maybe later than the dates of the facts")
    ]
    before: Annotated[
        Amount | None,
        Field(description=f"the amount before, {IN_CURRENCY}; null in the first entry, which opens the ledger"),
    ]
    after: Annotated[Amount, Field(description=f"the amount from then on, {IN_CURRENCY}")]
    change: Annotated[Amount | None, Field(description=f"after - before, {IN_CURRENCY}; null in the first entry")]
    cause: Annotated[HistoryCause, Field(description="why it changed")]
    account_ids: Annotated[list[str], Field(description="the accounts whose events changed it")]


@with_config(title="Snapshot")
class CloseBody(TypedDict):
    """A goal's amount at the end of a local day, as known now or at the moment asked for."""

    day: Annotated[Day, Field(description="in the tenant's time zone")]
    amount: Annotated[Amount, Field(description=f"the goal's amount when that day was over, {IN_CURRENCY}")]


def goal_body(goal: GoalView) -> GoalBody:
    """A goal with its milestones."""
    return {
        "id": goal.goal_id,
        "user_id": goal.user_id,
        "name": goal.name,
        "type": goal.type,
        "tracking": goal.tracking,
        "currency": goal.currency,
        "target_amount": to_decimal(goal.target_minor, goal.currency),
        "current_amount": to_decimal(goal.amount_minor, goal.currency),
        "start_date": day(goal.start_date),
        "deadline": due(goal.deadline),
        "description": goal.description,
        "status": goal.status,
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
        "status": progress.status,
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
    """A funding source; `counted` is what it has added to the goal."""
    return {
        "account_id": source.account_id,
        "account_name": source.account_name,
        "allocation_percent": from_ppm(source.ppm),
        "from": moment(source.from_at),
        "whole": source.whole,
        "counted": to_decimal(source.counted_minor, source.currency),
        "note": source.note,
    }


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
