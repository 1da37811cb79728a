"""The way of a goal through one batch: its amount after each of the batch's movements, in their order of time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
    shares = _Shares(goal, funded)
    moved = [0] * len(funded)
    for _, number, minor in counted:
        moved[number] += minor
    for number, minor in enumerate(moved):
        shares.move(number, -minor)
    began_at = _began_at(goal, sources, funded)
    steps: dict[datetime, int] = {}
    if began_at is not None:
        # A first report moves no worth but tells it, so the goal may stand somewhere before any movement.
        steps[began_at] = shares.amount_minor
    for at, number, minor in counted:
        shares.move(number, minor)
        steps[at if began_at is None else max(at, began_at)] = shares.amount_minor
    latest = [move.latest_at for move in own if move.latest_at is not None]
    return Way(tuple(steps.items()), max(latest, default=now))


class _Shares:
    """The goal's amount while the measures of its links move one by one; each step costs one share."""

    def __init__(self, goal: GoalRow, funded: Sequence[FundedLink]) -> None:
        parts = made_of(goal.tracking, funded, final_at=goal.final_at)
        self._direction = goal.direction
        self._links = [each.link for each in funded]
        self._measures = [each.measure_minor for each in funded]
        self._counts = [any(each is part for part in parts) for each in funded]
        self._shares = [self._share(number) for number in range(len(funded))]
        self.amount_minor = amount(goal.tracking, goal.direction, goal.typed_minor, funded, final_at=goal.final_at)

    def move(self, number: int, minor: int) -> None:
        """Move one link's measure."""
        self._measures[number] += minor
        if self._counts[number]:
            now = self._share(number)
            self.amount_minor += self._direction * (now - self._shares[number])
            self._shares[number] = now

    def _share(self, number: int) -> int:
        link = self._links[number]
        return share(measured(link, self._measures[number]), link.ppm)


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
