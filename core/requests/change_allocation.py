"""The act change_allocation."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from core.errors import NotFound
from core.events.calendar import local_day
from core.goals.links import allocate
from core.goals.percent import to_ppm
from core.pipeline.end_links import end_open_link
from core.requests.goal_access import Versions, hold_goal_and_accounts, moment_for, refuse_final, refuse_links
from core.requests.link_account import begin_link, shared_out, view_of
from core.requests.settle import settle_goal
from core.requests.values import FundingView, Stated
from core.store.tenants import Tenant


def change_allocation(
    session: Session,
    tenant: Tenant,
    goal_id: str,
    account_id: str,
    allocation_percent: Stated,
    now: datetime,
    *,
    seen: Versions | None = None,
) -> FundingView:
    """End an account's link and begin the next one with another share, at one moment.

    Raises NotFound for the goal or the link, GoalMoved, GoalIsFinal, AllocationExceeded and InvalidField.
    """
    ppm = to_ppm(allocation_percent, "allocation_percent")
    goal, sources, accounts = hold_goal_and_accounts(session, tenant, goal_id, seen=seen)
    refuse_final(goal)
    refuse_links(goal)
    account = accounts.get((tenant.name, account_id))
    if account is None:
        raise NotFound("Account", account_id)
    allocate(shared_out(sources), account_id, ppm)
    at = moment_for(goal, now)
    previous = end_open_link(session, goal, sources, account_id, at)
    if previous is None:
        raise NotFound("Account", account_id)
    begin_link(session, goal, account, ppm, at, at, previous.account_name)
    goal.mark_from(local_day(at, tenant.zone))
    settle_goal(session, goal, at, cause="allocation")
    return view_of(session, goal, account_id)
