"""What only saves time can be switched off, and every row is the same: the fold's shortcut, and prefetching."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import redis

from core.goals.goal import GoalType, Tracking
from core.ingestion import accounts
from core.ingestion.decode import Prefetch
from core.ingestion.drain import ShardDrain
from core.services.funding import link_account
from core.services.goals import create_goal
from core.services.inputs import GoalDraft, LinkDraft, MilestoneDraft
from core.services.milestones import add_milestone
from core.store.database import Sessions
from core.store.driver import Sql
from core.store.tenants import Tenant, add_tenant
from core.stream.stream import EventStream
from tests.acts import balance, event, paid

ACCOUNTS = "abcd"
ROWS = (
    """SELECT account_id, worth_minor, inflow_minor, opening_minor, first_report_at, last_report_at,
        last_transaction_at, dirty_from, late_from, late_through, replaces FROM accounts
        WHERE tenant = :tenant ORDER BY 1""",
    """SELECT account_id, transaction_id, amount_minor, posted_at, removed, counts, event_time FROM transactions
        WHERE tenant = :tenant ORDER BY 1, 2""",
    "SELECT account_id, as_of, current_minor, residual_minor FROM reports WHERE tenant = :tenant ORDER BY 1, 2",
    """SELECT name, amount_minor, entries, next_milestone_minor, reached_at FROM goals
        WHERE tenant = :tenant ORDER BY 1""",
    """SELECT name, entry, before_minor, after_minor, e.account_ids FROM goal_entries e
        JOIN goals USING (tenant, goal_id) WHERE tenant = :tenant ORDER BY 1, 2""",
    """SELECT name, m.amount_minor, m.reached_at FROM milestones m JOIN goals USING (tenant, goal_id)
        WHERE tenant = :tenant ORDER BY 1, 2""",
)


def made_goals(sessions: Sessions, tenant: Tenant, began: datetime) -> None:
    """Goals of one link and of two, with milestones close to each other."""
    for number, tracking in enumerate((Tracking.CHANGE, Tracking.BALANCE, Tracking.INFLOW, Tracking.BALANCE)):
        with sessions.begin() as session:
            draft = GoalDraft("u", f"g{number}", GoalType.SAVINGS, "900", currency="USD", tracking=tracking)
            goal = create_goal(session, tenant, draft, began)
            for amount in range(50, 900, 50):
                add_milestone(session, tenant, goal.goal_id, MilestoneDraft(str(amount)), began)
            for account in ACCOUNTS[number : number + 1 + number % 2]:
                link_account(session, tenant, goal.goal_id, LinkDraft(account, None, 45), began)


def facts(seed: int, now: datetime) -> list[bytes]:
    """Transactions in order, late, repeated, edited and removed, and reports among them."""
    chance, stated = random.Random(seed), []
    for number in range(150):
        account, at = chance.choice(ACCOUNTS), now - timedelta(minutes=200 - number)
        if chance.random() < 0.2:
            at -= timedelta(hours=chance.randrange(40))
        what, name = chance.random(), f"t{chance.randrange(90)}"
        if what < 0.1:
            stated.append(balance(chance.randrange(90_000), at, account))
        elif what < 0.15:
            data = {"account_id": account, "transaction_id": name}
            stated.append(event("transaction.removed", at, f"x{number}", data))
        elif what < 0.2 and stated:
            stated.append(chance.choice(stated))
        else:
            stated.append(paid(name, chance.randrange(-9_000, 15_000) or 1, at, account))
    return stated


def no_shortcut(patched: pytest.MonkeyPatch) -> None:
    """Every account is folded as one with late facts is."""
    patched.setattr(accounts, "come_after_reports", lambda *_: False)


def no_prefetch(patched: pytest.MonkeyPatch) -> None:
    """Every batch is read and decoded when the one before is committed."""
    patched.setattr(Prefetch, "begin", lambda *_: None)


@pytest.mark.parametrize("switch_off", [no_shortcut, no_prefetch])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_row_is_the_same(
    session_factory: Sessions,
    redis_client: redis.Redis,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    switch_off: Callable[[pytest.MonkeyPatch], None],
    seed: int,
) -> None:
    """The same facts in two tenants, one of them drained with it and one without."""
    stream, results = EventStream(redis_client, 1), list[Any]()
    drain = ShardDrain(session_factory, stream, 0, 40, lambda: now)
    for name in ("with", "without"):
        tenant = Tenant(name, "UTC")
        with session_factory.begin() as session:
            add_tenant(session, tenant, now)
        made_goals(session_factory, tenant, now - timedelta(days=1))
        with monkeypatch.context() as patched:
            if name == "without":
                switch_off(patched)
            stream.append(name, [("", body) for body in facts(seed, now)])
            assert drain.drain().events == 150
        with session_factory() as session:
            rows = [Sql(each).rows(session, {"tenant": name}) for each in ROWS]
        results.append(rows)
    assert all(results[0])
    assert results[0] == results[1]
