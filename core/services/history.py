"""The past of a goal: the lines of its ledger, and its snapshots, which are its amounts at the end of each day."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from core.errors import InvalidField
from core.events.calendar import last_closed_day
from core.goals.projection import PaceDays
from core.services.goal_access import find_goal
from core.services.inputs import check_past
from core.services.pages import Page, cut, number_after
from core.snapshots.amounts import GoalDays, compute_snapshots
from core.store.days import accounts_dirty_from
from core.store.driver import Session
from core.store.goals import GoalRow
from core.store.ledger import Entry, entries_of_goal
from core.store.snapshots import (
    Close,
    Closes,
    DayRange,
    Snapshots,
    known_through,
    read_closes,
    read_snapshots_as_known,
    read_stored_snapshots,
)
from core.store.tenants import Tenant


def read_history(
    session: Session,
    tenant: Tenant,
    goal_id: str,
    *,
    limit: int,
    cursor: str | None,
    now: datetime,
    as_known_at: datetime | None = None,
) -> tuple[str, Page[Entry]]:
    """The goal's currency, and a page of its ledger, newest first; raises NotFound and InvalidField.

    With `as_known_at` it is the ledger as it was at that moment; its first line has the amount of that moment.
    """
    goal = find_goal(session, tenant, goal_id)
    check_past("as_known_at", as_known_at, now)
    below = number_after(cursor)
    entries = entries_of_goal(session, goal.key, below=below, limit=limit + 1, at=as_known_at)
    return goal.currency, cut(entries, limit, lambda entry: entry.entry)


DAYS_MOST = 3_660
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class SnapshotView:
    """The goal's amount at the end of one local day, in minor units."""

    day: date
    amount_minor: int


@dataclass(frozen=True, slots=True)
class SnapshotsView:
    """Snapshots in order of day, without a gap."""

    currency: str
    snapshots: tuple[SnapshotView, ...]


def read_snapshots(
    session: Session,
    tenant: Tenant,
    goal_id: str,
    *,
    from_day: date | None,
    to_day: date | None,
    now: datetime,
    as_known_at: datetime | None = None,
) -> SnapshotsView:
    """The snapshot of every closed day of a goal within a range, both ends included.

    Days before the goal's start and days that are not over are left out. Without `to_day` the range ends with the last
    closed day; without `from_day` it begins with the goal's start, but has at most ten years. With `as_known_at` the
    snapshots are those that the snapshot job had written by that moment, for the days that it had closed by then.
    Raises NotFound, and InvalidField for a range that is backwards or longer than ten years and for a moment in the
    future.
    """
    goal = find_goal(session, tenant, goal_id)
    last: date | None = last_closed_day(now, tenant.zone)
    if as_known_at is not None:
        last = _last_known(session, goal, as_known_at, now)
    first, to = _days(goal, from_day, to_day, last)
    if first > to:
        snapshots = []
    elif as_known_at is None:
        snapshots = read_daily_snapshots(session, tenant, goal, first, to)
    else:
        snapshots = _dense(read_snapshots_as_known(session, goal, DayRange(first, to), as_known_at), to)
    return SnapshotsView(goal.currency, tuple(snapshots))


def _days(goal: GoalRow, from_day: date | None, to_day: date | None, last: date | None) -> tuple[date, date]:
    """The first and the last day of the answer; the first is after the last if there is none. Raises InvalidField."""
    if from_day is not None and to_day is not None:
        if from_day > to_day:
            raise InvalidField("from", f"must not be after to, {to_day}")
        if (to_day - from_day).days >= DAYS_MOST:
            raise InvalidField("from", f"must be at most ten years ({DAYS_MOST:,} days) before to")
    first = goal.start_date if from_day is None else max(from_day, goal.start_date)
    if last is None:
        return first, first - _DAY
    to = last if to_day is None else min(to_day, last)
    if (to - first).days >= DAYS_MOST:
        if from_day is not None:
            raise InvalidField("from", f"must be at most ten years ({DAYS_MOST:,} days) before the last day asked for")
        first = to - (DAYS_MOST - 1) * _DAY
    return first, to


def _last_known(session: Session, goal: GoalRow, at: datetime, now: datetime) -> date | None:
    """The last day that was closed at a moment; None before the first. Raises InvalidField."""
    check_past("as_known_at", at, now)
    if at < goal.created_at:
        return None
    return known_through(session, goal.tenant, at)


def read_daily_snapshots(
    session: Session, tenant: Tenant, goal: GoalRow, first: date, last: date
) -> list[SnapshotView]:
    """The snapshot of every day from `first`, which must not be before the goal's start, to `last`.

    Days that are dirty or not closed yet are computed from the facts as they are now.
    """
    if first > last:
        return []
    stored = read_stored_snapshots(session, [(goal.key, DayRange(first, last))])[0]
    snapshots: Snapshots = [] if stored.before_minor is None else [(first, stored.before_minor)]
    snapshots += sorted(stored.rows.items())
    dirty_from = _dirty_from(session, goal)
    if dirty_from is not None and dirty_from <= last:
        begin = max(dirty_from, first)
        fresh = compute_snapshots(session, [GoalDays(goal, begin, last)], tenant.zone)[0]
        snapshots = [each for each in snapshots if each[0] < begin] + fresh
    return _dense(snapshots, last)


def closes_on(session: Session, tenant: Tenant, goal: GoalRow, days: PaceDays) -> Closes:
    """The closes of a goal on the days that say its pace.

    Days that are dirty or not closed yet are computed from the facts as they are now.
    """
    dirty_from = _dirty_from(session, goal) or date.max
    through, month_begin, begin = (min(day, dirty_from - _DAY) for day in days[:3])
    (stored,) = read_closes(session, [(goal.key, PaceDays(through, month_begin, begin, days.months))])
    if stored is not None and days.through < dirty_from:
        return stored
    fresh_from = days.begin if stored is None else max(days.begin, dirty_from)
    (computed,) = compute_snapshots(session, [GoalDays(goal, fresh_from, days.through)], tenant.zone)

    def close(day: date, before: Close | None) -> Close:
        if before is not None and day < fresh_from:
            return before
        fresh = Close(*next(each for each in reversed(computed) if each[0] <= day))
        is_same = before is not None and fresh == (dirty_from, before.amount_minor)
        return before if before is not None and is_same else fresh

    befores = stored or (None, None, None)
    return Closes(*(close(day, before) for day, before in zip(days[:3], befores, strict=True)))


def _dirty_from(session: Session, goal: GoalRow) -> date | None:
    days = [day for day in (goal.dirty_from, accounts_dirty_from(session, goal.key)) if day is not None]
    return min(days, default=None)


def _dense(snapshots: Snapshots, last: date) -> list[SnapshotView]:
    """A snapshot for every day: a day without a row has the amount of the day before."""
    views = []
    for number, (day, amount) in enumerate(snapshots):
        end = snapshots[number + 1][0] if number + 1 < len(snapshots) else last + _DAY
        views += [SnapshotView(day + n * _DAY, amount) for n in range((end - day).days)]
    return views
