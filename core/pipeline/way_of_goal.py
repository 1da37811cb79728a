"""The way of a goal through one batch: its amount after each of the batch's movements, in their order of time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from core.goals.amounts import FundedLink, amount
from core.goals.goal import follows_balances
from core.pipeline.account_moves import AccountMove
from core.store.accounts import AccountKey
from core.store.goals import GoalRow
from core.store.links import FundingRow


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
    counted = sorted(_counted(sources, funded, moves), key=lambda step: step[0])
    for _, number, minor in counted:
        funded[number] = replace(funded[number], measure_minor=funded[number].measure_minor - minor)
    began_at = _began_at(goal, sources, funded)
    steps: dict[datetime, int] = {}
    if began_at is not None:
        # A first report moves no worth but tells it, so the goal may stand somewhere before any movement.
        steps[began_at] = amount(goal.tracking, goal.direction, goal.typed_minor, funded, final_at=goal.final_at)
    for at, number, minor in counted:
        funded[number] = replace(funded[number], measure_minor=funded[number].measure_minor + minor)
        moment = at if began_at is None else max(at, began_at)
        steps[moment] = amount(goal.tracking, goal.direction, goal.typed_minor, funded, final_at=goal.final_at)
    latest = [move.latest_at for move in own if move.latest_at is not None]
    return Way(tuple(steps.items()), max(latest, default=now))


def _began_at(goal: GoalRow, sources: Sequence[FundingRow], funded: Sequence[FundedLink]) -> datetime | None:
    """From when a goal that follows balances could be anywhere: its links are open and each account has a report."""
    if not follows_balances(goal.tracking):
        return None
    present = [s for s, each in zip(sources, funded, strict=True) if each.counts and s.row.link.is_open]
    moments = [m for s in present for m in (s.row.link.from_at, s.first_report_at) if m is not None]
    return max(moments, default=None)


def _counted(
    sources: Sequence[FundingRow], funded: Sequence[FundedLink], moves: Mapping[AccountKey, AccountMove]
) -> Iterable[tuple[datetime, int, int]]:
    """(time, number of the link, by how much its measure moved) of the movements in the periods of open links."""
    for number, source in enumerate(sources):
        move, link = moves.get(source.row.account_key), source.row.link
        if move is None or not link.is_open or not funded[number].counts:
            continue
        for movement in move.movements:
            if link.begin_at is None or movement.at >= link.begin_at:
                is_inflow = source.row.measure == "inflow"
                yield movement.at, number, movement.inflow_minor if is_inflow else movement.worth_minor
