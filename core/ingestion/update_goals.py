"""From what a batch did to accounts to the goals that depend on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from core.ingestion.fast_path import Moves
from core.ingestion.reached import mark_crossings
from core.ingestion.recompute import recompute_goals
from core.ingestion.timeline import AccountMove, crossing_by_timeline, timeline_of_link
from core.store import net_worths as store
from core.store.accounts import AccountKey
from core.store.fast_path import AccountWrite, CrossedGoal, Written, write_accounts, write_crossed
from core.store.goals import GoalKey, GoalRow, lock_goals, write_moved_goals
from core.store.links import LinkPeriod, links_of_accounts, move_links
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


@dataclass(frozen=True, slots=True)
class GoalsMoved:
    """How many goals differ now, and how many milestones were reached."""

    goals: int
    milestones_reached: int


def move_goals(
    session: Session, written: Written, writes: Sequence[AccountWrite], moves: Moves, now: datetime
) -> GoalsMoved:
    """Write what locked accounts still lack, and settle every goal that those in `moves` fund.

    `written` is what was done to plain accounts. Goals that hang on one account alone are moved where they lie. The
    others are locked and settled here: their amounts come from links and accounts read after that, or two shards would
    overwrite each other's. A goal moved where it lies cannot be wanted by another batch, which would need its account
    for it, so goals are still locked in an order that has no circle.
    """
    joining = find_joining(session, moves.folded)
    further = write_accounts(session, writes, now)
    if late := written.late | further.late:
        _move_links(session, links_of_accounts(session, late), moves)
    goals = lock_goals(session, written.left | further.left | joining.goal_keys)
    joined = carry_out(session, joining, goals)
    recomputed = recompute_goals(session, goals, now, cause="events", moves=moves)
    recomputed.goals.update((goal.key, goal) for goal in joined)
    write_moved_goals(session, list(recomputed.goals.values()))
    milestones = recomputed.milestones_reached + mark_crossed(session, [*written.crossed, *further.crossed], moves, now)
    return GoalsMoved(written.moved + further.moved + len(recomputed.goals), milestones)


def _move_links(session: Session, periods: Sequence[LinkPeriod], moves: Mapping[AccountKey, AccountMove]) -> None:
    deltas = ((period, *moves[period.account_key].deltas(period)) for period in periods)
    move_links(session, [delta for delta in deltas if delta[1] or delta[2]])


def mark_crossed(session: Session, goals: Sequence[CrossedGoal], moves: Moves, now: datetime) -> int:
    """Mark what these goals came to, as recompute_goals does for all others; how many milestones."""
    if not goals:
        return 0
    crossings = [
        crossing_by_timeline(goal, timeline_of_link(goal, moves.track(goal.account_key, goal.measure), now))
        for goal in goals
    ]
    marked = mark_crossings(session, crossings, now)
    write_crossed(session, goals)
    return marked
