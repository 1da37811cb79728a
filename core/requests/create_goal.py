"""The act create_goal."""

from __future__ import annotations

import secrets
from datetime import date, datetime

from sqlalchemy.orm import Session

from core.errors import InvalidField
from core.events.calendar import EARLIEST, local_day
from core.goals.goal import (
    DESCRIPTION_LONGEST,
    NAME_LONGEST,
    GoalType,
    Tracking,
    check_current,
    check_target,
    check_text,
    default_tracking,
    span_of,
)
from core.goals.lifecycle import can_start_as
from core.goals.money import digits, to_minor
from core.requests.check_id import check_id
from core.requests.settle import settle_goal
from core.requests.values import GoalDraft, GoalView, Stated, goal_view
from core.store.accounts import lock_accounts
from core.store.goals import GoalRow, insert_goal
from core.store.ledger import Entry, write_entries
from core.store.net_worths import accounts_of_user, join_net_worth, lock_user_alone
from core.store.tenants import Tenant


def create_goal(session: Session, tenant: Tenant, draft: GoalDraft, now: datetime) -> GoalView:
    """Create a goal; raises InvalidField. A debt without a current amount owes its target."""
    digits(draft.currency)
    target = _amount(draft, draft.target_amount, "target_amount")
    check_target(draft.type, target)
    current = _current(draft, target)
    check_current(draft.type, current)
    if not can_start_as(draft.status):
        raise InvalidField("status", "a goal is created active or paused")
    span = span_of(draft.type, target, current)
    start_date = _start_date(draft.start_date, tenant, now)
    row = GoalRow(
        tenant=tenant.name,
        goal_id=new_goal_id(now),
        user_id=check_id("user_id", draft.user_id),
        name=check_text("name", draft.name, longest=NAME_LONGEST),
        description=_description(draft.description),
        type=draft.type,
        tracking=_tracking(draft),
        currency=draft.currency,
        debt_form=span.form,
        target_minor=target,
        start_minor=span.start_minor,
        finish_minor=span.finish_minor,
        typed_minor=current,
        typed_at=None,
        amount_minor=current,
        waiting_for=[],
        next_milestone_minor=None,
        reached_at=None,
        deadline=draft.deadline,
        start_date=start_date,
        dirty_from=start_date,
        judged_from=None,
        auto_complete=draft.auto_complete,
        status=draft.status,
        final_at=None,
        acted_at=now,
        entries=1,
        version=0,
        created_at=now,
        updated_at=now,
    )
    members = _hold_accounts_of_user(session, row) if row.tracking is Tracking.NET_WORTH else []
    insert_goal(session, row)
    join_net_worth(session, row.key, members, None)
    write_entries(session, [Entry(row.tenant, row.goal_id, 1, now, None, current, "created", [])])
    settle_goal(session, row, now, cause="created")
    return goal_view(row, [])


def new_goal_id(now: datetime) -> str:
    """An id that no one can guess and that sorts by the moment of creation."""
    return f"goal_{int(now.timestamp() * 1000):012x}{secrets.token_hex(10)}"


def _amount(draft: GoalDraft, stated: Stated, field: str) -> int:
    return to_minor(stated, draft.currency, field)


def _current(draft: GoalDraft, target: int) -> int:
    if draft.current_amount is not None:
        return _amount(draft, draft.current_amount, "current_amount")
    return target if draft.type is GoalType.DEBT else 0


def _description(text: str | None) -> str | None:
    if text is None:
        return None
    return check_text("description", text, longest=DESCRIPTION_LONGEST, blank_allowed=True, lines_allowed=True)


def _tracking(draft: GoalDraft) -> Tracking:
    tracking = draft.tracking or default_tracking(draft.type)
    if tracking is Tracking.NET_WORTH and draft.type is GoalType.DEBT:
        raise InvalidField("tracking", "a debt cannot follow a net worth; use balance or change")
    return tracking


def _hold_accounts_of_user(session: Session, row: GoalRow) -> list[str]:
    """The user's accounts in the goal's currency, all locked, with none able to join before the transaction ends.

    Which accounts these are is known for sure only once the user is locked, which comes after the accounts. So they
    are looked up before and checked after, and if one has joined between, the locks are given back and taken anew.
    """
    while True:
        attempt = session.begin_nested()
        found = accounts_of_user(session, row.tenant, row.user_id, row.currency)
        lock_accounts(session, ((row.tenant, account_id) for account_id in found))
        lock_user_alone(session, row.tenant, row.user_id)
        settled = accounts_of_user(session, row.tenant, row.user_id, row.currency)
        if set(settled) <= set(found):
            attempt.commit()
            return settled
        attempt.rollback()


def _start_date(start_date: date | None, tenant: Tenant, now: datetime) -> date:
    today = local_day(now, tenant.zone)
    if start_date is None:
        return today
    if not EARLIEST.date() <= start_date <= today:
        raise InvalidField("start_date", "must not be after today or before 1900")
    return start_date
