"""Closing days: writes the snapshots of dirty days, marks the milestones they reach, and completes goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from core.events.calendar import day_end, day_start, local_day
from core.goals.goal import GoalStatus
from core.goals.progress import is_reached
from core.ingestion.crossings import Crossing, can_reach_milestones, is_at_target, mark_crossings
from core.ingestion.recompute import end_links, recompute_goals
from core.snapshots.amounts import Funding, GoalDays, compute_snapshots, find_ranges
from core.store.accounts import AccountKey, AccountRow, lock_accounts
from core.store.days import allow_long_work, clear_dirty_ranges, closed_through, lock_snapshots
from core.store.driver import plan_by_key
from core.store.forecasts import drop_forecasts
from core.store.goals import GoalKey, GoalRow, lock_goals, write_goal, write_moved_goals
from core.store.links import FundingRow, funding_of_goals, links_of_accounts
from core.store.snapshots import (
    DayRange,
    Snapshots,
    StoredSnapshots,
    note_rewrites,
    read_manual_amounts,
    read_stored_snapshots,
    write_snapshots,
)
from core.store.tenants import Tenant

# (first day, last day, amount in minor units) of equal snapshots, in order of day.
Stretches = Sequence[tuple[date, date, int]]
_DAY = timedelta(days=1)


@dataclass(slots=True)
class Rewrites:
    """The rows of snapshots as they were before the transaction and as they are after it; None means no row.

    `closed` is the day through which the tenant was closed before: rows after it are new and not rewritten. A goal may
    be closed for the first time when its first day is closed already for other goals. Then one row is enough: the first
    day always has a row of its own, so before it had one, no day of the goal was closed.
    """

    closed: date | None
    _new: set[GoalKey] = field(default_factory=set)
    _was: dict[tuple[str, str, date], int | None] = field(default_factory=dict)
    _is: dict[tuple[str, str, date], int | None] = field(default_factory=dict)

    @property
    def before(self) -> dict[tuple[str, str, date], int | None]:
        """The amounts before, by tenant, goal and day, of the rows that are different now."""
        return {row: was for row, was in self._was.items() if was != self._is[row]}

    def add(self, days: GoalDays, rows: Mapping[date, int], stored: StoredSnapshots) -> None:
        """Note where the rows that a range is to have differ from those that are stored."""
        key = days.goal.key
        if self.closed is None or key in self._new:
            return
        if stored.before_minor is None and not stored.rows and days.first == days.goal.start_date:
            self._new.add(key)
            if days.first <= self.closed:
                self._note((*key, days.first), None, rows[days.first])
            return
        for day in rows.keys() | stored.rows.keys():
            if day <= self.closed and rows.get(day) != stored.rows.get(day):
                self._note((*key, day), stored.rows.get(day), rows.get(day))

    def _note(self, row: tuple[str, str, date], was: int | None, now_is: int | None) -> None:
        self._was.setdefault(row, was)
        self._is[row] = now_is


@dataclass(frozen=True, slots=True)
class Snapshotted:
    """What was done. `closes` counts the rows of snapshots that were written or dropped.

    `left_to_others` counts the chunks that another process was working on all the time.
    """

    accounts: int = 0
    goals: int = 0
    closes: int = 0
    milestones_reached: int = 0
    completed: int = 0
    left_to_others: int = 0

    def __add__(self, other: Snapshotted) -> Snapshotted:
        return Snapshotted(
            self.accounts + other.accounts,
            self.goals + other.goals,
            self.closes + other.closes,
            self.milestones_reached + other.milestones_reached,
            self.completed + other.completed,
            self.left_to_others + other.left_to_others,
        )


def has_crossed(goal: GoalRow, stretches: Stretches, zone: ZoneInfo) -> bool:
    """Whether snapshots of a goal reach a milestone or the target that is not marked as reached yet."""
    if not can_reach_milestones(goal):
        return False
    upcoming = goal.next_milestone_minor
    if upcoming is not None and any(is_reached(goal.direction, amount, upcoming) for _, _, amount in stretches):
        return True
    return goal.reached_at is None and _target_day(goal, stretches, zone) is not None


def crossing_by_snapshots(goal: GoalRow, stretches: Stretches, zone: ZoneInfo) -> Crossing:
    """What the snapshots reach; the moment of each milestone is the last instant of the day that reached it."""

    def milestone_at(milestone_minor: int) -> datetime | None:
        for first, _, amount in stretches:
            if is_reached(goal.direction, amount, milestone_minor):
                return day_end(first, zone)
        return None

    day = _target_day(goal, stretches, zone)
    return Crossing(goal, milestone_at, None if day is None else day_end(day, zone))


def completing_day(goal: GoalRow, stretches: Stretches, zone: ZoneInfo) -> date | None:
    """The first day at whose end a goal with `auto_complete` is at its target; None if it is not to be completed."""
    return _target_day(goal, stretches, zone) if goal.auto_complete and can_reach_milestones(goal) else None


def close_touched_accounts(
    session: Session, tenant: Tenant, account_ids: Sequence[str], through: date, now: datetime
) -> Snapshotted:
    """Close the days that facts of these accounts made dirty, up to `through`, for all goals that they fund.

    `now` is the time at which the transaction began.
    """
    plan_by_key(session)
    allow_long_work(session)
    lock_snapshots(session, tenant.name, alone=False)
    accounts = lock_accounts(session, ((tenant.name, account_id) for account_id in account_ids))
    goals = lock_goals(session, (period.goal_key for period in links_of_accounts(session, accounts)))
    done = _close_days(session, tenant, goals, accounts, through, now)
    clear_dirty_ranges(session, sorted(accounts), through, tenant.zone)
    return done + Snapshotted(accounts=len(accounts))


def close_touched_goals(
    session: Session, tenant: Tenant, goal_ids: Sequence[str], through: date, now: datetime
) -> Snapshotted:
    """Close the days of these goals that requests made dirty, up to `through`, and complete the goals that are due."""
    plan_by_key(session)
    allow_long_work(session)
    lock_snapshots(session, tenant.name, alone=False)
    keys = [(tenant.name, goal_id) for goal_id in goal_ids]
    # Completing a goal ends its links, and only a transaction that has locked the accounts may change these.
    expected = {s.row.account_key for sources in funding_of_goals(session, keys).values() for s in sources}
    accounts = lock_accounts(session, expected)
    goals = [goal for goal in lock_goals(session, keys) if goal.dirty_from is not None and goal.dirty_from <= through]
    return _close_days(session, tenant, goals, {}, through, now, locked=accounts)


def _target_day(goal: GoalRow, stretches: Stretches, zone: ZoneInfo) -> date | None:
    """The first day whose snapshot is at the target, not before the day from which the goal is evaluated."""
    since = date.min if goal.evaluated_from is None else local_day(goal.evaluated_from, zone)
    for first, last, amount in stretches:
        if last >= since and is_at_target(goal, amount):
            return max(first, since)
    return None


def _close_days(
    session: Session,
    tenant: Tenant,
    goals: Sequence[GoalRow],
    accounts: Mapping[AccountKey, AccountRow],
    through: date,
    now: datetime,
    *,
    locked: Mapping[AccountKey, AccountRow] | None = None,
) -> Snapshotted:
    """Close the dirty days of locked goals: write snapshots, mark what they reach, complete goals.

    `locked` are the accounts that are locked, if goals may be completed. A goal that is due but has an account that is
    not locked stays dirty, so that `close_touched_goals` completes it.
    """
    funding = funding_of_goals(session, (goal.key for goal in goals))
    closed = closed_through(session, tenant.name)
    rewrites = Rewrites(closed)
    manual = read_manual_amounts(session, (goal.key for goal in goals if goal.manual_at is not None))
    ranges = [
        days
        for goal in goals
        for days in find_ranges(
            goal, funding[goal.key], accounts, tenant.zone, through, closed, manual.get(goal.key, ())
        )
    ]
    ranges, snapshots, written = _write_days(session, tenant, ranges, rewrites, funding)
    evaluated = _stretches_by_goal(ranges, snapshots)
    crossing = [goal for goal in goals if goal.key in evaluated and has_crossed(goal, evaluated[goal.key], tenant.zone)]
    crossings = [crossing_by_snapshots(goal, evaluated[goal.key], tenant.zone) for goal in crossing]
    marked = mark_crossings(session, crossings, now)
    changed = {goal.key: goal for goal in crossing}
    for goal in crossing:
        goal.version += 1
        goal.updated_at = max(now, goal.updated_at)
    completed = 0
    for goal in goals:
        if goal.dirty_from is not None and goal.dirty_from <= through:
            goal.dirty_from = through + _DAY if local_day(goal.acted_at, tenant.zone) > through else None
            changed[goal.key] = goal
        day = completing_day(goal, evaluated.get(goal.key, ()), tenant.zone)
        if day is None:
            continue
        if locked is not None and {s.row.account_key for s in funding[goal.key]} <= locked.keys():
            written += _complete(session, tenant, goal, funding[goal.key], day, through, now, rewrites)
            completed += 1
        else:
            # Accounts have to be locked before goals, so it is too late here: close_touched_goals completes it.
            goal.mark_dirty_from(day)
        changed[goal.key] = goal
    write_moved_goals(session, list(changed.values()))
    drop_forecasts(session, (days.goal.key for days in ranges))
    note_rewrites(session, rewrites.before, now)
    return Snapshotted(goals=len(goals), closes=written, milestones_reached=marked, completed=completed)


def _write_days(
    session: Session, tenant: Tenant, ranges: Sequence[GoalDays], rewrites: Rewrites, funding: Funding | None = None
) -> tuple[list[GoalDays], list[Snapshots], int]:
    """Compute the snapshots of ranges and write the rows that differ.

    Returns the ranges as they were done, their snapshots, and the number of rows written. If a process with a later
    clock has closed later days already, the snapshots of those are computed again as well.
    """
    wanted = [(days.goal.key, DayRange(days.first, None if days.is_open else days.last + _DAY)) for days in ranges]
    kept = read_stored_snapshots(session, wanted)
    extended = [
        replace(days, last=max(days.last, *stored.rows)) if days.is_open and stored.rows else days
        for days, stored in zip(ranges, kept, strict=True)
    ]
    snapshots = compute_snapshots(session, extended, tenant.zone, funding)
    return extended, snapshots, _write_differences(session, extended, snapshots, kept, rewrites)


def _write_differences(
    session: Session,
    ranges: Sequence[GoalDays],
    snapshots: Sequence[Snapshots],
    kept: Sequence[StoredSnapshots],
    rewrites: Rewrites,
) -> int:
    """Write the rows that differ from what is stored; returns how many."""
    new: list[tuple[GoalKey, date, int]] = []
    altered: list[tuple[GoalKey, date, int | None]] = []
    for days, computed, stored in zip(ranges, snapshots, kept, strict=True):
        rows = _sparse_rows(days, computed, stored)
        rewrites.add(days, rows, stored)
        for day, amount in rows.items():
            if day not in stored.rows:
                new.append((days.goal.key, day, amount))
            elif stored.rows[day] != amount:
                altered.append((days.goal.key, day, amount))
        altered += [(days.goal.key, day, None) for day in stored.rows if day not in rows]
    write_snapshots(session, new, altered)
    return len(new) + len(altered)


def _sparse_rows(days: GoalDays, computed: Snapshots, stored: StoredSnapshots) -> dict[date, int]:
    """The rows that a range should have: one for each day whose snapshot differs from the one before."""
    rows = dict(computed)
    if computed[0][1] == stored.before_minor:
        del rows[days.first]
    if not days.is_open:
        # The snapshot after the range stays as it is, but whether it differs from the one before may change.
        following = days.last + _DAY
        last_minor = next((stored.rows[day] for day in sorted(stored.rows, reverse=True)), stored.before_minor)
        if last_minor is not None and last_minor != computed[-1][1]:
            rows[following] = last_minor
    return rows


def _stretches_by_goal(
    ranges: Sequence[GoalDays], snapshots: Sequence[Snapshots]
) -> dict[GoalKey, list[tuple[date, date, int]]]:
    """By goal (first day, last day, amount) of each stretch of equal snapshots, in order of day."""
    stretches: dict[GoalKey, list[tuple[date, date, int]]] = {}
    for days, computed in zip(ranges, snapshots, strict=True):
        ends = [day - _DAY for day, _ in computed[1:]] + [days.last]
        own = stretches.setdefault(days.goal.key, [])
        own += [(day, end, amount) for (day, amount), end in zip(computed, ends, strict=True)]
    return stretches


def _complete(
    session: Session,
    tenant: Tenant,
    goal: GoalRow,
    sources: Sequence[FundingRow],
    day: date,
    through: date,
    now: datetime,
    rewrites: Rewrites,
) -> int:
    """Complete a goal as of the end of a day: facts after it no longer count, and its later snapshots stay equal.

    Returns how many rows of snapshots were written.
    """
    final_at = day_start(day + _DAY, tenant.zone)
    running = [s.row for s in sources if s.row.link.until_at is None or s.row.link.until_at > final_at]
    end_links(session, goal, running, final_at)
    goal.status, goal.final_at = GoalStatus.COMPLETED, final_at
    recompute_goals(session, [goal], now, cause="status")
    goal.version += 1
    goal.updated_at = max(now, goal.updated_at)
    write_goal(session, goal)
    return _write_days(session, tenant, [GoalDays(goal, day, through)], rewrites)[2]
