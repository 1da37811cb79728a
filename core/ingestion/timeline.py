"""What a batch did to accounts, and a goal's timeline: its amount after each movement, and when it crossed what."""

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
    """The user and the currency of an account, which decide the net worth goals that the account belongs to."""

    user_id: str | None
    currency: str | None


class RunningSums(NamedTuple):
    """The moments at which a measure moved, in order and each once, and by how much it has moved up to each in all.

    `latest_at` is that of the AccountMove.
    """

    moments: Sequence[datetime]
    sums: Sequence[int]
    latest_at: datetime | None


class AccountMove(NamedTuple):
    """What a batch did to one account: its movements in order of time, and by how much the opening worth moved.

    `latest_at` is the last effective time among the facts; `new_membership` is set if the account has another user
    than before, or has its currency only since this batch.
    """

    opening_minor: int
    movements: tuple[Movement, ...]
    latest_at: datetime | None = None
    new_membership: Membership | None = None

    def running_sums(self, measure: str) -> RunningSums:
        """By how much the movements have moved a measure, after each of them."""
        amounts = [each.inflow_minor if measure == "inflow" else each.worth_minor for each in self.movements]
        return running_sums([each.at for each in self.movements], amounts, self.latest_at)

    @property
    def earliest_at(self) -> datetime | None:
        """The first moment at which worth or inflow moved; None if none did, BEFORE_ALL if the opening did."""
        if self.opening_minor:
            return BEFORE_ALL
        return self.movements[0].at if self.movements else None

    def shift_before(self, moment: datetime, measure: str) -> int:
        """By how much the measure just before `moment` moved."""
        if measure == "inflow":
            return sum(m.inflow_minor for m in self.movements if m.at < moment)
        return self.opening_minor + sum(m.worth_minor for m in self.movements if m.at < moment)

    def deltas(self, period: LinkPeriod) -> tuple[int, int]:
        """By how much a link's base and end move. (0, 0) for an open link while facts arrive in order.

        The period of a link includes its first moment and not its last: when an allocation changes, the next link
        begins at the very moment at which this one ends, and a fact of that moment must not count in both.
        """
        base = 0 if period.begin_at is None else self.shift_before(period.begin_at, period.measure)
        end = 0 if period.until_at is None else self.shift_before(period.until_at, period.measure)
        return base, end


# When a link's measure moved, the index of the link, and by how much.
_Step = tuple[datetime, int, int]
# A link's share in parts per million, what it measured in all, and whether it contributes to the goal's amount.
_Part = tuple[int, int, bool]


class Timeline(NamedTuple):
    """A goal's amount after each movement of a batch, and the effective time of each, in order of time.

    `ends_at` is the effective time of the whole batch, for a threshold that none of these amounts reached.
    """

    moments: Sequence[datetime]
    amounts: Sequence[int]
    ends_at: datetime

    def first(self, direction: int, threshold_minor: int) -> datetime:
        """The effective time at which the amount first reached the threshold."""
        for number, amount_minor in enumerate(self.amounts):
            if amount_minor >= threshold_minor if direction > 0 else amount_minor <= threshold_minor:
                return self.moments[number]
        return self.ends_at


def running_sums(moments: Sequence[datetime], amounts: Iterable[int], latest_at: datetime | None) -> RunningSums:
    """The running sums of amounts at moments, which are in order; equal moments become one."""
    sums = list(accumulate(amounts))
    if any(map(eq, moments, islice(moments, 1, None))):
        last = dict(zip(moments, sums, strict=True))
        moments, sums = list(last), list(last.values())
    return RunningSums(moments, sums, latest_at)


def crossing_by_timeline(goal: CrossingGoal, timeline: Timeline) -> Crossing:
    """The milestones and the target that a goal's present amount has reached, and when the timeline first did."""
    direction, amount_now = goal.direction, goal.amount_minor

    def milestone_at(milestone_minor: int) -> datetime | None:
        if not is_reached(direction, amount_now, milestone_minor):
            return None
        return timeline.first(direction, milestone_minor)

    target_at = None
    if goal.reached_at is None and is_at_target(goal, amount_now):
        target_at = timeline.first(
            direction, goal.span.finish_minor if goal.type is GoalType.DEBT else goal.target_minor
        )
    return Crossing(goal, milestone_at, target_at)


def timeline_of_link(goal: CrossedGoal, running: RunningSums, now: datetime) -> Timeline:
    """The timeline of a goal that depends on one account alone: the same as `timeline_of`'s, computed directly."""
    link, direction = goal.link, goal.direction
    moments, sums, latest_at = running
    ends_at = now if latest_at is None else latest_at
    if not link.is_open:
        return Timeline((), (), ends_at)
    first = 0 if link.begin_at is None else bisect_left(moments, link.begin_at)
    # So that offset + sums[i] is what the link measured after the movement i, from `first` on.
    end, ppm = measured(link, goal.measure_minor), link.ppm
    offset = end - sums[-1] if sums else end
    # The amount is a fixed part plus or minus this link's share; shares are cut as `share` cuts them.
    fixed = goal.amount_minor - direction * share(end, ppm)
    amounts = [
        fixed
        + direction * (product // WHOLE_PPM if (product := (offset + minor) * ppm) >= 0 else -(-product // WHOLE_PPM))
        for minor in sums[first:]
    ]
    if not follows_balances(goal.tracking):
        return Timeline(moments[first:], amounts, ends_at)
    # A goal that follows balances has no amount before this moment: earlier movements count from then on.
    began_at = _later(link.from_at, goal.first_report_at)
    later = bisect_right(moments, began_at, first)
    if later > first:
        return Timeline([began_at, *moments[later:]], amounts[later - first - 1 :], ends_at)
    before = offset + (sums[first - 1] if first else 0)
    return Timeline([began_at, *moments[first:]], [fixed + direction * share(before, ppm), *amounts], ends_at)


def timeline_of(
    goal: GoalRow, sources: Sequence[FundingRow], moves: Mapping[AccountKey, AccountMove], now: datetime
) -> Timeline:
    """The timeline of a recomputed goal. Only movements inside a link's period count; without any it ends `now`."""
    own = [moves[source.row.account_key] for source in sources if source.row.account_key in moves]
    if not own:
        return Timeline((), (), now)
    funded = [source.funded(goal) for source in sources]
    steps = [
        step
        for number, source in enumerate(sources)
        if funded[number].counts and (move := moves.get(source.row.account_key)) is not None
        for step in _steps_of_link(number, source.row.link, source.row.measure, move)
    ]
    steps.sort(key=lambda step: step[0])
    contributing = contributing_links(goal.tracking, funded, final_at=goal.final_at)
    parts = [
        (each.link.ppm, measured(each.link, each.measure_minor), any(each is link for link in contributing))
        for each in funded
    ]
    latest = [move.latest_at for move in own if move.latest_at is not None]
    amounts = _amounts_after(steps, goal, parts, _began_at(goal, sources, funded))
    return Timeline(list(amounts), list(amounts.values()), max(latest, default=now))


def _amounts_after(
    steps: Sequence[_Step], goal: CrossingGoal, parts: Sequence[_Part], began_at: datetime | None
) -> dict[datetime, int]:
    """The recomputed goal's amount after each step, by moment. One step moves one link, and so one share."""
    direction = goal.direction
    measures = [minor for _, minor, _ in parts]
    for _, number, minor in steps:
        measures[number] -= minor
    shares = [share(minor, ppm) for minor, (ppm, _, _) in zip(measures, parts, strict=True)]
    moved = [share(minor, ppm) - before for (ppm, minor, _), before in zip(parts, shares, strict=True)]
    amount = goal.amount_minor - direction * sum([by for by, part in zip(moved, parts, strict=True) if part[2]])
    # A first report makes the worth known without moving it, so the goal may have an amount before any movement.
    amounts: dict[datetime, int] = {} if began_at is None else {began_at: amount}
    for at, number, minor in steps:
        ppm, _, is_contributing = parts[number]
        measures[number] += minor
        if is_contributing:
            after = share(measures[number], ppm)
            amount += direction * (after - shares[number])
            shares[number] = after
        amounts[at if began_at is None or at > began_at else began_at] = amount
    return amounts


def _began_at(goal: GoalRow, sources: Sequence[FundingRow], funded: Sequence[FundedLink]) -> datetime | None:
    """Since when a goal that follows balances has an amount: its open links count, and their accounts have a report."""
    if not follows_balances(goal.tracking):
        return None
    present = [s for s, each in zip(sources, funded, strict=True) if each.counts and s.row.link.is_open]
    return max([_later(s.row.link.from_at, s.first_report_at) for s in present], default=None)


def _later(from_at: datetime, first_report_at: datetime | None) -> datetime:
    """Since when a link to a balance has a value: it counts, and its account has a report."""
    return from_at if first_report_at is None else max(from_at, first_report_at)


def _steps_of_link(number: int, link: Link, measure: str, move: AccountMove) -> Iterator[_Step]:
    """The movements in the period of an open link, in order of time; none of an ended link."""
    if link.is_open:
        is_inflow, begin_at = measure == "inflow", link.begin_at
        for at, worth_minor, inflow_minor in move.movements:
            if begin_at is None or at >= begin_at:
                yield at, number, inflow_minor if is_inflow else worth_minor
