"""Finds a caller's goal, locked or not, together with the accounts that must be locked before it."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from core.errors import GoalIsFinal, GoalMoved, NotFound, TakesNoLinks
from core.goals.goal import Tracking, is_final
from core.services.inputs import is_id
from core.store.accounts import AccountKey, AccountRow, lock_accounts
from core.store.driver import Savepoint, Session
from core.store.goals import GoalRow, lock_goal, read_goal
from core.store.links import FundingRow, accounts_of_goal, funding_of_goals
from core.store.tenants import Tenant

# The versions of a goal that a caller has seen, one of which the goal must still have; None allows any version.
Versions = frozenset[int]


def find_goal(session: Session, tenant: Tenant, goal_id: str) -> GoalRow:
    """The goal, not locked; raises NotFound."""
    row = read_goal(session, _key(tenant, goal_id))
    if row is None:
        raise NotFound("Goal", goal_id)
    return row


def locked_goal(session: Session, tenant: Tenant, goal_id: str, seen: Versions | None = None) -> GoalRow:
    """The goal, locked, for operations that touch no account.

    Raises NotFound, and GoalMoved if the goal's version is not in `seen`. The version is checked under the lock, where
    nobody can change it: of two callers who have seen the same version, only one succeeds.
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
    """The goal with the accounts of its open links and `more_accounts`, all locked: first the accounts, in id order.

    `with_ended`: also the accounts of ended links, for an operation that changes ended links; batches change them
    under the locks of their accounts. `seen`: as for `locked_goal`.

    Which accounts these are can change until the goal is locked. So this function looks them up, locks them, then the
    goal, and looks again. If a link was added in between, it rolls back to the savepoint, which releases the locks, and
    tries again: locking the new account now would break the order in which everyone locks.
    """
    key = _key(tenant, goal_id)
    more = {(tenant.name, account_id) for account_id in more_accounts}
    while True:
        expected = more | accounts_of_goal(session, key, with_ended=with_ended)
        attempt = Savepoint(session, "attempt")
        accounts = lock_accounts(session, expected)
        goal = locked_goal(session, tenant, goal_id, seen)
        sources = funding_of_goals(session, [key])[key]
        if _accounts(sources, with_ended) <= expected:
            return goal, sources, accounts
        attempt.undo()


def refuse_final(goal: GoalRow) -> None:
    """Raise GoalIsFinal for a completed or abandoned goal."""
    if is_final(goal.status):
        raise GoalIsFinal(goal.status.value)


def refuse_links(goal: GoalRow) -> None:
    """Raise TakesNoLinks for a goal whose links Milepost keeps by itself."""
    if goal.tracking is Tracking.NET_WORTH:
        raise TakesNoLinks


def moment_for(goal: GoalRow, now: datetime) -> datetime:
    """The moment of a request: `now`, or just after the goal's last request if that is later.

    So the periods of links cannot overlap. Batches do not matter here: they may run by another machine's clock, and
    the facts that they apply have times of their own.
    """
    return max(now, goal.acted_at + timedelta(microseconds=1))


def _accounts(sources: Iterable[FundingRow], with_ended: bool) -> set[AccountKey]:
    return {source.row.account_key for source in sources if with_ended or source.row.link.is_open}


def _key(tenant: Tenant, goal_id: str) -> tuple[str, str]:
    # Postgres accepts neither NUL nor lone surrogates in text, so an id with one of them cannot exist.
    if not is_id(goal_id):
        raise NotFound("Goal", goal_id)
    return tenant.name, goal_id
