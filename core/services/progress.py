"""Progress: how far a goal is, its pace, when that gets it there, and what it needs each month for its deadline."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from core.events.calendar import EARLIEST, day_end, last_closed_day, local_day
from core.goals.amounts import contributing_links
from core.goals.goal import Tracking, follows_balances, is_final, measure_of
from core.goals.links import Link
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
from core.services.goal_access import find_goal
from core.services.history import closes_on
from core.services.views import ProgressView, left_out_note
from core.snapshots.pace import PacedGoal, compute_paces
from core.store.accounts import FactPeriod, newest_fact
from core.store.driver import Session
from core.store.forecasts import ForecastRow, read_forecast
from core.store.goals import GoalRow
from core.store.links import FundingRow, funding_of_goals
from core.store.spans import CountedAccount
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


def projection_for(
    session: Session, tenant: Tenant, goal: GoalRow, sources: Sequence[FundingRow], now: datetime
) -> GoalProjection:
    """The projection of a goal that is not locked, with these links; one without a first balance has none."""
    forecast = _forecast(session, tenant, goal, sources, now)
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


def amount_as_of(session: Session, goal: GoalRow, sources: Sequence[FundingRow]) -> datetime:
    """The moment of the newest fact in the amount of a goal with these links.

    It is at most a day in the future, and not after the goal's final moment, and does not depend on the order in which
    facts arrived. A manual amount is such a fact, unless the amount comes from the accounts alone; the amount given at
    creation has the moment of creation.
    """
    links = [source.funded(goal) for source in sources]
    measure = measure_of(goal.tracking)
    counting = {source.row.link.account_id: source.counting for source in sources}
    periods = [
        period
        for funded in contributing_links(goal.tracking, links, final_at=goal.final_at)
        for period in _periods(funded.link, measure, counting[funded.link.account_id])
    ]
    manual_at = goal.manual_at or goal.created_at
    newest = newest_fact(session, goal.tenant, periods) or manual_at
    as_of = newest if follows_balances(goal.tracking) else max(newest, manual_at)
    return as_of if goal.final_at is None else min(as_of, goal.final_at)


def _periods(link: Link, measure: str, counting: Iterable[CountedAccount]) -> Iterator[FactPeriod]:
    """The facts that a link counts: those of its account, or of all that count in its place, each in its time."""
    for each in counting or (CountedAccount(link.account_id, None, None),):
        begin_at = max(filter(None, (link.begin_at, each.counts_from)), default=None)
        until_at = min(filter(None, (link.until_at, each.counts_until)), default=None)
        yield FactPeriod(each.account_id, measure, begin_at, until_at)


def _forecast(
    session: Session, tenant: Tenant, goal: GoalRow, sources: Sequence[FundingRow], now: datetime
) -> ForecastRow:
    """The pace that the nightly job stored, or a new one; a goal that rests or waits has none."""
    through = last_closed_day(now, tenant.zone)
    if why_resting(goal) is not None:
        return ForecastRow(*goal.key, no_pace(through), now)
    stored = read_forecast(session, goal.key)
    if stored is not None:
        return stored
    days = pace_days(goal.start_date, through)
    if days is None:
        return ForecastRow(*goal.key, no_pace(through), now)
    paced = PacedGoal(goal, days, closes_on(session, tenant, goal, days))
    (pace,) = compute_paces(session, [paced], {goal.key: sources}, tenant.zone)
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


def goal_progress(session: Session, tenant: Tenant, goal_id: str, now: datetime) -> ProgressView:
    """How far a goal is, and when it will be reached by the trend of its last whole month; raises NotFound."""
    row = find_goal(session, tenant, goal_id)
    sources = funding_of_goals(session, [row.key])[row.key]
    projection = projection_for(session, tenant, row, sources, now)
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
        note=left_out_note(row, _left_out(row, sources)),
        monthly_actual_minor=projection.pace.monthly_minor,
        contribution_months=projection.pace.contribution_months,
        monthly_target_minor=projection.monthly_target_minor,
        is_on_track=projection.is_on_track,
        calculated_at=now,
        as_of=amount_as_of(session, row, sources),
    )
