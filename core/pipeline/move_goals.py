"""Moving goals: from what a batch did to accounts to the goals that hang on them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.orm import Session

from core.pipeline.account_moves import AccountMove
from core.pipeline.join_net_worths import carry_out, find_joining
from core.pipeline.settle_goals import Settled, settle_goals
from core.store.accounts import AccountKey
from core.store.goals import lock_goals, write_moved_goals
from core.store.links import links_of_accounts, move_links


def move_goals(session: Session, moves: Mapping[AccountKey, AccountMove], now: datetime) -> Settled:
    """Settle every goal that the moved accounts fund. The accounts must be locked and written.

    Links are read before the goals are locked only to find the goals and to move the links themselves, which the
    accounts' locks protect; amounts come from links and accounts read after, or two shards would overwrite each
    other's.
    """
    periods = links_of_accounts(session, moves)
    deltas = ((period, *moves[period.account_key].deltas(period)) for period in periods)
    move_links(session, [delta for delta in deltas if delta[1] or delta[2]])
    joining = find_joining(session, moves)
    goals = lock_goals(session, {period.goal_key for period in periods} | joining.goal_keys)
    joined = carry_out(session, joining, goals)
    settled = settle_goals(session, goals, now, cause="events", moves=moves)
    settled.goals.update((goal.key, goal) for goal in joined)
    write_moved_goals(session, list(settled.goals.values()))
    return settled
