"""Moving goals: from what a batch did to accounts to the goals that hang on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from core.pipeline.account_moves import AccountMove
from core.pipeline.join_net_worths import carry_out, find_joining
from core.pipeline.mark_passed import mark_passed
from core.pipeline.plain_accounts import Moves
from core.pipeline.settle_goals import settle_goals
from core.store.accounts import AccountKey
from core.store.goals import lock_goals, write_moved_goals
from core.store.links import LinkPeriod, links_of_accounts, move_links
from core.store.plain_goals import AccountWrite, Written, write_accounts


@dataclass(frozen=True, slots=True)
class GoalsMoved:
    """How many goals differ now, and how many milestones were reached."""

    goals: int
    milestones_reached: int


def move_goals(
    session: Session, written: Written, writes: Sequence[AccountWrite], moves: Moves, now: datetime
) -> GoalsMoved:
    """Write what locked accounts still lack, and settle every goal that those in `moves` fund.

    `written` is what was done to plain accounts. Goals that hang on one account alone are moved where they lie. The
    others are locked and settled here: their amounts come from links and accounts read after that, or two shards would
    overwrite each other's. A goal moved where it lies cannot be wanted by another batch, which would need its account
    for it, so goals are still locked in an order that has no circle.
    """
    joining = find_joining(session, moves.folded)
    further = write_accounts(session, writes, now)
    if late := written.late | further.late:
        _move_links(session, links_of_accounts(session, late), moves)
    goals = lock_goals(session, written.left | further.left | joining.goal_keys)
    joined = carry_out(session, joining, goals)
    settled = settle_goals(session, goals, now, cause="events", moves=moves)
    settled.goals.update((goal.key, goal) for goal in joined)
    write_moved_goals(session, list(settled.goals.values()))
    milestones = settled.milestones_reached + mark_passed(session, [*written.passed, *further.passed], moves, now)
    return GoalsMoved(written.moved + further.moved + len(settled.goals), milestones)


def _move_links(session: Session, periods: Sequence[LinkPeriod], moves: Mapping[AccountKey, AccountMove]) -> None:
    deltas = ((period, *moves[period.account_key].deltas(period)) for period in periods)
    move_links(session, [delta for delta in deltas if delta[1] or delta[2]])
