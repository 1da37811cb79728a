"""Fills the demo: makes all goals of an empty installation in one transaction, then sends the events until now."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import count

from core.events.calendar import day_start, local_day
from core.jobs.project import run_project
from core.jobs.snapshot import due_chunks, run_snapshot
from core.services.funding import link_account
from core.services.goals import create_goal, list_goals, update_goal
from core.services.inputs import GoalChanges, GoalDraft, LinkDraft, MilestoneDraft
from core.services.milestones import add_milestone
from core.services.views import GoalView
from core.store.database import Sessions
from core.store.days import JobRun, last_runs, record_run
from core.store.driver import Session
from core.store.tenants import DEFAULT, Tenant, is_empty, lock_tenant, read_tenants
from core.stream.backlog import not_applied, shard_statuses
from core.stream.stream import EventStream
from milepost.demo.life import Life, TimedEvent
from milepost.demo.rules import GoalPlan, Person

# A run of this job marks an installation as the demo's; its period is the day on which the lives began.
_PLANTED = "demo.planted"
_FILLED = "demo.filled"
_AT_ONCE = 1_000
_POLL_S = 0.05
_PATIENCE_S = 30.0
_GOALS_MOST = 200

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Filled:
    """How many events a filling sent, and whether it was the first that finished."""

    events: int
    is_first: bool


def make_goals(session: Session, people: Sequence[Person], now: datetime, days: int) -> bool:
    """Make the goals, which began `days` days ago, if the installation is empty; returns whether it is the demo's.

    Where the goals are already there, or there is other data, nothing is made.
    """
    # The lock is for two starts at the same time: the second must see what the first has made.
    lock_tenant(session, DEFAULT)
    if first_day(session) is not None:
        return True
    if not is_empty(session):
        return False
    tenant = read_tenants(session, [DEFAULT])[DEFAULT]
    begin = local_day(now, tenant.zone) - timedelta(days=days)
    # A millisecond between two goals, since goals are listed by the time of their creation.
    moments = (now + timedelta(milliseconds=number) for number in count())
    for person in people:
        names = {account.account_id: account.name for account in person.accounts}
        for goal in person.goals:
            _make(session, tenant, person.user_id, goal, names, begin, next(moments))
    record_run(session, JobRun(DEFAULT, _PLANTED, begin.isoformat(), 0, now, now, "{}"))
    return True


def first_day(session: Session) -> date | None:
    """The day on which the demo's lives began; None if the installation is not the demo's."""
    planted = (run.period for run in last_runs(session, DEFAULT) if run.job == _PLANTED)
    return next((date.fromisoformat(period) for period in planted), None)


def fill(sessions: Sessions, stream: EventStream, life: Life, now: datetime, progress: Progress) -> Filled:
    """Send the events that were not sent yet, wait until they are applied, and close the days.

    Raises StreamUnavailable.
    """
    with sessions.begin() as session:
        tenant = read_tenants(session, [DEFAULT])[DEFAULT]
        filled_at = _filled_at(session)
    timed_events = life.through(now)
    if filled_at is not None:
        timed_events = [event for event in timed_events if event.at > filled_at]
    _send(sessions, stream, timed_events, progress)
    if filled_at is None:
        with sessions.begin() as session:
            _end_goals(session, tenant, life.people, now)
    _close_days(sessions, now)
    with sessions.begin() as session:
        record_run(session, JobRun(DEFAULT, _FILLED, now.isoformat(), 0, now, now, "{}"))
    return Filled(len(timed_events), filled_at is None)


def send(stream: EventStream, timed_events: Sequence[TimedEvent]) -> None:
    """Put events on the stream; raises StreamUnavailable."""
    stream.append(DEFAULT, [(event.account_id, event.body) for event in timed_events])


def goals_of(session: Session, tenant: Tenant, user_id: str) -> dict[str, GoalView]:
    """A person's goals by name."""
    page = list_goals(session, tenant, user_id=user_id, type=None, status=None, limit=_GOALS_MOST, cursor=None)
    return {goal.name: goal for goal in page.items}


def _make(
    session: Session, tenant: Tenant, user_id: str, plan: GoalPlan, names: dict[str, str], begin: date, now: datetime
) -> None:
    def in_days(days: int) -> datetime:
        return day_start(begin + timedelta(days=days), tenant.zone)

    draft = GoalDraft(
        user_id,
        plan.name,
        plan.type,
        plan.target,
        current_amount=plan.current,
        currency=plan.currency,
        deadline=None if plan.deadline_in_days is None else in_days(plan.deadline_in_days),
        description=plan.description,
        status=plan.status,
        tracking=plan.tracking,
        start_date=begin,
        auto_complete=plan.auto_complete,
    )
    goal_id = create_goal(session, tenant, draft, now).goal_id
    for milestone in plan.milestones:
        wanted = MilestoneDraft(milestone.amount, milestone.description, in_days(milestone.in_days))
        add_milestone(session, tenant, goal_id, wanted, now)
    for link in plan.links:
        source = LinkDraft(link.account_id, names[link.account_id], link.percent, begin, link.whole)
        link_account(session, tenant, goal_id, source, now)


def _close_days(sessions: Sessions, now: datetime) -> None:
    """Close the days and store projections. Where a worker already closes a part of them, wait for it."""
    deadline = time.monotonic() + _PATIENCE_S
    run_snapshot(sessions, now)
    while due_chunks(sessions, now) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        run_snapshot(sessions, now)
    run_project(sessions, now)


def _filled_at(session: Session) -> datetime | None:
    """The moment up to which all events were sent and all days closed; None before the first filling has finished."""
    return next((run.started_at for run in last_runs(session, DEFAULT) if run.job == _FILLED), None)


def _send(sessions: Sessions, stream: EventStream, timed_events: Sequence[TimedEvent], progress: Progress) -> None:
    for start in range(0, len(timed_events), _AT_ONCE):
        send(stream, timed_events[start : start + _AT_ONCE])
        sent = min(start + _AT_ONCE, len(timed_events))
        progress("events applied", _applied(sessions, stream, sent), len(timed_events))
    waiting = stream.ends()
    while waiting:
        waiting = not_applied(sessions, waiting)
        if waiting:
            progress("events applied", _applied(sessions, stream, len(timed_events)), len(timed_events))
            time.sleep(_POLL_S)
    progress("events applied", len(timed_events), len(timed_events))


def _applied(sessions: Sessions, stream: EventStream, sent: int) -> int:
    """How many of the `sent` events are applied, at least: events of others may be among those that wait."""
    return max(0, sent - sum(status.unapplied for status in shard_statuses(sessions, stream)))


def _end_goals(session: Session, tenant: Tenant, people: Sequence[Person], now: datetime) -> None:
    """Complete the goals whose plan says that their owner completes them, unless they are completed already."""
    for person in people:
        ended = {plan.name: plan.ends_as for plan in person.goals if plan.ends_as is not None}
        for name, goal in goals_of(session, tenant, person.user_id).items() if ended else ():
            if (status := ended.get(name)) is not None and goal.status is not status:
                update_goal(session, tenant, goal.goal_id, GoalChanges(status=status), now)
