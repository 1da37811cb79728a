"""Finding a caller's goal, locked or not, together with the accounts that must be locked before it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from core.errors import GoalIsFinal, GoalMoved, NotFound, TakesNoLinks
from core.goals.goal import Tracking, is_final
from core.services.inputs import is_id
from core.store.accounts import AccountKey, AccountRow, lock_accounts
from core.store.goals import GoalRow, lock_goal, read_goal, read_version
from core.store.links import FundingRow, funding_of_goals
from core.store.tenants import Tenant

# The versions of a goal that a caller has seen and would act upon; None stands for any.
Versions = frozenset[int]


def find_goal(session: Session, tenant: Tenant, goal_id: str) -> GoalRow:
    """The goal, not locked; raises NotFound."""
    row = read_goal(session, _key(tenant, goal_id))
    if row is None:
        raise NotFound("Goal", goal_id)
    return row


def find_version(session: Session, tenant: Tenant, goal_id: str) -> int:
    """The goal's version alone, not locked; raises NotFound."""
    version = read_version(session, _key(tenant, goal_id))
    if version is None:
        raise NotFound("Goal", goal_id)
    return version


def locked_goal(session: Session, tenant: Tenant, goal_id: str, seen: Versions | None = None) -> GoalRow:
    """The goal, locked. For acts that touch no account. Raises NotFound, and GoalMoved if it is at none of `seen`.

    Only under the lock is the version sure to stay: of two callers who have seen the same, one gets through.
    """
    row = lock_goal(session, _key(tenant, goal_id))
    if row is None:
        raise NotFound("Goal", goal_id)
    if seen is not None and row.version not in seen:
        raise GoalMoved(goal_id, row.version)
    return row


def locked_goal_and_accounts(
    session: Session,
    tenant: Tenant,
    goal_id: str,
    more_accounts: Iterable[str] = (),
    *,
    with_ended: bool = False,
    seen: Versions | None = None,
) -> tuple[GoalRow, list[FundingRow], dict[AccountKey, AccountRow]]:
    """The goal with the accounts of its open links and `more_accounts`, all locked, accounts first in id order.

    `with_ended`: the accounts of its ended links too, for an act that touches those, as batches do under these locks.
    `seen`: as for `locked_goal`.

    Which accounts these are is known for sure only once the goal is locked. So they are looked up before and checked
    after, and if a link came between, the locks are given back and taken anew: locking its account now would break
    the order in which everyone locks.
    """
    key = _key(tenant, goal_id)
    more = {(tenant.name, account_id) for account_id in more_accounts}
    while True:
        find_goal(session, tenant, goal_id)
        expected = more | _accounts(funding_of_goals(session, [key])[key], with_ended)
        attempt = session.begin_nested()
        accounts = lock_accounts(session, expected)
        goal = locked_goal(session, tenant, goal_id, seen)
        sources = funding_of_goals(session, [key])[key]
        if _accounts(sources, with_ended) <= expected:
            attempt.commit()
            return goal, sources, accounts
        attempt.rollback()


def refuse_final(goal: GoalRow) -> None:
    """Raises GoalIsFinal for a completed or abandoned goal."""
    if is_final(goal.status):
        raise GoalIsFinal(goal.status.value)


def refuse_links(goal: GoalRow) -> None:
    """Raises TakesNoLinks for a goal whose links Milepost keeps by itself."""
    if goal.tracking is Tracking.NET_WORTH:
        raise TakesNoLinks


def moment_for(goal: GoalRow, now: datetime) -> datetime:
    """The moment of a request: `now`, but always after the goal's last request, so that periods cannot overlap.

    Batches do not count: their clock may be another machine's, and what they apply bears times of its own.
    """
    return max(now, goal.acted_at + timedelta(microseconds=1))


def _accounts(sources: Iterable[FundingRow], with_ended: bool) -> set[AccountKey]:
    return {source.row.account_key for source in sources if with_ended or source.row.link.is_open}


def _key(tenant: Tenant, goal_id: str) -> tuple[str, str]:
    # Postgres takes neither NUL nor lone surrogates in text; an id that holds one cannot exist.
    if not is_id(goal_id):
        raise NotFound("Goal", goal_id)
    return tenant.name, goal_id
