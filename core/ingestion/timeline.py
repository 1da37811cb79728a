"""What a batch did to accounts, and the timeline of a goal: its amount after each movement, and what it crossed."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate, islice
from operator import eq
from typing import NamedTuple

from core.events.worth import Movement
from core.goals.amounts import FundedLink, contributing_links
from core.goals.goal import GoalType, follows_balances
from core.goals.links import Link, measured
from core.goals.money import WHOLE_PPM, share
from core.goals.progress import is_reached
from core.ingestion.reached import Crossing, CrossingGoal, is_at_target
from core.store.accounts import AccountKey
from core.store.fast_path import BEFORE_ALL, CrossedGoal
from core.store.goals import GoalRow
from core.store.links import FundingRow, LinkPeriod


class Membership(NamedTuple):
    """Whose an account is now, and in which currency: what decides to which net worths it belongs."""

    user_id: str | None
    currency: str | None


class Track(NamedTuple):
    """Moments in order, each once, and what all movements up to and at each come to; `latest_at` as of the move."""

    moments: Sequence[datetime]
    sums: Sequence[int]
    latest_at: datetime | None


class AccountMove(NamedTuple):
    """Movements in order of time, and by how much the opening moved; `latest_at` is the last effective time touched.

    `joins` is set where the account's user or currency became another.
    """

    opening_minor: int
    movements: tuple[Movement, ...]
    latest_at: datetime | None = None
    joins: Membership | None = None

    def track(self, measure: str) -> Track:
        """How the movements led a measure away from where it was."""
        amounts = [each.inflow_minor if measure == "inflow" else each.worth_minor for each in self.movements]
        return track([each.at for each in self.movements], amounts, self.latest_at)

    @property
    def earliest_at(self) -> datetime | None:
        """From when on worth or inflow moved; None if they did not, BEFORE_ALL if the opening did."""
        if self.opening_minor:
            return BEFORE_ALL
        return self.movements[0].at if self.movements else None

    def shift_before(self, moment: datetime, measure: str) -> int:
        """By how much the measure just before `moment` moved."""
        if measure == "inflow":
            return sum(m.inflow_minor for m in self.movements if m.at < moment)
        return self.opening_minor + sum(m.worth_minor for m in self.movements if m.at < moment)

    def deltas(self, period: LinkPeriod) -> tuple[int, int]:
        """By how much a link's base and end move. (0, 0) for an open link while facts come in order.

        A link's period holds its first moment and not its last: at a change of allocation the next link begins at
        the very moment at which this one ends, and a fact of that moment must not count in both.
        """
        base = 0 if period.begin_at is None else self.shift_before(period.begin_at, period.measure)
        end = 0 if period.until_at is None else self.shift_before(period.until_at, period.measure)
        return base, end


def track(moments: Sequence[datetime], amounts: Iterable[int], latest_at: datetime | None) -> Track:
    """The track of amounts at moments in order."""
    sums = list(accumulate(amounts))
    if any(map(eq, moments, islice(moments, 1, None))):
        last = dict(zip(moments, sums, strict=True))
        moments, sums = list(last), list(last.values())
    return Track(moments, sums, latest_at)


# Time, number of the link, by how much its measure moved.
_Step = tuple[datetime, int, int]
# A link's share, what it measured in all, and whether the goal's amount is made of it.
_Part = tuple[int, int, bool]


class Timeline(NamedTuple):
    """A goal's amounts, and the effective time from which each held, in order of time.

    `arrived_at` is when the batch as a whole brought the goal where it is.
    """

    moments: Sequence[datetime]
    amounts: Sequence[int]
    arrived_at: datetime

    def first(self, direction: int, threshold_minor: int) -> datetime:
        """The effective time at which the amount first stood at the threshold or past it."""
        for number, amount_minor in enumerate(self.amounts):
            if amount_minor >= threshold_minor if direction > 0 else amount_minor <= threshold_minor:
                return self.moments[number]
        return self.arrived_at


def crossing_by_timeline(goal: CrossingGoal, timeline: Timeline) -> Crossing:
    """What a goal's amount stands past now, each with the moment at which its way first led there."""
    direction, here = goal.direction, goal.amount_minor

    def milestone_at(milestone_minor: int) -> datetime | None:
        return timeline.first(direction, milestone_minor) if is_reached(direction, here, milestone_minor) else None

    target_at = None
    if goal.reached_at is None and is_at_target(goal, here):
        target_at = timeline.first(
            direction, goal.span.finish_minor if goal.type is GoalType.DEBT else goal.target_minor
        )
    return Crossing(goal, milestone_at, target_at)


def timeline_of_link(goal: CrossedGoal, track: Track, now: datetime) -> Timeline:
    """The way of a goal that hangs on one account alone, whose measure moved; as `_steps` has it, but directly."""
    link, direction = goal.link, goal.direction
    moments, sums, latest_at = track
    arrived_at = now if latest_at is None else latest_at
    if not link.is_open:
        return Timeline((), (), arrived_at)
    first = 0 if link.begin_at is None else bisect_left(moments, link.begin_at)
    # What the link measured just before the movements that count, less what those before them came to.
    end, ppm = measured(link, goal.measure_minor), link.ppm
    offset = end - sums[-1] if sums else end
    # The amount is a fixed part, and this link's share to or from it; shares are cut as `share` cuts them.
    fixed = goal.amount_minor - direction * share(end, ppm)
    amounts = [
        fixed
        + direction * (product // WHOLE_PPM if (product := (offset + minor) * ppm) >= 0 else -(-product // WHOLE_PPM))
        for minor in sums[first:]
    ]
    if not follows_balances(goal.tracking):
        return Timeline(moments[first:], amounts, arrived_at)
    # It stands nowhere before that moment: whatever came earlier counts from then on.
    began_at = _later(link.from_at, goal.first_report_at)
    later = bisect_right(moments, began_at, first)
    if later > first:
        return Timeline([began_at, *moments[later:]], amounts[later - first - 1 :], arrived_at)
    before = offset + (sums[first - 1] if first else 0)
    return Timeline([began_at, *moments[first:]], [fixed + direction * share(before, ppm), *amounts], arrived_at)


def timeline_of(
    goal: GoalRow, sources: Sequence[FundingRow], moves: Mapping[AccountKey, AccountMove], now: datetime
) -> Timeline:
    """The way of a settled goal. Only movements inside a link's period count; without any the goal arrives `now`."""
    own = [moves[source.row.account_key] for source in sources if source.row.account_key in moves]
    if not own:
        return Timeline((), (), now)
    funded = [source.funded(goal) for source in sources]
    counted = [
        step
        for number, source in enumerate(sources)
        if funded[number].counts and (move := moves.get(source.row.account_key)) is not None
        for step in _counted(number, source.row.link, source.row.measure, move)
    ]
    counted.sort(key=lambda step: step[0])
    made = contributing_links(goal.tracking, funded, final_at=goal.final_at)
    parts = [
        (each.link.ppm, measured(each.link, each.measure_minor), any(each is part for part in made)) for each in funded
    ]
    latest = [move.latest_at for move in own if move.latest_at is not None]
    steps = _steps(goal, parts, counted, _began_at(goal, sources, funded))
    return Timeline(list(steps), list(steps.values()), max(latest, default=now))


def _steps(
    goal: CrossingGoal, parts: Sequence[_Part], counted: Sequence[_Step], began_at: datetime | None
) -> dict[datetime, int]:
    """The settled goal's amount after each step, by moment. It moves with one link at a time: a share a step."""
    direction = goal.direction
    measures = [minor for _, minor, _ in parts]
    for _, number, minor in counted:
        measures[number] -= minor
    shares = [share(minor, ppm) for minor, (ppm, _, _) in zip(measures, parts, strict=True)]
    moved = [share(minor, ppm) - before for (ppm, minor, _), before in zip(parts, shares, strict=True)]
    here = goal.amount_minor - direction * sum([by for by, part in zip(moved, parts, strict=True) if part[2]])
    # A first report moves no worth but tells it, so the goal may stand somewhere before any movement.
    steps: dict[datetime, int] = {} if began_at is None else {began_at: here}
    for at, number, minor in counted:
        ppm, _, is_of_amount = parts[number]
        measures[number] += minor
        if is_of_amount:
            after = share(measures[number], ppm)
            here += direction * (after - shares[number])
            shares[number] = after
        steps[at if began_at is None or at > began_at else began_at] = here
    return steps


def _began_at(goal: GoalRow, sources: Sequence[FundingRow], funded: Sequence[FundedLink]) -> datetime | None:
    """From when a goal that follows balances could be anywhere: its links are open and each account has a report."""
    if not follows_balances(goal.tracking):
        return None
    present = [s for s, each in zip(sources, funded, strict=True) if each.counts and s.row.link.is_open]
    return max([_later(s.row.link.from_at, s.first_report_at) for s in present], default=None)


def _later(from_at: datetime, first_report_at: datetime | None) -> datetime:
    """From when a link's account could be anywhere: the link counts, and the account has a report."""
    return from_at if first_report_at is None else max(from_at, first_report_at)


def _counted(number: int, link: Link, measure: str, move: AccountMove) -> Iterator[_Step]:
    """The movements in the period of an open link, in order of time."""
    if link.is_open:
        is_inflow, begin_at = measure == "inflow", link.begin_at
        for at, worth_minor, inflow_minor in move.movements:
            if begin_at is None or at >= begin_at:
                yield at, number, inflow_minor if is_inflow else worth_minor
