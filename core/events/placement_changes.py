"""What changes about the places of rows when some facts are added to stored ones, without reading all of them again.

The rules are in placement.py. `place` is a generator that asks for the stored rows and balances that it needs, so that
those of many accounts can be read at once; where facts come in order it asks for nothing.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple, cast
from zoneinfo import ZoneInfo

from core.events.calendar import INSTANT, day_end, day_start, local_day, within_day
from core.events.placement import (
    EARLIER_DAYS,
    TOGETHER,
    Balance,
    Interval,
    Position,
    Row,
    explaining,
    interval_between,
    is_of_earlier_day,
    position_of,
)

BALANCES_BEFORE = 2
BALANCES_AFTER = 3
"""How many balances before, and after, a span of time are read for it: those that its intervals begin and end with."""
_TIME = itemgetter(0)
# From how many intervals on one question for all rows takes less time than one for each interval.
_MANY = 20
# How many intervals, each because of the one after it, are evaluated one by one. Then the rows of more and more of them
# are read at once, at most of so many.
_ONE_BY_ONE, _AT_ONCE_MOST = 3, 4_096


class RowChange(NamedTuple):
    """A row as it is stored and as it will be; None where it does not count. `after.placed_at` has no meaning yet."""

    before: Row | None
    after: Row | None


class BalancesAround(NamedTuple):
    """Asks for the stored balances around spans: from the second before a first moment to the third from a last on.

    The answer has a list of balances in order for each span.
    """

    spans: Sequence[tuple[datetime, datetime]]


class RowsBetween(NamedTuple):
    """Asks for the stored rows that are placed in spans, both ends included, which have no moment in common.

    With `reported` only for those that have only a date and were first reported in this time, both ends included.
    """

    spans: Sequence[tuple[datetime, datetime]]
    reported: tuple[datetime, datetime] | None


Question = BalancesAround | RowsBetween
Answer = Sequence[Sequence[Balance]] | Sequence[Row]


class AccountBefore(NamedTuple):
    """What placing has to know of an account as it is stored.

    `first_recorded_at` is the least time at which any of its rows was first reported, removed rows included. None was
    first reported after `last_recorded_at`. Both are None if it has no rows.
    """

    zone: ZoneInfo
    worth_minor: int
    last_report_at: datetime | None
    last_transaction_at: datetime | None
    first_recorded_at: datetime | None
    last_recorded_at: datetime | None


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the changed rows are placed, by id; and the other rows that move, each with the place that it leaves.

    `intervals`: what to keep of each interval that was evaluated, by its end: the gap, and whether rows are moved.
    """

    places: dict[str, datetime] = field(default_factory=dict)
    moved: list[tuple[datetime, Row]] = field(default_factory=list)
    intervals: dict[datetime, tuple[int, bool]] = field(default_factory=dict)


def place(
    account: AccountBefore,
    changes: Sequence[RowChange],
    reports: Mapping[datetime, int],
    first_recorded_at: datetime | None,
) -> Generator[Question, Answer, Placed]:
    """Find where rows are placed after `changes` and `reports`.

    `reports` are the worths of new or changed balances, by `as_of`. `first_recorded_at` is the account's own after the
    changes.
    """
    return _Placing(account, changes, reports, first_recorded_at).run()


class _Placing:
    """The placing of one account."""

    def __init__(
        self,
        account: AccountBefore,
        changes: Sequence[RowChange],
        reports: Mapping[datetime, int],
        first_recorded_at: datetime | None,
    ) -> None:
        self._account = account
        self._zone = account.zone
        self._changes = changes
        self._reports = reports
        self._first_recorded_at = first_recorded_at
        self._changed_ids = {row.transaction_id for change in changes for row in change if row is not None}
        # The stored balances around the changes, by time; then, with those of `reports`, all of them in order.
        self._stored: dict[datetime, Balance] = {}
        self._balances: list[Balance] = []
        self._as_ofs: list[datetime] = []
        # By first report and date, since the rows of one pull have the same; among the balances known now.
        self._positions: dict[tuple[datetime, date], Position] = {}
        # The balances of which it is not known which one is before them.
        self._cut_off: set[datetime] = set()
        # Rows that count, where they are placed now: those that are new or changed, and those that were read.
        self._rows: dict[str, Row] = {}
        self._stored_places: dict[str, datetime] = {}
        # Where many intervals are evaluated: all rows of these spans, by their stored places, which were read at once.
        self._read_by_place: list[tuple[datetime, str]] = []
        self._read_spans: list[tuple[datetime, datetime]] = []
        # The rows after the changes by their effective time, and by their base place.
        self._by_effective: list[tuple[datetime, str]] = []
        self._by_base: list[tuple[datetime, str]] = []
        # What the changes add to sums and take from them: (base place, id, effective time, minor units).
        self._sums: list[tuple[datetime, str, datetime, int]] = []
        self._evaluated: dict[datetime, tuple[int, bool]] = {}
        # By how much the gap of an interval changes because rows leave its last balance, and are placed after it.
        self._moved_after: dict[datetime, int] = defaultdict(int)

    def run(self) -> Generator[Question, Answer, Placed]:
        """Ask for what is needed, and return the result."""
        spans = self._spans()
        if spans:
            yield from self._read_balances(spans)
        for before, after in self._changes:
            if before is not None:
                position = self._position(before)
                if not position.is_moved_after(before.placed_at):
                    self._sums.append(
                        (position.base_at, before.transaction_id, position.effective_at, -before.amount_minor)
                    )
            if after is not None:
                name, (effective_at, base_at, _) = after.transaction_id, self._position(after)
                self._rows[name] = after if after.placed_at == base_at else after._replace(placed_at=base_at)
                self._by_effective.append((effective_at, name))
                self._by_base.append((base_at, name))
                self._sums.append((base_at, name, effective_at, after.amount_minor))
        if spans:
            self._by_effective.sort()
            self._by_base.sort()
            self._sums.sort()
            for as_of in self._reports:
                if as_of not in self._stored:
                    yield from self._reattach(as_of)
                    yield from self._move_back(as_of)
            yield from self._evaluate_all(spans)
        return self._result()

    def _result(self) -> Placed:
        placed = Placed()
        for name, row in self._rows.items():
            if name in self._changed_ids:
                placed.places[name] = row.placed_at
            elif row.placed_at != self._stored_places[name]:
                placed.moved.append((self._stored_places[name], row))
        for as_of, kept in self._evaluated.items():
            stored = self._stored.get(as_of)
            if stored is None or kept != (stored.gap_minor, stored.has_moved):
                placed.intervals[as_of] = kept
        return placed

    def _spans(self) -> list[tuple[datetime, datetime]]:
        """The spans of time whose intervals may change; none for rows that are reported after the last balance."""
        last = max(filter(None, (self._account.last_report_at, *self._reports)), default=None)
        if last is None:
            return []
        spans = [(as_of, as_of + TOGETHER) for as_of in self._reports]
        for change in self._changes:
            for row in change:
                if row is None or row.reported_at > (last if row.dated is None else last + TOGETHER):
                    continue
                if spans[-1:] != [(row.reported_at, row.reported_at)]:
                    spans.append((row.reported_at, row.reported_at))
                base_at = row.placed_at if row.dated is None else within_day(row.reported_at, row.dated, self._zone)
                if base_at > row.reported_at:
                    spans.append((base_at, base_at))
        return spans + [span for span in self._history_spans() if span[0] <= last + TOGETHER]

    def _history_spans(self) -> list[tuple[datetime, datetime]]:
        """When the rows were reported that were taken for an imported history before, and those that are now."""
        before, after = self._account.first_recorded_at, self._first_recorded_at
        if before is None or after is None or before == after:
            return []
        return [(before, before + TOGETHER), (after, after + TOGETHER)]

    def _position(self, row: Row) -> Position:
        if row.dated is None:
            return position_of(row, self._as_ofs, self._zone)
        key = row.reported_at, row.dated
        position = self._positions.get(key)
        if position is None:
            position = self._positions[key] = position_of(row, self._as_ofs, self._zone)
        return position

    def _read_balances(self, spans: Sequence[tuple[datetime, datetime]]) -> Generator[Question, Answer, None]:
        wanted = [(first - TOGETHER, last) for first, last in spans]
        last_report_at = self._account.last_report_at
        if self._reports and last_report_at is not None:
            # _is_passed_by_moved_rows looks at all balances of that day.
            wanted.append((day_start(local_day(last_report_at, self._zone), self._zone), last_report_at))
        question = BalancesAround(_joined(wanted))
        follow = set(self._as_ofs[1:]) - self._cut_off
        answer = cast(Sequence[Sequence[Balance]], (yield question))
        for (first, _), around in zip(question.spans, answer, strict=True):
            as_ofs = [balance.as_of for balance in around]
            self._stored.update(zip(as_ofs, around, strict=True))
            follow.update(as_ofs[1:])
            if len(as_ofs) >= BALANCES_BEFORE and as_ofs[BALANCES_BEFORE - 1] < first:
                self._cut_off.add(as_ofs[0])
        self._cut_off -= follow
        balances = dict(self._stored)
        for as_of, worth_minor in self._reports.items():
            balances[as_of] = balances.get(as_of, Balance(as_of, 0))._replace(worth_minor=worth_minor)
        self._positions.clear()
        self._as_ofs = sorted(balances)
        self._balances = [balances[as_of] for as_of in self._as_ofs]

    def _read_rows(
        self, first: datetime, last: datetime, reported: tuple[datetime, datetime] | None
    ) -> Generator[Question, Answer, list[str]]:
        """Read the stored rows of a time, but for those that change; returns their ids, and maybe more of the time."""
        if reported is not None and not self._has_rows_from(reported[0]):
            return []
        if any(begin <= first and last <= end for begin, end in self._read_spans):
            begin = bisect_left(self._read_by_place, first, key=_TIME)
            return [name for _, name in self._read_by_place[begin : bisect_right(self._read_by_place, last, key=_TIME)]]
        return (yield from self._ask_for_rows([(first, last)], reported))

    def _ask_for_rows(
        self, spans: Sequence[tuple[datetime, datetime]], reported: tuple[datetime, datetime] | None
    ) -> Generator[Question, Answer, list[str]]:
        names = []
        for row in cast(Sequence[Row], (yield RowsBetween(spans, reported))):
            if row.transaction_id not in self._changed_ids:
                self._stored_places.setdefault(row.transaction_id, row.placed_at)
                self._rows.setdefault(row.transaction_id, row)
                names.append(row.transaction_id)
        return names

    def _put(self, name: str, at: datetime) -> None:
        self._rows[name] = self._rows[name]._replace(placed_at=at)

    def _reattach(self, as_of: datetime) -> Generator[Question, Answer, None]:
        """Let rows that are stored already belong to a new balance, if they were reported in the minutes after it."""
        first, last = local_day(as_of, self._zone), local_day(as_of + TOGETHER, self._zone)
        of_days = day_start(first, self._zone), day_end(last, self._zone)
        for name in (yield from self._read_rows(*of_days, (as_of, as_of + TOGETHER))):
            position = self._position(self._rows[name])
            if position.effective_at == as_of:
                self._put(name, position.base_at)

    def _move_back(self, as_of: datetime) -> Generator[Question, Answer, None]:
        """Move back the rows of the interval that a new balance divides, and those that belong to it now.

        Both parts of the interval are evaluated afterwards.
        """
        index = bisect_left(self._as_ofs, as_of)
        before = [self._stored[each] for each in self._as_ofs[:index] if each in self._stored][-2:]
        after = [self._stored[each] for each in self._as_ofs[index:] if each in self._stored][:1]
        for balance, following in pairwise([*before, *after]):
            if not following.has_moved:
                continue
            interval = interval_between(balance, following, self._zone)
            reported = min(interval.begin, as_of), max(interval.end, as_of) + TOGETHER
            for name in (yield from self._read_rows(*interval.candidates, reported)):
                row = self._rows[name]
                position = self._position(row)
                is_divided = following.as_of > as_of and interval.has(position.effective_at)
                if position.effective_at == as_of or (is_divided and not position.is_moved_after(row.placed_at)):
                    self._put(name, position.base_at)

    def _has_rows_from(self, moment: datetime) -> bool:
        """Whether any stored row was first reported at this moment or later."""
        last = self._account.last_recorded_at
        return last is not None and last >= moment

    def _evaluate_all(self, spans: Iterable[tuple[datetime, datetime]]) -> Generator[Question, Answer, None]:
        """Judge the intervals of the spans, and those that this changes, from the latest to the earliest."""
        ends: set[datetime] = set()
        for first, last in spans:
            begin = bisect_left(self._as_ofs, first - TOGETHER)
            ends.update(self._as_ofs[begin : bisect_left(self._as_ofs, last) + 2])
        left = sorted(ends)
        if len(left) > _MANY:
            yield from self._read_rows_of(left)
        steps_back = 0
        while left:
            end = left.pop()
            more = min(2**steps_back, _AT_ONCE_MOST) if steps_back > _ONE_BY_ONE else 0
            if end in self._cut_off:
                yield from self._read_balances([(end - timedelta(days=more), end)])
            index = bisect_left(self._as_ofs, end)
            if more and index > 0 and not self._are_rows_read(index):
                yield from self._read_rows_of(self._as_ofs[max(0, index - more) : index + 1])
            reaches_back = index > 0 and (yield from self._evaluate(index))
            steps_back = steps_back + 1 if reaches_back else 0
            if reaches_back and left[-1:] != self._as_ofs[index - 1 : index]:
                left.append(self._as_ofs[index - 1])

    def _read_rows_of(self, ends: Iterable[datetime]) -> Generator[Question, Answer, None]:
        """Read the rows of the intervals with these ends at once."""
        indexes = [bisect_left(self._as_ofs, end) for end in ends if end not in self._cut_off]
        spans = _joined((self._rows_span(index) for index in indexes if index > 0), timedelta(0))
        names = yield from self._ask_for_rows(spans, None)
        self._read_by_place = sorted({*self._read_by_place, *((self._stored_places[name], name) for name in names)})
        self._read_spans = _joined([*self._read_spans, *spans], timedelta(0))

    def _are_rows_read(self, index: int) -> bool:
        first, last = self._rows_span(index)
        return any(begin <= first and last <= end for begin, end in self._read_spans)

    def _rows_span(self, index: int) -> tuple[datetime, datetime]:
        """From where to where the rows are placed that the interval which ends at this balance depends on."""
        interval = self._interval(index)
        return interval.earliest, max(day_end(local_day(interval.end, self._zone), self._zone), interval.end + INSTANT)

    def _interval(self, index: int) -> Interval:
        return interval_between(self._balances[index - 1], self._balances[index], self._zone)

    def _evaluate(self, index: int) -> Generator[Question, Answer, bool]:
        """Judge the interval that ends at a balance; returns whether that changes the interval before it."""
        balance, interval = self._balances[index], self._interval(index)
        kept_sum = self._kept_sum(index, interval)
        if kept_sum is None:
            read = yield from self._read_rows(*self._rows_span(index), None)
            gap_minor = interval.moved_minor - self._sum_of([*read, *_between(self._by_base, interval)], interval)
        else:
            gap_minor = interval.moved_minor - kept_sum + self._moved_after[interval.end]
            if not gap_minor and not balance.has_moved:
                self._evaluated[interval.end] = 0, False
                return False
            first, last = interval.candidates
            if not self._has_rows_from(min(interval.begin + TOGETHER + INSTANT, interval.end)):
                # Those that are stored belong to the balance at its begin, if they are of its day.
                first = day_start(interval.day, self._zone)
            read = yield from self._read_rows(first, last, (interval.begin, interval.end + TOGETHER))
        return self._move_rows(interval, gap_minor, [*read, *_between(self._by_effective, interval)])

    def _kept_sum(self, index: int, interval: Interval) -> int | None:
        """The sum of the interval's rows from what is kept; None if all of its rows have to be read."""
        begin, end = interval.begin, interval.end
        following = self._as_ofs[min(index + 1, len(self._as_ofs) - 1)]
        is_new = following not in self._stored and following > end
        if is_new and following - end <= TOGETHER and self._has_rows_from(following):
            return None  # rows that belonged to its last balance may belong to the new one
        if end not in self._reports and begin not in self._reports:
            total = interval.moved_minor - self._stored[end].gap_minor
        elif self._is_newest(end) and (begin == self._account.last_report_at or self._is_newest(begin)):
            if begin in self._stored and (begin in self._reports or self._is_passed_by_moved_rows(begin)):
                return None
            total = 0 if begin not in self._stored else self._account.worth_minor - self._stored[begin].worth_minor
        else:
            return None
        for _, _, effective_at, amount_minor in _span(self._sums, interval):
            if effective_at <= end:
                total += amount_minor
        return total

    def _is_newest(self, as_of: datetime) -> bool:
        """Whether a balance is new, and later than all that is stored of the account."""
        account = self._account
        stored = (account.last_report_at, account.last_transaction_at)
        return (
            as_of not in self._stored
            and not self._has_rows_from(as_of)
            and all(moment is None or moment <= as_of for moment in stored)
        )

    def _is_passed_by_moved_rows(self, as_of: datetime) -> bool:
        """Whether rows may be after a balance because an interval of that day moved them past its own end."""
        since = day_start(local_day(as_of, self._zone), self._zone)
        return any(balance.has_moved for balance in self._stored.values() if since <= balance.as_of <= as_of)

    def _sum_of(self, names: Iterable[str], interval: Interval) -> int:
        total = 0
        for name in set(names):
            row = self._rows[name]
            position = self._position(row)
            if interval.counts(position) and not position.is_moved_after(row.placed_at):
                total += row.amount_minor
        return total

    def _move_rows(self, interval: Interval, gap_minor: int, names: Iterable[str]) -> bool:
        """Move the rows that explain a gap, and all others back; returns whether the interval before is concerned."""
        of_balance: list[Row] = []
        own_day: list[Row] = []
        earlier: list[Row] = []
        bases: dict[str, datetime] = {}
        for name in sorted(set(names)):
            row = self._rows[name]
            if row.dated is None:
                continue
            position = self._position(row)
            if position.is_in_balance and position.effective_at == interval.begin:
                of_balance.append(row)
                # The interval before may have moved it to an earlier balance.
                bases[name] = min(row.placed_at, position.base_at)
            elif interval.has(position.effective_at) and not position.is_moved_after(row.placed_at):
                bases[name] = position.base_at
                if row.dated == interval.day and position.base_at > interval.begin:
                    own_day.append(row)
                elif is_of_earlier_day(row, interval, self._first_recorded_at):
                    earlier.append(row)
        moved = explaining(gap_minor, of_balance, own_day, earlier, interval)
        is_concerned = False
        for row in of_balance:
            was_after, is_after = row.placed_at > interval.begin, row.transaction_id in moved
            if was_after != is_after:
                self._moved_after[interval.begin] += row.amount_minor if is_after else -row.amount_minor
                is_concerned = True
        for name, at in {**bases, **moved}.items():
            self._put(name, at)
        self._evaluated[interval.end] = gap_minor, bool(moved)
        return is_concerned


def _joined(
    spans: Iterable[tuple[datetime, datetime]], apart: timedelta = timedelta(days=EARLIER_DAYS)
) -> list[tuple[datetime, datetime]]:
    """The spans in order, those in one that are not further apart."""
    result: list[tuple[datetime, datetime]] = []
    for first, last in sorted(spans):
        if result and first <= result[-1][1] + apart:
            result[-1] = result[-1][0], max(last, result[-1][1])
        else:
            result.append((first, last))
    return result


def _between(by_time: Sequence[tuple[datetime, str]], interval: Interval) -> list[str]:
    """The ids of the rows from an interval's begin to its end, both included."""
    first = bisect_left(by_time, interval.begin, key=_TIME)
    return [name for _, name in by_time[first : bisect_right(by_time, interval.end, key=_TIME)]]


def _span(
    sums: Sequence[tuple[datetime, str, datetime, int]], interval: Interval
) -> Sequence[tuple[datetime, str, datetime, int]]:
    """The parts of sums that are placed in an interval."""
    return sums[bisect_right(sums, interval.begin, key=_TIME) : bisect_right(sums, interval.end, key=_TIME)]
