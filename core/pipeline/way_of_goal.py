"""The way of a goal through one batch: its amount after each of the batch's movements, in their order of time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from core.goals.amounts import FundedLink, amount, made_of
from core.goals.goal import follows_balances
from core.goals.links import measured
from core.goals.money import share
from core.pipeline.account_moves import AccountMove
from core.store.accounts import AccountKey
from core.store.goals import GoalRow
from core.store.links import FundingRow

# Time, number of the link, by how much its measure moved.
_Step = tuple[datetime, int, int]


@dataclass(frozen=True, slots=True)
class Way:
    """(effective time, amount) in order of time; `arrived_at` is when the batch as a whole brought the goal there."""

    steps: tuple[tuple[datetime, int], ...]
    arrived_at: datetime

    def first(self, is_there: Callable[[int], bool]) -> datetime:
        """The effective time at which the amount first got there."""
        return next((at for at, amount_minor in self.steps if is_there(amount_minor)), self.arrived_at)


def way_of(goal: GoalRow, sources: Sequence[FundingRow], moves: Mapping[AccountKey, AccountMove], now: datetime) -> Way:
    """The way of a settled goal. Only movements inside a link's period count; without any the goal arrives `now`."""
    own = [moves[source.row.account_key] for source in sources if source.row.account_key in moves]
    if not own:
        return Way((), now)
    funded = [source.funded(goal) for source in sources]
    counted = _counted(sources, funded, moves)
    if len(sources) > 1:
        counted.sort(key=lambda step: step[0])
    began_at = _began_at(goal, sources, funded)
    steps = _steps(goal, funded, counted, began_at)
    latest = [move.latest_at for move in own if move.latest_at is not None]
    return Way(tuple(steps.items()), max(latest, default=now))


def _steps(
    goal: GoalRow, funded: Sequence[FundedLink], counted: Sequence[_Step], began_at: datetime | None
) -> dict[datetime, int]:
    """The amount after each step, by moment. It moves with one link at a time, so each step costs one share."""
    parts = made_of(goal.tracking, funded, final_at=goal.final_at)
    counts = [any(each is part for part in parts) for each in funded]
    measures = [measured(each.link, each.measure_minor) for each in funded]
    for _, number, minor in counted:
        measures[number] -= minor
    shares = [share(minor, each.link.ppm) for minor, each in zip(measures, funded, strict=True)]
    final = amount(goal.tracking, goal.direction, goal.typed_minor, funded, final_at=goal.final_at)
    here = final - goal.direction * sum(
        share(measured(each.link, each.measure_minor), each.link.ppm) - shares[number]
        for number, each in enumerate(funded)
        if counts[number]
    )
    # A first report moves no worth but tells it, so the goal may stand somewhere before any movement.
    steps: dict[datetime, int] = {} if began_at is None else {began_at: here}
    for at, number, minor in counted:
        measures[number] += minor
        if counts[number]:
            after = share(measures[number], funded[number].link.ppm)
            here += goal.direction * (after - shares[number])
            shares[number] = after
        steps[at if began_at is None or at > began_at else began_at] = here
    return steps


def _began_at(goal: GoalRow, sources: Sequence[FundingRow], funded: Sequence[FundedLink]) -> datetime | None:
    """From when a goal that follows balances could be anywhere: its links are open and each account has a report."""
    if not follows_balances(goal.tracking):
        return None
    present = [s for s, each in zip(sources, funded, strict=True) if each.counts and s.row.link.is_open]
    moments = [m for s in present for m in (s.row.link.from_at, s.first_report_at) if m is not None]
    return max(moments, default=None)


def _counted(
    sources: Sequence[FundingRow], funded: Sequence[FundedLink], moves: Mapping[AccountKey, AccountMove]
) -> list[_Step]:
    """The movements in the periods of open links, those of each link in order of time."""
    steps: list[_Step] = []
    for number, source in enumerate(sources):
        move, link = moves.get(source.row.account_key), source.row.link
        if move is None or not link.is_open or not funded[number].counts:
            continue
        is_inflow, begin_at = source.row.measure == "inflow", link.begin_at
        for at, worth_minor, inflow_minor in move.movements:
            if begin_at is None or at >= begin_at:
                steps.append((at, number, inflow_minor if is_inflow else worth_minor))
    return steps
