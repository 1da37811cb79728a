"""What the closes of a goal say of its milestones and its target: when each was reached, or that it was not.

A milestone is reached on the first day whose close is there, at the first moment of that day at which the amount was.
Events and requests mark at once what the present amount reaches; the close of that day confirms it or withdraws it. So
once all days are closed, marks depend on facts alone, whatever came first. The target is reached likewise; but it
completes a goal only on days from that of the latest act on (`goals.evaluated_from`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from core.events.calendar import EARLIEST, day_start, local_day
from core.goals.goal import GoalStatus, GoalType, follows_balances
from core.goals.progress import is_reached, nearest
from core.ingestion import messages
from core.ingestion.crossings import are_closes_evaluated
from core.snapshots.amounts import Funding, GoalDays
from core.snapshots.moments import GoalSpan, amounts_within
from core.store.driver import Session
from core.store.goals import GoalKey, GoalRow
from core.store.links import FundingRow
from core.store.milestones import (
    date_milestones,
    mark_milestones,
    milestones_since,
    unreached_of_goals,
    withdraw_milestones,
)
from core.store.outbox import Message, withdraw_messages, write_messages
from core.store.snapshots import DayRange, first_day_at

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ClosedRange:
    """Days of a goal that were closed just now: (first day, last day, amount) of each stretch of equal closes."""

    days: GoalDays
    stretches: Sequence[tuple[date, date, int]]


class _Days(NamedTuple):
    first: date
    last: date


@dataclass(eq=False, slots=True)
class _Question:
    """Something that a goal can reach, and when it was reached as far as is known. None as `minor`: the target."""

    goal: GoalRow
    milestone_minor: int | None
    reached_at: datetime | None

    @property
    def threshold_minor(self) -> int:
        goal = self.goal
        if self.milestone_minor is not None:
            return self.milestone_minor
        return goal.finish_minor if goal.type is GoalType.DEBT else goal.target_minor

    def is_there(self, amount_minor: int) -> bool:
        return is_reached(self.goal.direction, amount_minor, self.threshold_minor)


def target_day(
    goal: GoalRow, sources: Sequence[FundingRow], ranges: Sequence[ClosedRange], zone: ZoneInfo
) -> date | None:
    """The first closed day whose close completes the goal: it is at the target, not before the day of the latest act.

    A goal that follows balances is completed by no close from before the balance of each of its accounts was known. An
    account that was unlinked before that delays it no longer.
    """
    moments = [goal.evaluated_from]
    if follows_balances(goal.tracking):
        awaited = [(source.known_at, source.row.unlinked_at) for source in sources if source.why_not(goal) is None]
        moments += [min(filter(None, ends), default=None) for ends in awaited]
    since = max((local_day(moment, zone) for moment in moments if moment is not None), default=date.min)
    question = _Question(goal, None, None)
    for closed in ranges:
        for first, last, amount in closed.stretches:
            if last >= since and question.is_there(amount):
                return max(first, since)
    return None


def mark_by_closes(
    session: Session,
    closed: Mapping[GoalKey, Sequence[ClosedRange]],
    funding: Funding,
    through: date,
    zone: ZoneInfo,
    now: datetime,
) -> tuple[int, set[GoalKey]]:
    """Mark, date and withdraw what closes say; returns how many milestones were marked, and which goals changed.

    `closed` has the ranges of each goal that were closed just now, in order of day. The goals are
    locked; their rows are changed, and the caller writes them.
    """
    goals = {
        key: ranges[0].days.goal
        for key, ranges in closed.items()
        if ranges and are_closes_evaluated(ranges[0].days.goal)
    }
    # What is unreached has nothing to do with closes that do not reach it.
    furthest = {key: _furthest(goal, closed[key]) for key, goal in goals.items()}
    sinces = {
        key: (_marks_since(closed[key][0].days, zone), _is_next_reached(goal, furthest[key]))
        for key, goal in goals.items()
    }
    found: list[tuple[_Question, date]] = []
    withdrawn: list[_Question] = []
    for key, milestones in milestones_since(session, sinces).items():
        goal = goals[key]
        questions = [_Question(goal, *milestone) for milestone in milestones]
        target = _Question(goal, None, goal.reached_at)
        if target.is_there(furthest[key]) if goal.reached_at is None else goal.reached_at >= sinces[key][0]:
            questions.append(target)
        for question in questions:
            if _is_after_late_days(question, closed[key], through, zone):
                continue
            day = _first_day(session, question, closed[key], through, zone)
            if day is not None:
                found.append((question, day))
            elif question.reached_at is not None and local_day(question.reached_at, zone) <= through:
                withdrawn.append(question)
    # What was marked before and is there again since the last closed day has been reached only then.
    present = [
        (each, through + _DAY)
        for each in withdrawn
        if each.goal.status is GoalStatus.ACTIVE and each.is_there(each.goal.amount_minor)
    ]
    dated = _dates(session, found, present, funding, zone)
    withdrawn += [each for each, _ in found if each.reached_at is not None]
    return _write(session, dated, [each for each in withdrawn if each not in dated], funding, now)


def _marks_since(days: GoalDays, zone: ZoneInfo) -> datetime:
    """From when on marks may be others now. Facts from before the goal's first day mark at once, too."""
    return EARLIEST if days.first <= days.goal.start_date else day_start(days.first, zone)


def _furthest(goal: GoalRow, ranges: Sequence[ClosedRange]) -> int:
    """The closed amount that reaches most."""
    amounts = [amount for closed in ranges for _, _, amount in closed.stretches]
    return max(amounts) if goal.direction > 0 else min(amounts)


def _is_next_reached(goal: GoalRow, amount_minor: int) -> bool:
    return goal.next_milestone_minor is not None and is_reached(goal.direction, amount_minor, goal.next_milestone_minor)


def _first_day(
    session: Session, question: _Question, ranges: Sequence[ClosedRange], through: date, zone: ZoneInfo
) -> date | None:
    """The first day whose close is there; None if there is none among those that were closed."""
    marked_on = None if question.reached_at is None else local_day(question.reached_at, zone)
    for n, closed in enumerate(ranges):
        for first, _, amount in closed.stretches:
            if question.is_there(amount):
                return first
        if closed.days.is_open or marked_on is None:
            continue
        # What the late days do not reach any more the days after them may; these were not closed just now.
        days = _days_after(ranges, n, through)
        if marked_on < days.first:
            key, direction = question.goal.key, question.goal.direction
            range_ = DayRange(days.first, days.last)
            day = first_day_at(session, key, question.threshold_minor, range_, direction=direction)
            if day is not None:
                return day
    return None


def _is_after_late_days(question: _Question, ranges: Sequence[ClosedRange], through: date, zone: ZoneInfo) -> bool:
    """Whether something was reached on a day that was not closed just now, and on none of the late days before it."""
    if question.reached_at is None:
        return False
    marked_on = local_day(question.reached_at, zone)
    for n, closed in enumerate(ranges):
        if any(question.is_there(amount) for _, _, amount in closed.stretches):
            return False
        days = _days_after(ranges, n, through)
        if not closed.days.is_open and days.first <= marked_on <= days.last:
            return True
    return False


def _days_after(ranges: Sequence[ClosedRange], n: int, through: date) -> _Days:
    """The days after a range and before the next one."""
    return _Days(ranges[n].days.last + _DAY, ranges[n + 1].days.first - _DAY if n + 1 < len(ranges) else through)


def _dates(
    session: Session,
    found: Sequence[tuple[_Question, date]],
    present: Sequence[tuple[_Question, date]],
    funding: Funding,
    zone: ZoneInfo,
) -> dict[_Question, datetime]:
    """The first moment at which the amount was there: of a day whose close was, or since the last closed day."""
    spans = [(each, GoalSpan(each.goal, day_start(day, zone), day_start(day + _DAY, zone))) for each, day in found]
    spans += [(each, GoalSpan(each.goal, day_start(day, zone), None)) for each, day in present]
    by_span: dict[tuple[GoalKey, datetime, datetime | None], GoalSpan] = {}
    for _, span in spans:
        by_span[span.goal.key, span.since, span.until] = span
    amounts = dict(zip(by_span, amounts_within(session, list(by_span.values()), funding), strict=True))
    dated = {}
    for question, span in spans:
        moments = amounts[span.goal.key, span.since, span.until]
        at = next((at for at, minor in moments if question.is_there(minor)), None)
        if at is None:
            # A day after late days is to be closed yet. Its close will say when it was reached.
            continue
        dated[question] = at
    return dated


def _write(
    session: Session,
    dated: Mapping[_Question, datetime],
    withdrawn: Sequence[_Question],
    funding: Funding,
    now: datetime,
) -> tuple[int, set[GoalKey]]:
    changes = {question: at for question, at in dated.items() if at != question.reached_at}
    goals = {question.goal.key: question.goal for question in [*changes, *withdrawn]}
    of_milestones = [(q.goal.key, q.milestone_minor, at, q.reached_at) for q, at in changes.items()]
    new = [(key, minor, at) for key, minor, at, before in of_milestones if minor is not None and before is None]
    date_milestones(
        session, [(key, minor, at) for key, minor, at, before in of_milestones if minor is not None and before]
    )
    withdraw_milestones(session, [(q.goal.key, q.milestone_minor) for q in withdrawn if q.milestone_minor is not None])
    marked = mark_milestones(session, new, now)
    to_write = []
    for key, amount_minor, description, at in marked:
        is_old = messages.was_known(goals[key], funding[key], at)
        to_write.append(
            messages.milestone_reached(goals[key], amount_minor, description, at, now, is_historical=is_old)
        )
    for question, at in changes.items():
        goal = question.goal
        if question.milestone_minor is None:
            goal.reached_at = at
            if question.reached_at is None:
                is_old = messages.was_known(goal, funding[goal.key], at)
                to_write.append(messages.goal_reached(goal, at, now, is_historical=is_old))
    for question in withdrawn:
        if question.milestone_minor is None:
            question.goal.reached_at = None
    withdraw_messages(session, [_withdrawal(question, now) for question in withdrawn])
    write_messages(session, to_write)
    for key, unreached in unreached_of_goals(session, goals).items():
        goals[key].next_milestone_minor = nearest(goals[key].direction, unreached)
    return len(marked), set(goals)


def _withdrawal(question: _Question, now: datetime) -> Message:
    if question.milestone_minor is None:
        return messages.goal_withdrawn(question.goal, now)
    return messages.milestone_withdrawn(question.goal, question.milestone_minor, now)
