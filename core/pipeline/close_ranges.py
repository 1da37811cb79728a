"""Close ranges: from the marks on accounts and goals to the days of each goal that are to be closed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from core.events.calendar import local_day
from core.goals.closes import Typed
from core.goals.goal import follows_balances
from core.pipeline.close_goals import CloseJob
from core.store.accounts import AccountKey, AccountRow
from core.store.goals import GoalRow
from core.store.links import FundingRow

_DAY = timedelta(days=1)


@dataclass(slots=True)
class _Marked:
    """What the marks put in doubt: every close from a day on, and those of some late days."""

    open_from: date | None = None
    late_from: date | None = None
    late_through: date | None = None

    def add_open(self, day: date) -> None:
        self.open_from = day if self.open_from is None else min(self.open_from, day)

    def add_late(self, first: date, last: date) -> None:
        self.late_from = first if self.late_from is None else min(self.late_from, first)
        self.late_through = last if self.late_through is None else max(self.late_through, last)


def close_jobs(
    goal: GoalRow,
    sources: Iterable[FundingRow],
    accounts: Mapping[AccountKey, AccountRow],
    zone: ZoneInfo,
    through: date,
    closed_through: date | None,
    typed: Sequence[Typed] = (),
) -> list[CloseJob]:
    """The days of a goal to be closed, in order: at most some late ones and all from a day on, up to `through`.

    `accounts` are those whose marks count now; the goal's own mark counts too. Late days are closed by themselves only
    before a day that was closed already (`closed_through`), since only such a close can stay as it is. `typed` is all
    that was typed for the goal.
    """
    marked = _Marked()
    if goal.dirty_from is not None:
        marked.add_open(goal.dirty_from)
    for source in sources:
        account = accounts.get(source.row.account_key)
        if account is not None:
            _add_marks(marked, goal, source, account, zone, typed)
    return _jobs(goal, marked, through, date.min if closed_through is None else min(closed_through, through))


def _add_marks(
    marked: _Marked,
    goal: GoalRow,
    source: FundingRow,
    account: AccountRow,
    zone: ZoneInfo,
    typed: Sequence[Typed],
) -> None:
    """What an account's marks mean for a goal: nothing outside the days of the link."""
    link = source.row.link
    first = local_day(link.from_at, zone)
    last = date.max if link.until_at is None else local_day(link.until_at, zone)
    if account.dirty_from is not None and account.dirty_from <= last:
        marked.add_open(max(account.dirty_from, first))
    if account.late_from is None or account.late_through is None or account.late_from > last:
        return
    if source.row.measure != "inflow" and account.late_through + _DAY < first:
        return
    if _passes_on(goal, source, account.late_from, account.late_through, zone, typed):
        marked.add_open(max(account.late_from, first))
    else:
        marked.add_late(max(account.late_from, first), account.late_through)


def _passes_on(
    goal: GoalRow,
    source: FundingRow,
    late_from: date,
    late_through: date,
    zone: ZoneInfo,
    typed: Sequence[Typed],
) -> bool:
    """Whether late days change later closes too: inflow does, and a moment among them that is counted from or to."""
    link = source.row.link
    if source.row.measure == "inflow":
        return True
    turns = [link.until_at]
    if not follows_balances(goal.tracking):
        turns += [link.from_at, *(each.typed_at for each in typed)]
    days = [local_day(moment, zone) for moment in turns if moment is not None]
    return any(late_from <= day <= late_through + _DAY for day in days)


def _jobs(goal: GoalRow, marked: _Marked, through: date, closed: date) -> list[CloseJob]:
    open_from, late = marked.open_from, None
    if marked.late_from is not None and marked.late_through is not None:
        if open_from is None or marked.late_from < open_from:
            late = marked.late_from, marked.late_through
        if late is not None and late[1] >= min(closed, open_from - _DAY if open_from is not None else closed):
            open_from, late = late[0], None
    jobs = []
    if late is not None:
        first = max(late[0], goal.start_date)
        if first <= late[1]:
            jobs.append(CloseJob(goal, first, late[1], is_open=False))
    if open_from is not None:
        first = max(open_from, goal.start_date)
        if first <= through:
            jobs.append(CloseJob(goal, first, through))
    return jobs
