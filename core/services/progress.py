"""Progress: how far a goal is, its pace, when that gets it there, and what it needs each month for its deadline."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from core.events.calendar import EARLIEST, day_end, last_closed_day, local_day
from core.goals.amounts import contributing_links
from core.goals.goal import Tracking, follows_balances, is_final
from core.goals.progress import left_minor, percent_complete
from core.goals.projection import (
    Due,
    Pace,
    completion_date,
    is_on_track,
    monthly_target,
    months_until,
    no_pace,
    pace_days,
    projection_of,
    why_resting,
)
from core.services.history import closes_on
from core.services.inputs import is_id
from core.services.views import ProgressView, left_out_note
from core.snapshots.pace import PacedGoal, compute_paces
from core.store.driver import Session, require_transaction
from core.store.forecasts import ForecastRow
from core.store.goals import GoalRow
from core.store.links import FundingRow
from core.store.seen_progress import SeenProgress, read_seen_progress
from core.store.tenants import Tenant

# Deadlines before EARLIEST and after this moment count as these two: in some time zone they are out of Python's range.
_LATEST_DEADLINE = datetime(9999, 11, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class GoalProjection:
    """When a goal will be reached, or why that is unknown; its pace; and what it needs each month, in minor units."""

    completion_at: datetime | None
    note: str | None
    pace: Pace
    projected_at: datetime
    monthly_target_minor: int | None
    is_on_track: bool | None


def projection_for(session: Session, tenant: Tenant, seen: SeenProgress, now: datetime) -> GoalProjection:
    """The projection of a goal; one without a first balance has none."""
    goal, forecast = seen.goal, _forecast(session, tenant, seen, now)
    pace, projected_at = forecast.pace, forecast.projected_at
    projection = projection_of(goal, pace)
    completion_at = completion_date(projection, pace.through)
    if goal.start_minor is None:
        return GoalProjection(completion_at, projection.note, pace, projected_at, None, None)
    left = left_minor(goal.type, goal.span, goal.target_minor, goal.amount_minor)
    due = None if goal.deadline is None else _due(goal.deadline, tenant)
    needed = None
    if due is not None and not is_final(goal.status):
        needed = monthly_target(left, months_until(local_day(now, tenant.zone), due.day))
    # The projected day is its midnight in UTC.
    projected_on = None if completion_at is None else completion_at.date()
    on_track = is_on_track(left, pace.trend_months, due, projected_on, now)
    return GoalProjection(completion_at, projection.note, pace, projected_at, needed, on_track)


def amount_as_of(seen: SeenProgress) -> datetime:
    """The moment of the newest fact in the amount of a goal.

    It is at most a day in the future, and not after the goal's final moment, and does not depend on the order in which
    facts arrived. A manual amount is such a fact, unless the amount comes from the accounts alone; the amount given at
    creation has the moment of creation.
    """
    goal = seen.goal
    links = [source.funded(goal) for source in seen.sources]
    contributing = set(contributing_links(goal.tracking, links, final_at=goal.final_at))
    facts = [at for at, link in zip(seen.newest, links, strict=True) if at is not None and link in contributing]
    manual_at = goal.manual_at or goal.created_at
    newest = max(facts, default=manual_at)
    as_of = newest if follows_balances(goal.tracking) else max(newest, manual_at)
    return as_of if goal.final_at is None else min(as_of, goal.final_at)


def _forecast(session: Session, tenant: Tenant, seen: SeenProgress, now: datetime) -> ForecastRow:
    """The pace that the nightly job stored, or a new one; a goal that rests or waits has none."""
    goal = seen.goal
    through = last_closed_day(now, tenant.zone)
    if why_resting(goal) is not None:
        return ForecastRow(*goal.key, no_pace(through), now)
    if seen.forecast is not None:
        return seen.forecast
    days = pace_days(goal.start_date, through)
    if days is None:
        return ForecastRow(*goal.key, no_pace(through), now)
    require_transaction(session)
    paced = PacedGoal(goal, days, closes_on(session, tenant, goal, days))
    (pace,) = compute_paces(session, [paced], {goal.key: seen.sources}, tenant.zone)
    return ForecastRow(*goal.key, pace, now)


def _due(deadline: datetime | date, tenant: Tenant) -> Due:
    """A deadline given as a day lasts until that local day is over."""
    if isinstance(deadline, datetime):
        at = min(max(deadline, EARLIEST), _LATEST_DEADLINE)
        return Due(local_day(at, tenant.zone), at)
    day = min(max(deadline, EARLIEST.date()), _LATEST_DEADLINE.date())
    return Due(day, day_end(day, tenant.zone))


def _left_out(goal: GoalRow, sources: Iterable[FundingRow]) -> list[tuple[str, str | None]]:
    """The accounts of a net worth that are not in its currency."""
    if goal.tracking is not Tracking.NET_WORTH:
        return []
    return [(each.row.link.account_id, each.currency) for each in sources if each.currency != goal.currency]


def read_progress(session: Session, tenant: Tenant, goal_ids: Sequence[str], now: datetime) -> dict[str, ProgressView]:
    """How far goals are, by id, and when they will be reached; one that does not exist is left out.

    One statement, unless a goal has joined accounts, or its pace has to be computed: raises NeedsTransaction for these
    if the session is none.
    """
    every = read_seen_progress(session, [(tenant.name, goal_id) for goal_id in goal_ids if is_id(goal_id)])
    return {seen.goal.goal_id: _progress_view(session, tenant, seen, now) for seen in every}


def _progress_view(session: Session, tenant: Tenant, seen: SeenProgress, now: datetime) -> ProgressView:
    row, projection = seen.goal, projection_for(session, tenant, seen, now)
    return ProgressView(
        goal_id=row.goal_id,
        currency=row.currency,
        amount_minor=row.amount_minor,
        target_minor=row.target_minor,
        percent_complete=percent_complete(row.type, row.span, row.target_minor, row.amount_minor),
        status=row.status,
        deadline=row.deadline,
        projected_completion_date=projection.completion_at,
        projection_note=projection.note,
        projected_at=projection.projected_at,
        trend_months=projection.pace.trend_months,
        waiting_for=tuple(row.waiting_for),
        note=left_out_note(row, _left_out(row, seen.sources)),
        monthly_actual_minor=projection.pace.monthly_minor,
        contribution_months=projection.pace.contribution_months,
        monthly_target_minor=projection.monthly_target_minor,
        is_on_track=projection.is_on_track,
        calculated_at=now,
        as_of=amount_as_of(seen),
    )
