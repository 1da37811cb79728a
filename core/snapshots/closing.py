"""Closing days: the days of goals that facts touched, what their amounts came to, and the goals that this completes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from core.events.calendar import day_end, day_start, local_day
from core.goals.goal import GoalStatus
from core.goals.progress import is_reached
from core.ingestion.reached import Crossing, can_reach_milestones, is_at_target, mark_crossings
from core.ingestion.recompute import end_links, recompute_goals
from core.snapshots.amounts import CloseJob, Funding, close_goals, close_jobs
from core.store.accounts import AccountKey, AccountRow, lock_accounts
from core.store.closes import (
    Closes,
    DayRange,
    StoredCloses,
    drop_forecasts,
    note_rewrites,
    read_closes,
    read_manual_amounts,
    write_closes,
)
from core.store.days import allow_long_work, clear_account_marks, closed_through, lock_closes
from core.store.driver import plan_by_key
from core.store.goals import GoalKey, GoalRow, lock_goals, write_goal, write_moved_goals
from core.store.links import FundingRow, funding_of_goals, links_of_accounts
from core.store.tenants import Tenant

# (first day, last day, amount in minor units) of equal closes, in order of day.
Stretches = Sequence[tuple[date, date, int]]
_DAY = timedelta(days=1)


@dataclass(slots=True)
class RewrittenCloses:
    """What rows of closes were before the transaction, and what they are after it; None stands for no row.

    `closed` is the day through which the tenant was closed before: what is written after it is no rewriting. Of a goal
    that is closed for the first time, though its first day was closed for others already, one row tells all: that day
    always has a row of its own, so before it had one the goal was not closed at all.
    """

    closed: date | None
    _new: set[GoalKey] = field(default_factory=set)
    _was: dict[tuple[str, str, date], int | None] = field(default_factory=dict)
    _is: dict[tuple[str, str, date], int | None] = field(default_factory=dict)

    @property
    def before(self) -> dict[tuple[str, str, date], int | None]:
        """By tenant, goal and day what was there before, where it is something else now."""
        return {row: was for row, was in self._was.items() if was != self._is[row]}

    def add(self, job: CloseJob, rows: Mapping[date, int], stored: StoredCloses) -> None:
        """Note how the rows that a job's range is to have differ from those that are stored."""
        key = job.goal.key
        if self.closed is None or key in self._new:
            return
        if stored.before_minor is None and not stored.rows and job.first == job.goal.start_date:
            self._new.add(key)
            if job.first <= self.closed:
                self._note((*key, job.first), None, rows[job.first])
            return
        for day in rows.keys() | stored.rows.keys():
            if day <= self.closed and rows.get(day) != stored.rows.get(day):
                self._note((*key, day), stored.rows.get(day), rows.get(day))

    def _note(self, row: tuple[str, str, date], was: int | None, now_is: int | None) -> None:
        self._was.setdefault(row, was)
        self._is[row] = now_is


@dataclass(frozen=True, slots=True)
class Snapshotted:
    """What was done: goals looked at, rows of closes written or dropped, milestones marked, goals completed.

    `left_to_others` counts the chunks that another process was at all the time.
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
    """Whether its closes lead a goal past anything that is not marked yet."""
    if not can_reach_milestones(goal):
        return False
    upcoming = goal.next_milestone_minor
    if upcoming is not None and any(is_reached(goal.direction, amount, upcoming) for _, _, amount in stretches):
        return True
    return goal.reached_at is None and _target_day(goal, stretches, zone) is not None


def crossing_by_snapshots(goal: GoalRow, stretches: Stretches, zone: ZoneInfo) -> Crossing:
    """What the closes came to; the moment of each is the last instant of the day whose close it was."""

    def milestone_at(milestone_minor: int) -> datetime | None:
        for first, _, amount in stretches:
            if is_reached(goal.direction, amount, milestone_minor):
                return day_end(first, zone)
        return None

    day = _target_day(goal, stretches, zone)
    return Crossing(goal, milestone_at, None if day is None else day_end(day, zone))


def completing_day(goal: GoalRow, stretches: Stretches, zone: ZoneInfo) -> date | None:
    """The first day at whose close a goal with `auto_complete` stood at its target; None: it is not to be completed."""
    return _target_day(goal, stretches, zone) if goal.auto_complete and can_reach_milestones(goal) else None


def close_touched_accounts(
    session: Session, tenant: Tenant, account_ids: Sequence[str], through: date, now: datetime
) -> Snapshotted:
    """Close the days that facts of these accounts touched, up to `through`, for all goals that they fund.

    `now` is the time at which the transaction began.
    """
    plan_by_key(session)
    allow_long_work(session)
    lock_closes(session, tenant.name, alone=False)
    accounts = lock_accounts(session, ((tenant.name, account_id) for account_id in account_ids))
    goals = lock_goals(session, (period.goal_key for period in links_of_accounts(session, accounts)))
    done = _close(session, tenant, goals, accounts, through, now)
    clear_account_marks(session, sorted(accounts), through, tenant.zone)
    return done + Snapshotted(accounts=len(accounts))


def close_touched_goals(
    session: Session, tenant: Tenant, goal_ids: Sequence[str], through: date, now: datetime
) -> Snapshotted:
    """Close the days that requests touched, up to `through`, and complete the goals that are to be completed."""
    plan_by_key(session)
    allow_long_work(session)
    lock_closes(session, tenant.name, alone=False)
    keys = [(tenant.name, goal_id) for goal_id in goal_ids]
    # Completing a goal ends its links, and these belong to who holds the accounts.
    expected = {s.row.account_key for sources in funding_of_goals(session, keys).values() for s in sources}
    accounts = lock_accounts(session, expected)
    goals = [goal for goal in lock_goals(session, keys) if goal.dirty_from is not None and goal.dirty_from <= through]
    return _close(session, tenant, goals, {}, through, now, held=accounts)


def _target_day(goal: GoalRow, stretches: Stretches, zone: ZoneInfo) -> date | None:
    """The first day whose close stands at the target, among those that the goal is judged by."""
    since = date.min if goal.evaluated_from is None else local_day(goal.evaluated_from, zone)
    for first, last, amount in stretches:
        if last >= since and is_at_target(goal, amount):
            return max(first, since)
    return None


def _close(
    session: Session,
    tenant: Tenant,
    goals: Sequence[GoalRow],
    accounts: Mapping[AccountKey, AccountRow],
    through: date,
    now: datetime,
    *,
    held: Mapping[AccountKey, AccountRow] | None = None,
) -> Snapshotted:
    """Steps 2 to 5 for locked goals. `held`: the accounts that are locked, where goals may be completed."""
    funding = funding_of_goals(session, (goal.key for goal in goals))
    closed = closed_through(session, tenant.name)
    rewritten = RewrittenCloses(closed)
    manual = read_manual_amounts(session, (goal.key for goal in goals if goal.manual_at is not None))
    jobs = [
        job
        for goal in goals
        for job in close_jobs(goal, funding[goal.key], accounts, tenant.zone, through, closed, manual.get(goal.key, ()))
    ]
    jobs, closes, written = _close_and_write(session, tenant, jobs, rewritten, funding)
    evaluated = _by_goal(jobs, closes)
    arrived = [goal for goal in goals if goal.key in evaluated and has_crossed(goal, evaluated[goal.key], tenant.zone)]
    crossings = [crossing_by_snapshots(goal, evaluated[goal.key], tenant.zone) for goal in arrived]
    marked = mark_crossings(session, crossings, now)
    changed = {goal.key: goal for goal in arrived}
    for goal in arrived:
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
        if held is not None and {s.row.account_key for s in funding[goal.key]} <= held.keys():
            written += _complete(session, tenant, goal, funding[goal.key], day, through, now, rewritten)
            completed += 1
        else:
            # Its accounts are not all locked, and it is too late for that: the pass over marked goals does it.
            goal.mark_from(day)
        changed[goal.key] = goal
    write_moved_goals(session, list(changed.values()))
    drop_forecasts(session, (job.goal.key for job in jobs))
    note_rewrites(session, rewritten.before, now)
    return Snapshotted(goals=len(goals), closes=written, milestones_reached=marked, completed=completed)


def _close_and_write(
    session: Session,
    tenant: Tenant,
    jobs: Sequence[CloseJob],
    rewritten: RewrittenCloses,
    funding: Funding | None = None,
) -> tuple[list[CloseJob], list[Closes], int]:
    """Compute the closes of jobs and write the rows that differ; the jobs as they were done, and how many rows.

    Where a later day was closed already, by a process that knew a later time, its close is computed anew as well.
    """
    wanted = [(job.goal.key, DayRange(job.first, None if job.is_open else job.last + _DAY)) for job in jobs]
    kept = read_closes(session, wanted)
    reached = [
        replace(job, last=max(job.last, *stored.rows)) if job.is_open and stored.rows else job
        for job, stored in zip(jobs, kept, strict=True)
    ]
    closes = close_goals(session, reached, tenant.zone, funding)
    return reached, closes, _write(session, reached, closes, kept, rewritten)


def _write(
    session: Session,
    jobs: Sequence[CloseJob],
    closes: Sequence[Closes],
    kept: Sequence[StoredCloses],
    rewritten: RewrittenCloses,
) -> int:
    """Write the rows that differ from what is stored; how many."""
    new: list[tuple[GoalKey, date, int]] = []
    altered: list[tuple[GoalKey, date, int | None]] = []
    for job, computed, stored in zip(jobs, closes, kept, strict=True):
        rows = _rows(job, computed, stored)
        rewritten.add(job, rows, stored)
        for day, amount in rows.items():
            if day not in stored.rows:
                new.append((job.goal.key, day, amount))
            elif stored.rows[day] != amount:
                altered.append((job.goal.key, day, amount))
        altered += [(job.goal.key, day, None) for day in stored.rows if day not in rows]
    write_closes(session, new, altered)
    return len(new) + len(altered)


def _rows(job: CloseJob, computed: Closes, stored: StoredCloses) -> dict[date, int]:
    """The rows of a job's range as they should be: where the close is another than the one before."""
    rows = dict(computed)
    if computed[0][1] == stored.before_minor:
        del rows[job.first]
    if not job.is_open:
        # The close after the range stays what it is, but whether it differs from the one before may change.
        following = job.last + _DAY
        standing = next((stored.rows[day] for day in sorted(stored.rows, reverse=True)), stored.before_minor)
        if standing is not None and standing != computed[-1][1]:
            rows[following] = standing
    return rows


def _by_goal(jobs: Sequence[CloseJob], closes: Sequence[Closes]) -> dict[GoalKey, list[tuple[date, date, int]]]:
    """(first day, last day, amount) of each stretch of equal closes, in order of day."""
    stretches: dict[GoalKey, list[tuple[date, date, int]]] = {}
    for job, computed in zip(jobs, closes, strict=True):
        ends = [day - _DAY for day, _ in computed[1:]] + [job.last]
        own = stretches.setdefault(job.goal.key, [])
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
    rewritten: RewrittenCloses,
) -> int:
    """Complete a goal as of the close of a day: later facts count no more, nor do later closes."""
    final_at = day_start(day + _DAY, tenant.zone)
    running = [s.row for s in sources if s.row.link.until_at is None or s.row.link.until_at > final_at]
    end_links(session, goal, running, final_at)
    goal.status, goal.final_at = GoalStatus.COMPLETED, final_at
    recompute_goals(session, [goal], now, cause="status")
    goal.version += 1
    goal.updated_at = max(now, goal.updated_at)
    write_goal(session, goal)
    return _close_and_write(session, tenant, [CloseJob(goal, day, through)], rewritten)[2]
