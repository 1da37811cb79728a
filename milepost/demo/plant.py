"""The demo's goals: made once, all of them in one transaction, in an installation that is empty."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from itertools import count

from sqlalchemy.orm import Session

from core.events.calendar import day_start, local_day
from core.requests.add_milestone import add_milestone
from core.requests.create_goal import create_goal
from core.requests.link_account import link_account
from core.requests.values import GoalDraft, LinkDraft, MilestoneDraft
from core.store.emptiness import is_empty
from core.store.job_runs import JobRun, claim_run, last_runs
from core.store.tenants import DEFAULT, Tenant, lock_tenant, read_tenants
from milepost.demo.plans import GoalPlan, Person

# The run of this job tells that an installation is the demo's, and its period on which day the lives began.
_PLANTED = "demo.planted"


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
