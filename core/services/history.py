"""The past of a goal: the lines of its ledger, and its amounts at the end of each day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy.orm import Session

from core.errors import InvalidField
from core.events.calendar import last_closed_day
from core.services.goal_access import find_goal
from core.services.inputs import check_past
from core.services.pages import Page, cut, number_after
from core.snapshots.amounts import GoalDays, compute_snapshots
from core.store.closes import Closes, DayRange, known_through, read_closes, read_closes_as_known
from core.store.days import accounts_dirty_from
from core.store.goals import GoalRow
from core.store.ledger import Entry, entries_of_goal
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

    With `as_known_at` the ledger as it was at that moment, the amount then being that of its first line.
    """
    goal = find_goal(session, tenant, goal_id)
    check_past("as_known_at", as_known_at, now)
    below = number_after(cursor)
    entries = entries_of_goal(session, goal.key, below=below, limit=limit + 1, at=as_known_at)
    return goal.currency, cut(entries, limit, lambda entry: entry.entry)


DAYS_MOST = 3_660
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class CloseView:
    """The goal's amount at the close of one local day, in minor units."""

    day: date
    amount_minor: int


@dataclass(frozen=True, slots=True)
class SnapshotsView:
    """Closes in order of day, without a gap."""

    currency: str
    closes: tuple[CloseView, ...]


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
    """Every closed day of a goal within a range, both ends included; days before its start or not over are left out.

    Without `to_day` up to the last closed day, without `from_day` from the start, but at most ten years. With
    `as_known_at` the closes as the job had written them by that moment, and of the days that it had closed by then.
    Raises NotFound, and InvalidField for a range that is backwards or longer than ten years, and for a moment that is
    to come or before all that is recorded.
    """
    goal = find_goal(session, tenant, goal_id)
    last: date | None = last_closed_day(now, tenant.zone)
    if as_known_at is not None:
        last = _last_known(session, goal, as_known_at, now)
    first, to = _days(goal, from_day, to_day, last)
    if first > to:
        closes = []
    elif as_known_at is None:
        closes = read_dense_closes(session, tenant, goal, first, to)
    else:
        closes = _dense(read_closes_as_known(session, goal, DayRange(first, to), as_known_at), to)
    return SnapshotsView(goal.currency, tuple(closes))


def _days(goal: GoalRow, from_day: date | None, to_day: date | None, last: date | None) -> tuple[date, date]:
    """The first and the last day of the answer, the first after the last if it has none; raises InvalidField."""
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
    """The last day whose close was known at a moment; None before the first. Raises InvalidField."""
    check_past("as_known_at", at, now)
    if at < goal.created_at:
        return None
    return known_through(session, goal.tenant, at)


def read_dense_closes(session: Session, tenant: Tenant, goal: GoalRow, first: date, last: date) -> list[CloseView]:
    """The close of every day from `first`, which must not be before the goal's start, to `last`.

    What is marked as touched since it was closed, or is not closed yet, is computed from facts as they are now.
    """
    if first > last:
        return []
    stored = read_closes(session, [(goal.key, DayRange(first, last))])[0]
    closes: Closes = [] if stored.before_minor is None else [(first, stored.before_minor)]
    closes += sorted(stored.rows.items())
    marked = _marked_from(session, goal)
    if marked is not None and marked <= last:
        begin = max(marked, first)
        fresh = compute_snapshots(session, [GoalDays(goal, begin, last)], tenant.zone)[0]
        closes = [close for close in closes if close[0] < begin] + fresh
    return _dense(closes, last)


def is_marked(session: Session, goal: GoalRow, through: date) -> bool:
    """Whether any close up to a day is in doubt, or was never written."""
    marked = _marked_from(session, goal)
    return marked is not None and marked <= through


def _marked_from(session: Session, goal: GoalRow) -> date | None:
    marks = [day for day in (goal.dirty_from, accounts_dirty_from(session, goal.key)) if day is not None]
    return min(marks, default=None)


def _dense(closes: Closes, last: date) -> list[CloseView]:
    """A view a day: a day without a row of its own has the amount of the one before."""
    views = []
    for number, (day, amount) in enumerate(closes):
        end = closes[number + 1][0] if number + 1 < len(closes) else last + _DAY
        views += [CloseView(day + n * _DAY, amount) for n in range((end - day).days)]
    return views
