"""Joining net worths: accounts that became a user's, or were told a currency, join and leave that user's net worths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from core.pipeline.account_moves import AccountMove
from core.store import net_worths as store
from core.store.accounts import AccountKey
from core.store.goals import GoalKey, GoalRow
from core.store.net_worths import Belonging


@dataclass(frozen=True, slots=True)
class Joining:
    """What is to change: the goals have to be locked before it does."""

    joins: frozenset[Belonging] = frozenset()
    leaves: frozenset[Belonging] = frozenset()

    @property
    def goal_keys(self) -> set[GoalKey]:
        """The goals that win or lose an account."""
        return {(tenant, goal_id) for tenant, _, goal_id in self.joins | self.leaves}


def find_joining(session: Session, moves: Mapping[AccountKey, AccountMove]) -> Joining:
    """What the new users and currencies of locked accounts change; costs nothing while none is new."""
    changed = {key: move.joins for key, move in moves.items() if move.joins is not None}
    if not changed:
        return Joining()
    members = {
        key: (joins.user_id, joins.currency) for key, joins in changed.items() if joins.user_id and joins.currency
    }
    store.lock_users(session, ((key[0], user_id) for key, (user_id, _) in members.items()))
    wanted = store.wanted_belongings(session, members)
    present = store.present_belongings(session, changed)
    return Joining(frozenset(wanted - present), frozenset(present - wanted))


def carry_out(session: Session, joining: Joining, goals: Iterable[GoalRow]) -> list[GoalRow]:
    """Let accounts join and leave locked goals; returns the goals, whose closes are now to be written anew."""
    leaves, joins = _by_goal(joining.leaves), _by_goal(joining.joins)
    touched = [goal for goal in goals if goal.key in leaves or goal.key in joins]
    for goal in touched:
        for account_id in leaves.get(goal.key, ()):
            store.leave_net_worth(session, (goal.tenant, account_id, goal.goal_id))
        if goal.key in joins:
            store.join_net_worth(session, goal.key, joins[goal.key], goal.final_at)
        goal.mark_from(goal.start_date)
    return touched


def _by_goal(belongings: Iterable[Belonging]) -> dict[GoalKey, list[str]]:
    found: dict[GoalKey, list[str]] = {}
    for tenant, account_id, goal_id in sorted(belongings):
        found.setdefault((tenant, goal_id), []).append(account_id)
    return found
