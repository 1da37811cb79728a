"""Which days of a goal are to be closed, and its amount at the end of each, computed from facts."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from core.events.calendar import day_start, local_day
from core.goals.amounts import GoalHistory, ManualAmount, amount_before, begins_before
from core.goals.goal import follows_balances
from core.snapshots.movements import read_counted_movements
from core.store import snapshots as store
from core.store.accounts import AccountKey, AccountRow
from core.store.driver import Session
from core.store.goals import GoalKey, GoalRow
from core.store.links import FundingRow, funding_of_goals
from core.store.measures import AccountMoment, MeasuresBefore, read_measures
from core.store.snapshots import AccountDays, DayRange, Snapshots

_DAY = timedelta(days=1)
Funding = Mapping[GoalKey, Sequence[FundingRow]]
Moments = Mapping[AccountMoment, MeasuresBefore]


@dataclass(frozen=True, slots=True)
class GoalDays:
    """The days of one goal to compute snapshots for, from `first` to `last`, both included.

    `is_open` is False if a report after the last day fixes the worth there, so that nothing later has to be read.
    """

    goal: GoalRow
    first: date
    last: date
    is_open: bool = True


@dataclass(frozen=True, slots=True)
class DatedGoal:
    """A goal's history with the rows that it was made from."""

    history: GoalHistory
    sources: Sequence[FundingRow]


@dataclass(slots=True)
class _DayMeasures:
    """The measures of one account at the ends of days."""

    days: list[date] = field(default_factory=list)
    worths: list[int] = field(default_factory=list)
    inflows: list[int] = field(default_factory=list)

    def at(self, day: date, measure: str) -> int:
        """The measure at the end of a day; the first entry is for all days before the second."""
        values = self.inflows if measure == "inflow" else self.worths
        return values[max(bisect_right(self.days, day) - 1, 0)]


@dataclass(slots=True)
class _DirtyDays:
    """The days to be closed: all from a day on (`open_from`), and a range of late days."""

    open_from: date | None = None
    late_from: date | None = None
    late_through: date | None = None

    def add_open(self, day: date) -> None:
        self.open_from = day if self.open_from is None else min(self.open_from, day)

    def add_late(self, first: date, last: date) -> None:
        self.late_from = first if self.late_from is None else min(self.late_from, first)
        self.late_through = last if self.late_through is None else max(self.late_through, last)


AccountMeasures = Mapping[AccountKey, _DayMeasures]


def compute_snapshots(
    session: Session, ranges: Sequence[GoalDays], zone: ZoneInfo, funding: Funding | None = None
) -> list[Snapshots]:
    """The sparse snapshots of each range, in the order given: the first day's, then each that differs from the last.

    All goals are of one tenant; `funding` is read here unless it is given. If the snapshots are to be written, the
    goals must be locked: a batch that moves one of their accounts has to lock them before it commits, so nothing that
    is read here can change meanwhile.
    """
    rows = {days.goal.key: days.goal for days in ranges}
    goals = dated_goals(session, rows, funding_of_goals(session, rows) if funding is None else funding)
    measures = _read_day_measures(session, ranges, goals, zone)
    moments = read_measures(session, _moments_to_read(ranges, goals, zone))
    return [_snapshots(days, goals[days.goal.key], measures, moments, zone) for days in ranges]


def find_ranges(
    goal: GoalRow,
    sources: Iterable[FundingRow],
    accounts: Mapping[AccountKey, AccountRow],
    zone: ZoneInfo,
    through: date,
    closed_through: date | None,
    manual: Sequence[ManualAmount] = (),
) -> list[GoalDays]:
    """The days of a goal that have to be closed, in order: at most a range of late days and all days from a day on.

    No day after `through` is among them. The dirty ranges of `accounts` count, and that of the goal itself. Late days
    are closed by themselves only if the days after them were closed before (`closed_through`), since only then can the
    snapshots after them stay as they are. `manual` has all manual amounts of the goal.
    """
    dirty = _DirtyDays()
    if goal.dirty_from is not None:
        dirty.add_open(goal.dirty_from)
    for source in sources:
        account = accounts.get(source.row.account_key)
        if account is not None:
            _add_dirty_days(dirty, goal, source, account, zone, manual)
    return _ranges(goal, dirty, through, date.min if closed_through is None else min(closed_through, through))


def dated_goals(session: Session, rows: Mapping[GoalKey, GoalRow], funding: Funding) -> dict[GoalKey, DatedGoal]:
    """The histories of goals of one tenant."""
    manual = store.read_manual_amounts(session, (key for key, row in rows.items() if row.manual_at is not None))
    return {key: DatedGoal(_history(row, funding[key], manual.get(key)), funding[key]) for key, row in rows.items()}


def _history(row: GoalRow, sources: Sequence[FundingRow], manual: Sequence[ManualAmount] | None) -> GoalHistory:
    # A link that ended before the amount was last set by hand still counts for the snapshots before that.
    links = [source.ever_funded(row) for source in sources]
    return GoalHistory(
        row.tracking, row.direction, manual or [ManualAmount(None, row.manual_minor)], links, row.final_at
    )


def _read_day_measures(
    session: Session, ranges: Sequence[GoalDays], goals: Mapping[GoalKey, DatedGoal], zone: ZoneInfo
) -> dict[AccountKey, _DayMeasures]:
    wanted: dict[AccountKey, DayRange] = {}
    present: dict[AccountKey, FundingRow] = {}
    for days in ranges:
        for source in goals[days.goal.key].sources:
            key = source.row.account_key
            present[key] = source
            is_open = days.is_open or source.row.measure == "inflow"
            wanted[key] = _union(wanted.get(key), DayRange(days.first, None if is_open else days.last))
    spanned = {key: wanted.pop(key) for key, source in present.items() if source.counting}
    found = store.read_account_days(session, wanted, max((days.last for days in ranges), default=date.min), zone)
    found |= _days_in_spans(session, [(present[key], days.first) for key, days in spanned.items()], zone)
    return {key: _day_measures(moved, present[key], (wanted | spanned)[key].first) for key, moved in found.items()}


def _days_in_spans(
    session: Session, wanted: Sequence[tuple[FundingRow, date]], zone: ZoneInfo
) -> dict[AccountKey, AccountDays]:
    """How accounts moved that count for a time or are joined, on each day from a day on."""
    asked = [(source, day_start(first, zone), None) for source, first in wanted]
    found = {}
    for (source, _, _), movements in zip(asked, read_counted_movements(session, asked), strict=True):
        days: dict[date, tuple[int, int]] = {}
        for at, worth, inflow in movements:
            before = days.get(day := local_day(at, zone), (0, 0))
            days[day] = before[0] + worth, before[1] + inflow
        found[source.row.account_key] = AccountDays([(day, *moved) for day, moved in days.items()], None)
    return found


def _union(one: DayRange | None, other: DayRange) -> DayRange:
    if one is None:
        return other
    last = None if one.last is None or other.last is None else max(one.last, other.last)
    return DayRange(min(one.first, other.first), last)


def _day_measures(moved: AccountDays, present: FundingRow, first: date) -> _DayMeasures:
    """Compute the measures backwards from the last day, whose worth is known."""
    worth = present.worth_minor if moved.anchor_minor is None else moved.anchor_minor
    inflow = present.inflow_minor
    of_account = _DayMeasures()
    for day, moved_minor, came_in_minor in reversed(moved.days):
        of_account.days.append(day)
        of_account.worths.append(worth)
        of_account.inflows.append(inflow)
        worth, inflow = worth - moved_minor, inflow - came_in_minor
    of_account.days.append(first - _DAY)
    of_account.worths.append(worth)
    of_account.inflows.append(inflow)
    for values in (of_account.days, of_account.worths, of_account.inflows):
        values.reverse()
    return of_account


def _moments_to_read(
    ranges: Iterable[GoalDays], goals: Mapping[GoalKey, DatedGoal], zone: ZoneInfo
) -> set[AccountMoment]:
    """The begins whose measures are not stored: those that counted for an amount before a later manual one."""
    asked: set[AccountMoment] = set()
    for days in ranges:
        goal = goals[days.goal.key]
        if len(goal.history.manual) == 1:
            continue
        for day in _days_of_goal_changes(days, goal, zone):
            for n, begin in begins_before(goal.history, day_start(day + _DAY, zone)):
                if begin != goal.history.links[n].link.begin_at:
                    asked.add((*goal.sources[n].row.account_key, begin))
    return asked


def _snapshots(
    days: GoalDays, goal: DatedGoal, measures: AccountMeasures, moments: Moments, zone: ZoneInfo
) -> Snapshots:
    changed = {days.first, *_days_of_goal_changes(days, goal, zone)}
    for source in goal.sources:
        own = measures[source.row.account_key].days
        changed.update(day for day in own if days.first < day <= days.last)
    snapshots: Snapshots = []
    for day in sorted(changed):
        amount = _end_of_day_amount(day, goal, measures, moments, zone)
        if not snapshots or amount != snapshots[-1][1]:
            snapshots.append((day, amount))
    return snapshots


def _end_of_day_amount(day: date, goal: DatedGoal, measures: AccountMeasures, moments: Moments, zone: ZoneInfo) -> int:
    end_of_day = day_start(day + _DAY, zone)

    def measure_before(n: int, moment: datetime) -> int:
        row = goal.sources[n].row
        kept = row.link.kept_measure(moment)
        if kept is not None:
            return kept
        if moment == end_of_day:
            return measures[row.account_key].at(day, row.measure)
        return moments[*row.account_key, moment].of(row.measure)

    return amount_before(goal.history, end_of_day, measure_before)


def _days_of_goal_changes(days: GoalDays, goal: DatedGoal, zone: ZoneInfo) -> Iterable[date]:
    """The first day, and the days on which the goal itself changed."""
    changed = {local_day(moment, zone) for moment in goal.history.turns()}
    return {days.first, *(day for day in changed if days.first < day <= days.last)}


def _add_dirty_days(
    dirty: _DirtyDays,
    goal: GoalRow,
    source: FundingRow,
    account: AccountRow,
    zone: ZoneInfo,
    manual: Sequence[ManualAmount],
) -> None:
    """Add the dirty ranges of an account, limited to the days on which the link counts for the goal."""
    link = source.row.link
    first = local_day(link.from_at, zone)
    last = date.max if link.until_at is None else local_day(link.until_at, zone)
    if account.dirty_from is not None and account.dirty_from <= last:
        dirty.add_open(max(account.dirty_from, first))
    if account.late_from is None or account.late_through is None or account.late_from > last:
        return
    if source.row.measure != "inflow" and account.late_through + _DAY < first:
        return
    if _changes_later_days(goal, source, account.late_from, account.late_through, zone, manual):
        dirty.add_open(max(account.late_from, first))
    else:
        dirty.add_late(max(account.late_from, first), account.late_through)


def _changes_later_days(
    goal: GoalRow,
    source: FundingRow,
    late_from: date,
    late_through: date,
    zone: ZoneInfo,
    manual: Sequence[ManualAmount],
) -> bool:
    """Whether late days also change snapshots after them.

    Inflow always does. Else they do if the goal counts from or up to a moment on one of these days or the day after.
    """
    link = source.row.link
    if source.row.measure == "inflow":
        return True
    turns = [link.until_at]
    if not follows_balances(goal.tracking):
        turns += [link.from_at, *(each.manual_at for each in manual)]
    days = [local_day(moment, zone) for moment in turns if moment is not None]
    return any(late_from <= day <= late_through + _DAY for day in days)


def _ranges(goal: GoalRow, dirty: _DirtyDays, through: date, closed: date) -> list[GoalDays]:
    open_from, late = dirty.open_from, None
    if dirty.late_from is not None and dirty.late_through is not None:
        if open_from is None or dirty.late_from < open_from:
            late = dirty.late_from, dirty.late_through
        if late is not None and late[1] >= min(closed, open_from - _DAY if open_from is not None else closed):
            open_from, late = late[0], None
    ranges = []
    if late is not None:
        first = max(late[0], goal.start_date)
        if first <= late[1]:
            ranges.append(GoalDays(goal, first, late[1], is_open=False))
    if open_from is not None:
        first = max(open_from, goal.start_date)
        if first <= through:
            ranges.append(GoalDays(goal, first, through))
    return ranges
