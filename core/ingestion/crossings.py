"""What goals have reached, and when: milestones and targets are marked, each once, with a message about each.

Of a goal that crossed something in a batch, the movements of its accounts are walked in order of time: the moment of a
mark is that of the movement which brought the amount there.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import accumulate, pairwise
from operator import itemgetter
from typing import NamedTuple, Protocol

from core.goals.goal import GoalStatus, GoalType, follows_balances
from core.goals.links import measured
from core.goals.money import share
from core.goals.progress import is_goal_reached, is_reached, nearest
from core.ingestion import messages
from core.ingestion.account_moves import AccountMove, AccountMoves, Rise, rise_of
from core.store.crossed import CrossedGoal, write_crossed
from core.store.driver import Session
from core.store.goals import GoalKey, GoalRow
from core.store.links import FundingRow, funding_of_goals
from core.store.milestones import mark_milestones, unreached_of_goals
from core.store.outbox import write_messages


class CrossingGoal(messages.MessageGoal, Protocol):
    """What marking reads of a goal, and what it changes: the next milestone and when the target was reached."""

    next_milestone_minor: int | None
    reached_at: datetime | None

    @property
    def key(self) -> GoalKey:
        """(tenant, goal_id)."""

    @property
    def direction(self) -> int:
        """-1 for debt, +1 for all others."""


class Crossing(NamedTuple):
    """What a locked goal has reached: the effective moment for a milestone and for the target; None if not reached."""

    goal: CrossingGoal
    sources: Sequence[FundingRow]
    milestone_at: Callable[[int], datetime | None]
    target_at: datetime | None


def can_reach_milestones(goal: GoalRow) -> bool:
    """Whether the goal can reach milestones and its target at present: it is active and waits for no balance.

    A debt that starts at its first balance waits for that, even if it has no accounts yet.
    """
    return goal.status is GoalStatus.ACTIVE and not goal.waiting_for and goal.start_minor is not None


def are_closes_evaluated(goal: GoalRow) -> bool:
    """Whether the goal's closes mark what they reach: it waits for no balance, and is neither paused nor abandoned.

    A completed goal was active at its final moment, and facts that arrive later still correct its closes.
    """
    is_right_status = goal.status in {GoalStatus.ACTIVE, GoalStatus.COMPLETED}
    return is_right_status and not goal.waiting_for and goal.start_minor is not None


def is_at_target(goal: CrossingGoal, amount_minor: int) -> bool:
    """Whether the amount reaches the goal's target."""
    return is_goal_reached(goal.type, goal.span, goal.target_minor, amount_minor)


def has_crossed(goal: GoalRow) -> bool:
    """Whether the present amount reaches a milestone or the target that is not marked as reached yet."""
    if not can_reach_milestones(goal):
        return False
    upcoming = goal.next_milestone_minor
    if upcoming is not None and is_reached(goal.direction, goal.amount_minor, upcoming):
        return True
    return goal.reached_at is None and is_at_target(goal, goal.amount_minor)


def mark_crossed(session: Session, goals: Sequence[CrossedGoal], moves: AccountMoves, now: datetime) -> int:
    """Mark what goals that a batch has moved, and so locked, have reached; returns how many milestones."""
    if not goals:
        return 0
    funding = funding_of_goals(session, [goal.key for goal in goals])
    marked = mark_crossings(session, [crossing_of(goal, funding[goal.key], moves, now) for goal in goals], now)
    write_crossed(session, goals)
    return marked


def mark_crossings(session: Session, crossings: Sequence[Crossing], now: datetime) -> int:
    """Mark milestones and targets that are newly reached, and write their messages; returns how many milestones.

    The caller has locked the goals and writes their rows. Their milestones are read only here, after the lock: another
    transaction may have added one while this one waited for the goal.
    """
    goals = {crossing.goal.key: crossing for crossing in crossings}
    unreached = unreached_of_goals(session, goals)
    reached: list[tuple[GoalKey, int, datetime]] = []
    at_target: list[tuple[CrossingGoal, datetime, bool]] = []
    for goal, sources, milestone_at, target_at in crossings:
        key = goal.key
        left: list[int] = []
        for amount_minor in unreached[key]:
            reached_at = milestone_at(amount_minor)
            if reached_at is None:
                left.append(amount_minor)
            else:
                reached.append((key, amount_minor, reached_at))
        goal.next_milestone_minor = nearest(goal.direction, left)
        if goal.reached_at is None and target_at is not None:
            goal.reached_at = target_at
            at_target.append((goal, target_at, messages.was_known(goal, sources, target_at)))
    marked = mark_milestones(session, reached, now)
    to_write = []
    for key, amount_minor, description, at in marked:
        goal, sources = goals[key].goal, goals[key].sources
        is_old = messages.was_known(goal, sources, at)
        to_write.append(messages.milestone_reached(goal, amount_minor, description, at, now, is_historical=is_old))
    to_write += [messages.goal_reached(goal, at, now, is_historical=is_old) for goal, at, is_old in at_target]
    write_messages(session, to_write)
    return len(marked)


def crossing_of(goal: CrossingGoal, sources: Sequence[FundingRow], moves: AccountMoves, now: datetime) -> Crossing:
    """What the present amount of a locked goal has reached, and when the movements of a batch first brought it there.

    What no movement brought about has the effective time of the whole batch, and without a batch that of `now`. The
    goal is one that can reach milestones, so all of its open links that count have a known balance where it needs one.
    """
    direction, amount_now = goal.direction, goal.amount_minor
    own = [(source, moves.of(source.row.account_key)) for source in sources]
    moved_at = [move.latest_at for _, move in own if move is not None and move.latest_at is not None]
    ends_at = max(moved_at, default=now)
    counting = [(source, move) for source, move in own if source.row.link.is_open and source.counts(goal)]
    began_at = None
    if follows_balances(goal.tracking) and any(move for _, move in own):
        # It has an amount only since its links count and the balances of their accounts are known.
        since = [at for s, _ in counting for at in (s.row.link.from_at, s.known_at) if at is not None]
        began_at = max(since, default=None)
    first_at = _first_times(goal, [(source, move) for source, move in counting if move is not None], began_at)

    def milestone_at(milestone_minor: int) -> datetime | None:
        return first_at(milestone_minor) or ends_at if is_reached(direction, amount_now, milestone_minor) else None

    target_at = None
    if goal.reached_at is None and is_at_target(goal, amount_now):
        target_at = first_at(goal.span.finish_minor if goal.type is GoalType.DEBT else goal.target_minor) or ends_at
    return Crossing(goal, sources, milestone_at, target_at)


def _first_times(
    goal: CrossingGoal, moved: Sequence[tuple[FundingRow, AccountMove]], began_at: datetime | None
) -> Callable[[int], datetime | None]:
    """A function that says after which movements of a batch the goal's amount first reached a threshold; None if never.

    `moved`: the open links that count, of accounts that moved. Of movements of one moment only the amount after all of
    them counts. Movements before `began_at` count from then on; a first report makes the worth known without moving
    it, so there may be an amount at `began_at` before any movement.
    """
    (moments, sums, highest), share_of = _rise(moved)
    before = 0
    if began_at is not None and moments and moments[0] <= began_at:
        earlier = bisect_right(moments, began_at)
        before, moments, highest = sums[earlier - 1], moments[earlier:], list(accumulate(sums[earlier:], max))
    direction = goal.direction
    rest = direction * goal.amount_minor - share_of(sums[-1] if sums else 0)

    def first_at(threshold_minor: int) -> datetime | None:
        least = direction * threshold_minor - rest
        if began_at is not None and share_of(before) >= least:
            return began_at
        index = bisect_left(highest, least, key=share_of)
        return moments[index] if index < len(moments) else None

    return first_at


def _rise(moved: Sequence[tuple[FundingRow, AccountMove]]) -> tuple[Rise, Callable[[int], int]]:
    """How what links measure moves together, and a function that makes a share of it, which never falls as it rises."""
    rises = [_rise_of_link(source, move) for source, move in moved]
    if len(rises) == 1:
        return rises[0]
    # Each link's share is cut by itself, so shares are added up.
    steps: list[tuple[datetime, int]] = []
    for rise, share_of in rises:
        amounts = [share_of(minor) for minor in (0, *rise.sums)]
        steps += zip(rise.moments, [then - now for now, then in pairwise(amounts)], strict=True)
    steps.sort(key=itemgetter(0))
    before = sum([share_of(0) for _, share_of in rises])
    return rise_of(steps), lambda minor: before + minor


def _rise_of_link(source: FundingRow, move: AccountMove) -> tuple[Rise, Callable[[int], int]]:
    """How what a link measures moves in the batch, and a function that makes the link's share of it."""
    link = source.row.link
    rise = move.rise(source.row.measure, link.begin_at)
    ppm, before = link.ppm, measured(link, source.measure_minor) - rise.total
    return rise, lambda minor: share(before + minor, ppm)
