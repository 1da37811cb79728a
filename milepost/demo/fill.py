"""The filling of the demo: in an empty installation all goals in one transaction, then the events until now."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import count

from sqlalchemy.orm import Session, sessionmaker

from core.events.calendar import day_start, local_day
from core.jobs.project import run_project
from core.jobs.snapshot import due_chunks, run_snapshot
from core.services.funding import link_account
from core.services.goals import create_goal, list_goals, update_goal
from core.services.inputs import GoalChanges, GoalDraft, LinkDraft, MilestoneDraft
from core.services.milestones import add_milestone
from core.services.views import GoalView
from core.store.days import JobRun, claim_run, last_runs
from core.store.tenants import DEFAULT, Tenant, is_empty, lock_tenant, read_tenants
from core.stream.stream import EventStream
from milepost.demo.life import Life, Telling
from milepost.demo.rules import GoalPlan, Person

# The run of this job tells that an installation is the demo's, and its period on which day the lives began.
_PLANTED = "demo.planted"
_FILLED = "demo.filled"
_AT_ONCE = 1_000
_POLL_S = 0.05
_PATIENCE_S = 30.0
_GOALS_MOST = 200

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Filled:
    """What a filling told, and whether it was the first that came to its end."""

    events: int
    is_first: bool


def plant(session: Session, people: Sequence[Person], now: datetime, days: int) -> bool:
    """Make the goals, begun `days` days ago, unless they are there; whether the installation is the demo's.

    In one that is not empty, and not the demo's, nothing is made.
    """
    # Two starts at once: the second must see what the first has made.
    lock_tenant(session, DEFAULT)
    if first_day(session) is not None:
        return True
    if not is_empty(session):
        return False
    tenant = read_tenants(session, [DEFAULT])[DEFAULT]
    begin = local_day(now, tenant.zone) - timedelta(days=days)
    # Goals are listed by the millisecond of their creation.
    moments = (now + timedelta(milliseconds=number) for number in count())
    for person in people:
        names = {account.account_id: account.name for account in person.accounts}
        for goal in person.goals:
            _make(session, tenant, person.user_id, goal, names, begin, next(moments))
    claim_run(session, JobRun(DEFAULT, _PLANTED, begin.isoformat(), 0, now, now, "{}"))
    return True


def first_day(session: Session) -> date | None:
    """The day on which the demo's lives began; None if the installation is not the demo's."""
    planted = (run.period for run in last_runs(session, DEFAULT) if run.job == _PLANTED)
    return next((date.fromisoformat(period) for period in planted), None)


def fill(sessions: sessionmaker[Session], stream: EventStream, life: Life, now: datetime, progress: Progress) -> Filled:
    """Tell what was not told yet, wait until it is applied, and close the days. Raises StreamUnavailable."""
    with sessions.begin() as session:
        tenant = read_tenants(session, [DEFAULT])[DEFAULT]
        filled_at = _filled_at(session)
    tellings = life.through(now)
    if filled_at is not None:
        tellings = [telling for telling in tellings if telling.at > filled_at]
    _send(stream, tellings, progress)
    if filled_at is None:
        with sessions.begin() as session:
            _end_goals(session, tenant, life.people, now)
    _close_days(sessions, now)
    with sessions.begin() as session:
        claim_run(session, JobRun(DEFAULT, _FILLED, now.isoformat(), 0, now, now, "{}"))
    return Filled(len(tellings), filled_at is None)


def send(stream: EventStream, tellings: Sequence[Telling]) -> None:
    """Put events on the stream; raises StreamUnavailable."""
    stream.append(DEFAULT, [(telling.account_id, telling.body) for telling in tellings])


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


def _close_days(sessions: sessionmaker[Session], now: datetime) -> None:
    """Close the days and store projections. Where a worker is at a part of them already, wait for it."""
    deadline = time.monotonic() + _PATIENCE_S
    run_snapshot(sessions, now)
    while due_chunks(sessions, now) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        run_snapshot(sessions, now)
    run_project(sessions, now)


def _filled_at(session: Session) -> datetime | None:
    """Up to which moment everything was told and closed; None before the first filling has ended."""
    return next((run.started_at for run in last_runs(session, DEFAULT) if run.job == _FILLED), None)


def _send(stream: EventStream, tellings: Sequence[Telling], progress: Progress) -> None:
    for start in range(0, len(tellings), _AT_ONCE):
        send(stream, tellings[start : start + _AT_ONCE])
        progress("events applied", _applied(stream, min(start + _AT_ONCE, len(tellings))), len(tellings))
    waiting = stream.ends()
    while waiting:
        waiting = {shard: last for shard, last in waiting.items() if not stream.is_applied(shard, last)}
        if waiting:
            progress("events applied", _applied(stream, len(tellings)), len(tellings))
            time.sleep(_POLL_S)
    progress("events applied", len(tellings), len(tellings))


def _applied(stream: EventStream, sent: int) -> int:
    """How many of those sent are applied, at least: others' events wait there, too."""
    return max(0, sent - sum(status.unapplied for status in stream.status()))


def _end_goals(session: Session, tenant: Tenant, people: Sequence[Person], now: datetime) -> None:
    """Complete by hand the goals whose owners did; one that is completed already stays as it is."""
    for person in people:
        ended = {plan.name: plan.ends_as for plan in person.goals if plan.ends_as is not None}
        for name, goal in goals_of(session, tenant, person.user_id).items() if ended else ():
            if (status := ended.get(name)) is not None and goal.status is not status:
                update_goal(session, tenant, goal.goal_id, GoalChanges(status=status), now)
