"""Closing days: writes the snapshots of dirty days, marks the milestones they reach, and completes goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from core.events.calendar import INSTANT, day_start, local_day
from core.goals.goal import GoalStatus
from core.ingestion.crossings import are_closes_evaluated
from core.ingestion.messages import completion_withdrawn, goal_completed, was_known
from core.ingestion.recompute import end_links, recompute_goals, restore_links
from core.snapshots.amounts import Funding, GoalDays, compute_snapshots, find_ranges
from core.snapshots.marks import ClosedRange, mark_by_closes, target_day
from core.store.accounts import AccountKey, AccountRow, lock_accounts
from core.store.days import begin_long_work, clear_dirty_ranges, closed_through, lock_snapshots
from core.store.driver import Session
from core.store.forecasts import drop_forecasts
from core.store.goals import GoalKey, GoalRow, lock_goals, write_goal, write_moved_goals
from core.store.links import FundingRow, funding_of_goals, links_of_accounts
from core.store.outbox import withdraw_messages, write_messages
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


def close_touched_accounts(
    session: Session, tenant: Tenant, account_ids: Sequence[str], through: date, now: datetime
) -> Snapshotted:
    """Close the days that facts of these accounts made dirty, up to `through`, for all goals that they fund.

    `now` is the time at which the transaction began.
    """
    begin_long_work(session)
    lock_snapshots(session, tenant.name, alone=False)
    accounts = lock_accounts(session, ((tenant.name, account_id) for account_id in account_ids))
    goals = lock_goals(session, (period.goal_key for period in links_of_accounts(session, accounts)))
    done = _close_days(session, tenant, goals, accounts, through, now)
    clear_dirty_ranges(session, accounts, through, tenant.zone)
    return done + Snapshotted(accounts=len(accounts))


def close_touched_goals(
    session: Session, tenant: Tenant, goal_ids: Sequence[str], through: date, now: datetime
) -> Snapshotted:
    """Close the days of these goals that requests made dirty, up to `through`, and complete the goals that are due."""
    begin_long_work(session)
    lock_snapshots(session, tenant.name, alone=False)
    keys = [(tenant.name, goal_id) for goal_id in goal_ids]
    # Completing a goal ends its links, and only a transaction that has locked the accounts may change these.
    expected = {s.row.account_key for sources in funding_of_goals(session, keys).values() for s in sources}
    accounts = lock_accounts(session, expected)
    goals = [goal for goal in lock_goals(session, keys) if goal.dirty_from is not None and goal.dirty_from <= through]
    return _close_days(session, tenant, goals, {}, through, now, locked=accounts)


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
    ranges = _dirty_ranges(session, tenant, goals, accounts, funding, through, closed)
    closed_ranges, written = _write_days(session, tenant, ranges, rewrites, funding)
    changed: dict[GoalKey, GoalRow] = {}
    completed = 0
    for goal in goals:
        if goal.dirty_from is not None and goal.dirty_from <= through:
            goal.dirty_from = through + _DAY if local_day(goal.acted_at, tenant.zone) > through else None
            changed[goal.key] = goal
        own = closed_ranges.get(goal.key)
        if not own or not _is_to_finish(goal, funding[goal.key], own, tenant.zone):
            continue
        changed[goal.key] = goal
        first = own[0].days.first
        if locked is None or not {s.row.account_key for s in funding[goal.key]} <= locked.keys():
            # Accounts have to be locked before goals, so it is too late here: close_touched_goals finishes it.
            goal.mark_dirty_from(first)
            continue
        if goal.auto_completed:
            _take_completion_back(session, goal, funding[goal.key], now)
            funding = funding_of_goals(session, (goal.key for goal in goals))
            again, rows = _write_days(session, tenant, [GoalDays(goal, first, through)], rewrites, funding)
            own, written = again[goal.key], written + rows
        day = target_day(goal, funding[goal.key], own, tenant.zone)
        if day is not None:
            _complete(session, goal, funding[goal.key], day, now, tenant.zone)
            funding = funding_of_goals(session, (goal.key for goal in goals))
            finished, rows = _write_days(session, tenant, [GoalDays(goal, first, through)], rewrites, funding)
            own, written, completed = finished[goal.key], written + rows, completed + 1
        closed_ranges[goal.key] = own
    marked, remarked = mark_by_closes(session, closed_ranges, funding, through, tenant.zone, now)
    for goal in goals:
        if goal.key in remarked:
            goal.version += 1
            goal.updated_at = max(now, goal.updated_at)
            changed[goal.key] = goal
    write_moved_goals(session, list(changed.values()))
    # While a new day is being closed, the run for that day stores them.
    is_behind = closed is not None and through <= closed
    drop_forecasts(session, closed_ranges, due_again=closed if is_behind else None)
    note_rewrites(session, rewrites.before, now)
    return Snapshotted(goals=len(goals), closes=written, milestones_reached=marked, completed=completed)


def _dirty_ranges(
    session: Session,
    tenant: Tenant,
    goals: Sequence[GoalRow],
    accounts: Mapping[AccountKey, AccountRow],
    funding: Funding,
    through: date,
    closed: date | None,
) -> list[GoalDays]:
    """The days of goals that are to be closed, up to `through`, by what makes them dirty."""
    manual = read_manual_amounts(session, (goal.key for goal in goals if goal.manual_at is not None))
    return [
        days
        for goal in goals
        for days in find_ranges(
            goal, funding[goal.key], accounts, tenant.zone, through, closed, manual.get(goal.key, ())
        )
    ]


def _is_to_finish(goal: GoalRow, sources: Sequence[FundingRow], ranges: Sequence[ClosedRange], zone: ZoneInfo) -> bool:
    """Whether closes complete a goal with `auto_complete`, or no longer bear out that it was completed at its day."""
    if goal.status is GoalStatus.ACTIVE:
        return goal.auto_complete and are_closes_evaluated(goal) and target_day(goal, sources, ranges, zone) is not None
    if not goal.auto_completed or goal.final_at is None:
        return False
    final_day = local_day(goal.final_at - INSTANT, zone)
    day = target_day(goal, sources, ranges, zone)
    if day is not None and day <= final_day:
        return day < final_day
    return any(closed.days.first <= final_day <= closed.days.last for closed in ranges)


def _write_days(
    session: Session, tenant: Tenant, ranges: Sequence[GoalDays], rewrites: Rewrites, funding: Funding
) -> tuple[dict[GoalKey, list[ClosedRange]], int]:
    """Compute the snapshots of ranges and write the rows that differ.

    Returns the ranges of each goal as they were closed, in order of day, and the number of rows written. If a process
    with a later clock has closed later days already, the snapshots of those are computed again as well.
    """
    wanted = [(days.goal.key, DayRange(days.first, None if days.is_open else days.last + _DAY)) for days in ranges]
    kept = read_stored_snapshots(session, wanted)
    extended = [
        replace(days, last=max(days.last, *stored.rows)) if days.is_open and stored.rows else days
        for days, stored in zip(ranges, kept, strict=True)
    ]
    snapshots = compute_snapshots(session, extended, tenant.zone, funding)
    written = _write_differences(session, extended, snapshots, kept, rewrites)
    closed: dict[GoalKey, list[ClosedRange]] = {}
    for days, computed in zip(extended, snapshots, strict=True):
        ends = [day - _DAY for day, _ in computed[1:]] + [days.last]
        stretches = [(day, end, amount) for (day, amount), end in zip(computed, ends, strict=True)]
        closed.setdefault(days.goal.key, []).append(ClosedRange(days, stretches))
    return closed, written


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


def _complete(
    session: Session, goal: GoalRow, sources: Sequence[FundingRow], day: date, now: datetime, zone: ZoneInfo
) -> None:
    """Complete a goal as of the end of a day: facts after it no longer count."""
    final_at = day_start(day + _DAY, zone)
    running = [s.row for s in sources if s.row.link.until_at is None or s.row.link.until_at > final_at]
    end_links(session, goal, running, final_at)
    is_old = was_known(goal, sources, final_at - INSTANT)
    goal.status, goal.final_at, goal.auto_completed = GoalStatus.COMPLETED, final_at, True
    _write_status(session, goal, now)
    write_messages(session, [goal_completed(goal, now, is_historical=is_old)])


def _take_completion_back(session: Session, goal: GoalRow, sources: Sequence[FundingRow], now: datetime) -> None:
    """Make a goal active again as if it had never been completed."""
    goal.status, goal.final_at, goal.auto_completed = GoalStatus.ACTIVE, None, False
    restore_links(session, goal, (source.row for source in sources))
    _write_status(session, goal, now)
    withdraw_messages(session, [completion_withdrawn(goal, now)])


def _write_status(session: Session, goal: GoalRow, now: datetime) -> None:
    recompute_goals(session, [goal], now, cause="status")
    goal.version += 1
    goal.updated_at = max(now, goal.updated_at)
    write_goal(session, goal)
