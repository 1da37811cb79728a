"""Updating the goals that depend on the accounts of a batch: their links, members of net worths, and amounts."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from core.goals.goal import Tracking
from core.ingestion.account_fold import Folded
from core.ingestion.account_moves import AccountMoves
from core.ingestion.crossings import mark_crossed
from core.ingestion.recompute import recompute_goals
from core.ingestion.spans import update_spans
from core.store import net_worths as store
from core.store.accounts import AccountKey, write_attributes, write_has_dates, write_known_by_rows
from core.store.driver import Session
from core.store.goals import GoalKey, GoalRow, read_goals, write_moved_goals
from core.store.links import links_of_accounts, move_links
from core.store.moves import write_accounts
from core.store.net_worths import Belonging


@dataclass(frozen=True, slots=True)
class MembershipChanges:
    """The accounts that join, leave, or stay in net worth goals with another currency than before.

    The goals have to be locked before accounts join and leave.
    """

    joins: frozenset[Belonging] = frozenset()
    leaves: frozenset[Belonging] = frozenset()
    stays: frozenset[Belonging] = frozenset()

    @property
    def goal_keys(self) -> set[GoalKey]:
        """The goals of all these accounts."""
        return {(tenant, goal_id) for tenant, _, goal_id in self.joins | self.leaves | self.stays}


def find_membership_changes(session: Session, moves: AccountMoves) -> MembershipChanges:
    """What follows from the new users and currencies of locked accounts; no query while no account has new ones."""
    changed = moves.new_memberships()
    if not changed:
        return MembershipChanges()
    members = {key: new.user_id for key, new in changed.items() if new.user_id}
    store.lock_users(session, ((key[0], user_id) for key, user_id in members.items()))
    wanted = store.wanted_belongings(session, members)
    present = store.present_belongings(session, changed)
    return MembershipChanges(frozenset(wanted - present), frozenset(present - wanted), frozenset(wanted & present))


def change_memberships(session: Session, changes: MembershipChanges, goals: Iterable[GoalRow]) -> list[GoalRow]:
    """Let accounts join and leave locked goals; returns the goals of `changes`, all of whose days are dirty now.

    A goal that was not a net worth any more when it was locked is left out.
    """
    leaves, joins, keys = _by_goal(changes.leaves), _by_goal(changes.joins), changes.goal_keys
    touched = [goal for goal in goals if goal.key in keys and goal.tracking is Tracking.NET_WORTH]
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


def update_goals(session: Session, folded: Folded, zones: Mapping[str, ZoneInfo], now: datetime) -> GoalsUpdated:
    """Write the folded accounts, and update every goal that an account which moved funds.

    The statement that writes the accounts also locks these goals, and moves most of them by the difference of their
    shares. The others are recomputed here, from links and accounts that are read after the lock: else two shards would
    overwrite each other's amounts.
    """
    memberships = find_membership_changes(session, folded.moves)
    spanned = links_of_accounts(session, folded.spanned)
    to_recompute = memberships.goal_keys.union([link.goal_key for link in spanned])
    moved = write_accounts(session, folded.additions, folded.writes, to_recompute, now)
    write_attributes(session, folded.described_anew)
    write_known_by_rows(session, folded.known_by_rows)
    write_has_dates(session, folded.dated_anew)
    left = read_goals(session, moved.to_recompute)
    _correct_links(session, moved.late - folded.spanned, folded.moves)
    if folded.spanned:
        update_spans(session, folded.spanned, spanned, folded.moves, zones, now)
    with_members = change_memberships(session, memberships, left)
    recomputed = recompute_goals(session, left, now, cause="events", moves=folded.moves)
    for goal in with_members:
        # What it says of its accounts is new, even if its amount is not.
        goal.version += goal.key not in recomputed.goals
        goal.updated_at = max(now, goal.updated_at)
        recomputed.goals[goal.key] = goal
    write_moved_goals(session, list(recomputed.goals.values()))
    milestones = recomputed.milestones_reached + mark_crossed(session, moved.crossed, folded.moves, now)
    return GoalsUpdated(moved.goals + len(recomputed.goals), milestones)


def _correct_links(session: Session, late: Set[AccountKey], moves: AccountMoves) -> None:
    """Correct the bases and ends of links that begin or end after a movement of the batch."""
    deltas = []
    for period in links_of_accounts(session, late):
        move = moves.of(period.account_key)
        if move is not None and any(own := move.deltas(period)):
            deltas.append((period, *own))
    move_links(session, deltas)
