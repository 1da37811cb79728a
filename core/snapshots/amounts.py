"""Which days of a goal are to be closed, and its amount at the end of each, computed anew from facts."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from core.events.calendar import day_start, local_day
from core.goals.amounts import FundedLink, GoalHistory, ManualAmount, amount_before, begins_before
from core.goals.goal import follows_balances
from core.store import closes as store
from core.store.accounts import AccountKey, AccountRow
from core.store.closes import AccountDays, Closes, DayRange
from core.store.goals import GoalKey, GoalRow
from core.store.links import AccountMoment, FundingRow, MeasuresBefore, funding_of_goals, read_measures

_DAY = timedelta(days=1)
Funding = Mapping[GoalKey, Sequence[FundingRow]]
Moments = Mapping[AccountMoment, MeasuresBefore]


@dataclass(frozen=True, slots=True)
class CloseJob:
    """The days of one goal whose closes are wanted, both included. `is_open`: what moves later moves these too.

    Where it is False, a report after the last day tells the worth there, and nothing later has to be read.
    """

    goal: GoalRow
    first: date
    last: date
    is_open: bool = True


@dataclass(frozen=True, slots=True)
class _Goal:
    """A goal's history with the rows that it was made from."""

    history: GoalHistory
    sources: Sequence[FundingRow]


@dataclass(slots=True)
class _Line:
    """One account's measures at the closes of days."""

    days: list[date] = field(default_factory=list)
    worths: list[int] = field(default_factory=list)
    inflows: list[int] = field(default_factory=list)

    def at(self, day: date, measure: str) -> int:
        """The measure at the close of a day; the first entry stands for all days before the second."""
        values = self.inflows if measure == "inflow" else self.worths
        return values[max(bisect_right(self.days, day) - 1, 0)]


Lines = Mapping[AccountKey, _Line]


def close_goals(
    session: Session, jobs: Sequence[CloseJob], zone: ZoneInfo, funding: Funding | None = None
) -> list[Closes]:
    """The sparse closes of each job, in the order given: the first day and each on which the amount becomes another.

    All goals are of one tenant; `funding` is read here unless it is given. For closes to be written, the goals must
    be locked: a batch that moves one of their accounts has to lock them before it commits, so nothing that is read
    here can change meanwhile.
    """
    rows = {job.goal.key: job.goal for job in jobs}
    goals = _histories(session, rows, funding_of_goals(session, rows) if funding is None else funding)
    lines = _lines(session, jobs, goals, zone)
    moments = read_measures(session, _unknown_moments(jobs, goals, zone))
    return [_closes(job, goals[job.goal.key], lines, moments, zone) for job in jobs]


def close_jobs(
    goal: GoalRow,
    sources: Iterable[FundingRow],
    accounts: Mapping[AccountKey, AccountRow],
    zone: ZoneInfo,
    through: date,
    closed_through: date | None,
    manual: Sequence[ManualAmount] = (),
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
            _add_marks(marked, goal, source, account, zone, manual)
    return _jobs(goal, marked, through, date.min if closed_through is None else min(closed_through, through))


def _histories(session: Session, rows: Mapping[GoalKey, GoalRow], funding: Funding) -> dict[GoalKey, _Goal]:
    manual = store.read_manual_amounts(session, (key for key, row in rows.items() if row.manual_at is not None))
    return {key: _Goal(_history(row, funding[key], manual.get(key)), funding[key]) for key, row in rows.items()}


def _history(row: GoalRow, sources: Sequence[FundingRow], manual: Sequence[ManualAmount] | None) -> GoalHistory:
    # Whether a link ended before the last typing says nothing about the closes before that.
    links = [source.ever_funded(row) for source in sources]
    return GoalHistory(
        row.tracking, row.direction, manual or [ManualAmount(None, row.manual_minor)], links, row.final_at
    )


def _lines(
    session: Session, jobs: Sequence[CloseJob], goals: Mapping[GoalKey, _Goal], zone: ZoneInfo
) -> dict[AccountKey, _Line]:
    wanted: dict[AccountKey, DayRange] = {}
    present: dict[AccountKey, FundingRow] = {}
    for job in jobs:
        for source in goals[job.goal.key].sources:
            key = source.row.account_key
            present[key] = source
            is_open = job.is_open or source.row.measure == "inflow"
            wanted[key] = _joined(wanted.get(key), DayRange(job.first, None if is_open else job.last))
    found = store.read_account_days(session, wanted, max((job.last for job in jobs), default=date.min), zone)
    return {key: _line(days, present[key], wanted[key].first) for key, days in found.items()}


def _joined(one: DayRange | None, other: DayRange) -> DayRange:
    if one is None:
        return other
    last = None if one.last is None or other.last is None else max(one.last, other.last)
    return DayRange(min(one.first, other.first), last)


def _line(days: AccountDays, present: FundingRow, first: date) -> _Line:
    """Count back from the last close, whose worth is known."""
    worth = present.worth_minor if days.anchor_minor is None else days.anchor_minor
    inflow = present.inflow_minor
    line = _Line()
    for day, moved, came_in in reversed(days.days):
        line.days.append(day)
        line.worths.append(worth)
        line.inflows.append(inflow)
        worth, inflow = worth - moved, inflow - came_in
    line.days.append(first - _DAY)
    line.worths.append(worth)
    line.inflows.append(inflow)
    for values in (line.days, line.worths, line.inflows):
        values.reverse()
    return line


def _unknown_moments(jobs: Iterable[CloseJob], goals: Mapping[GoalKey, _Goal], zone: ZoneInfo) -> set[AccountMoment]:
    """The begins of links whose measures are kept nowhere: those under an amount that has been typed over since."""
    asked: set[AccountMoment] = set()
    for job in jobs:
        goal = goals[job.goal.key]
        if len(goal.history.manual) == 1:
            continue
        for day in _days_of_goal(job, goal, zone):
            for n, begin in begins_before(goal.history, day_start(day + _DAY, zone)):
                if begin != goal.history.links[n].link.begin_at:
                    asked.add((*goal.sources[n].row.account_key, begin))
    return asked


def _closes(job: CloseJob, goal: _Goal, lines: Lines, moments: Moments, zone: ZoneInfo) -> Closes:
    days = {job.first, *_days_of_goal(job, goal, zone)}
    for source in goal.sources:
        own = lines[source.row.account_key].days
        days.update(day for day in own if job.first < day <= job.last)
    closes: Closes = []
    for day in sorted(days):
        amount = _amount_at_close(day, goal, lines, moments, zone)
        if not closes or amount != closes[-1][1]:
            closes.append((day, amount))
    return closes


def _amount_at_close(day: date, goal: _Goal, lines: Lines, moments: Moments, zone: ZoneInfo) -> int:
    close = day_start(day + _DAY, zone)

    def measure_before(n: int, moment: datetime) -> int:
        row = goal.sources[n].row
        if moment == row.link.until_at and row.link.end_minor is not None:
            return row.link.end_minor
        if moment == row.link.begin_at:
            return row.link.base_minor
        if moment == close:
            return lines[row.account_key].at(day, row.measure)
        return moments[*row.account_key, moment].of(row.measure)

    return amount_before(goal.history, close, measure_before)


def _days_of_goal(job: CloseJob, goal: _Goal, zone: ZoneInfo) -> Iterable[date]:
    """The days of a job's range on which the goal itself changed, and the first."""
    changed = [manual.manual_at for manual in goal.history.manual]
    changed += [moment for funded in goal.history.links for moment in _ends(funded)]
    changed.append(goal.history.final_at)
    days = {local_day(moment, zone) for moment in changed if moment is not None}
    return {job.first, *(day for day in days if job.first < day <= job.last)}


def _ends(funded: FundedLink) -> tuple[datetime, datetime | None]:
    return funded.link.from_at, funded.link.until_at


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


def _add_marks(
    marked: _Marked,
    goal: GoalRow,
    source: FundingRow,
    account: AccountRow,
    zone: ZoneInfo,
    manual: Sequence[ManualAmount],
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
    if _passes_on(goal, source, account.late_from, account.late_through, zone, manual):
        marked.add_open(max(account.late_from, first))
    else:
        marked.add_late(max(account.late_from, first), account.late_through)


def _passes_on(
    goal: GoalRow,
    source: FundingRow,
    late_from: date,
    late_through: date,
    zone: ZoneInfo,
    manual: Sequence[ManualAmount],
) -> bool:
    """Whether late days change later closes too: inflow does, and a moment among them that is counted from or to."""
    link = source.row.link
    if source.row.measure == "inflow":
        return True
    turns = [link.until_at]
    if not follows_balances(goal.tracking):
        turns += [link.from_at, *(each.manual_at for each in manual)]
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
