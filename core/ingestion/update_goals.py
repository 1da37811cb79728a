"""Updating the goals that depend on the accounts of a batch: their links, members of net worths, and amounts."""

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
class MembershipChanges:
    """The accounts that join or leave net worth goals. The goals have to be locked before that is done."""

    joins: frozenset[Belonging] = frozenset()
    leaves: frozenset[Belonging] = frozenset()

    @property
    def goal_keys(self) -> set[GoalKey]:
        """The goals that gain or lose an account."""
        return {(tenant, goal_id) for tenant, _, goal_id in self.joins | self.leaves}


def find_membership_changes(session: Session, moves: Mapping[AccountKey, AccountMove]) -> MembershipChanges:
    """What follows from the new users and currencies of locked accounts; no query while no account has new ones."""
    changed = {key: move.new_membership for key, move in moves.items() if move.new_membership is not None}
    if not changed:
        return MembershipChanges()
    members = {key: (new.user_id, new.currency) for key, new in changed.items() if new.user_id and new.currency}
    store.lock_users(session, ((key[0], user_id) for key, (user_id, _) in members.items()))
    wanted = store.wanted_belongings(session, members)
    present = store.present_belongings(session, changed)
    return MembershipChanges(frozenset(wanted - present), frozenset(present - wanted))


def change_memberships(session: Session, changes: MembershipChanges, goals: Iterable[GoalRow]) -> list[GoalRow]:
    """Let accounts join and leave locked goals; returns these goals, all of whose days are dirty now."""
    leaves, joins = _by_goal(changes.leaves), _by_goal(changes.joins)
    touched = [goal for goal in goals if goal.key in leaves or goal.key in joins]
    for goal in touched:
        for account_id in leaves.get(goal.key, ()):
            store.leave_net_worth(session, (goal.tenant, account_id, goal.goal_id))
        if goal.key in joins:
            store.join_net_worth(session, goal.key, joins[goal.key], goal.final_at)
        goal.mark_dirty_from(goal.start_date)
    return touched


def _by_goal(belongings: Iterable[Belonging]) -> dict[GoalKey, list[str]]:
    found: dict[GoalKey, list[str]] = {}
    for tenant, account_id, goal_id in sorted(belongings):
        found.setdefault((tenant, goal_id), []).append(account_id)
    return found


@dataclass(frozen=True, slots=True)
class GoalsUpdated:
    """How many goals have changed, and how many milestones were reached."""

    goals: int
    milestones_reached: int


def update_goals(
    session: Session, written: Written, writes: Sequence[AccountWrite], moves: Moves, now: datetime
) -> GoalsUpdated:
    """Write the folded accounts, and update every goal that an account in `moves` funds.

    `written` is what the fast path did. The statements that write accounts also update, in place, the goals that depend
    on one account alone. All other goals are locked and recomputed here, from links and accounts that are read after
    the lock: else two shards would overwrite each other's amounts. Goals are still locked in an order without a cycle,
    because no other batch can need a goal that was updated in place: it would need the goal's account, which is locked.
    """
    memberships = find_membership_changes(session, moves.folded)
    further = write_accounts(session, writes, now)
    if late := written.late | further.late:
        _correct_links(session, links_of_accounts(session, late), moves)
    goals = lock_goals(session, written.to_recompute | further.to_recompute | memberships.goal_keys)
    regrouped = change_memberships(session, memberships, goals)
    recomputed = recompute_goals(session, goals, now, cause="events", moves=moves)
    recomputed.goals.update((goal.key, goal) for goal in regrouped)
    write_moved_goals(session, list(recomputed.goals.values()))
    milestones = recomputed.milestones_reached + mark_crossed(session, [*written.crossed, *further.crossed], moves, now)
    return GoalsUpdated(written.moved + further.moved + len(recomputed.goals), milestones)


def _correct_links(session: Session, periods: Sequence[LinkPeriod], moves: Mapping[AccountKey, AccountMove]) -> None:
    """Correct the bases and ends of links that begin or end after a movement of the batch."""
    deltas = ((period, *moves[period.account_key].deltas(period)) for period in periods)
    move_links(session, [delta for delta in deltas if delta[1] or delta[2]])


def mark_crossed(session: Session, goals: Sequence[CrossedGoal], moves: Moves, now: datetime) -> int:
    """Mark what goals that were updated in place have reached, as recompute_goals does for the others.

    Returns how many milestones.
    """
    if not goals:
        return 0
    crossings = [
        crossing_by_timeline(goal, timeline_of_link(goal, moves.running_sums(goal.account_key, goal.measure), now))
        for goal in goals
    ]
    marked = mark_crossings(session, crossings, now)
    write_crossed(session, goals)
    return marked
