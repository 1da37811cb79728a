"""Manager, functions, client and plain HTTP: the same calls have the same outcomes, and no ledger has a gap."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.store.database import Sessions
from core.verify.verify import verify
from milepost import Client, easy_goals, sync
from tests.budget import examples
from tests.client.callers import ByBlockingMethods, ByFunctions, ByHttp, ByMethods, Call, Caller, comparable

READINGS = (
    "get_goal",
    "get_goal_progress",
    "list_milestones",
    "get_milestone_progress",
    "get_next_milestone",
    "get_goal_funding",
    "get_goal_history",
    "get_goal_snapshots",
)
INTERFACES = ("manager", "blocking-manager", "functions", "client", "blocking-client", "http")
_numbers = itertools.count(1)

which = st.integers(0, 2)
amounts = st.sampled_from([0, 0.1, 10.55, 50, 100.0, 250.25, 1000, -5, 10.005])
percents = st.sampled_from([10, 33.3333, 60.0, 100, 0, 100.5])
accounts = st.sampled_from(["a", "b/1"])
YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
days = st.sampled_from([{}, {}, {"correct_from": YESTERDAY}, {"correct_from": "2999-01-01"}, {"correct_from": "soon"}])
operations = st.one_of(
    st.builds(
        lambda type, target, current, tracking, starts_early: (
            "create_goal",
            {
                "user_id": "user_123",
                "name": f"A {type}",
                "type": type,
                "target_amount": target,
                **({} if current is None else {"current_amount": current}),
                **({} if tracking is None else {"tracking": tracking}),
                **({"start_date": "2026-01-31"} if starts_early else {}),
            },
        ),
        st.sampled_from(["savings", "debt", "income", "net_worth", "custom"]),
        amounts,
        st.none() | amounts,
        st.none() | st.sampled_from(["change", "balance", "inflow"]),
        st.booleans(),
    ),
    st.builds(lambda n, amount: ("update_goal", {"goal": n, "current_amount": amount}), which, amounts),
    st.builds(lambda n, amount: ("update_goal", {"goal": n, "target_amount": amount}), which, amounts),
    st.builds(
        lambda n, status: ("update_goal", {"goal": n, "status": status}),
        which,
        st.sampled_from(["active", "paused", "completed", "abandoned"]),
    ),
    st.builds(
        lambda n, deadline: ("update_goal", {"goal": n, "deadline": deadline}),
        which,
        st.sampled_from([None, "2030-06-30", "2030-01-31T12:00:00+01:00", "2020-01-01", "soon"]),
    ),
    st.builds(lambda n: ("delete_goal", {"goal": n}), which),
    st.builds(lambda n: ("reopen_goal", {"goal": n}), which),
    st.builds(
        lambda n, range: ("get_goal_snapshots", {"goal": n, **range}),
        which,
        st.sampled_from(
            [{"from_": YESTERDAY}, {"to": YESTERDAY}, {"from_": "2999-01-01"}, {"as_known_at": "2999-01-01"}]
        ),
    ),
    st.builds(lambda n: ("get_goal_history", {"goal": n, "as_known_at": YESTERDAY}), which),
    st.builds(lambda n, amount: ("add_milestone", {"goal": n, "amount": amount}), which, amounts),
    st.builds(
        lambda n, milestone, changes: ("update_milestone", {"goal": n, "milestone": milestone, **changes}),
        which,
        which,
        st.sampled_from([{"amount": 10.55}, {"amount": 100}, {"amount": -5}, {"description": None}, {"amount": 0.1}]),
    ),
    st.builds(lambda n, milestone: ("delete_milestone", {"goal": n, "milestone": milestone}), which, which),
    st.builds(lambda n: ("check_milestones", {"goal": n}), which),
    st.builds(
        lambda n, account, percent, since: (
            "link_account_to_goal",
            {"goal": n, "account_id": account, "allocation_percent": percent, **since},
        ),
        which,
        accounts,
        percents,
        st.sampled_from([{}, {"from_": "2026-01-31"}, {"from_": "2999-01-01"}, {"whole": True}]),
    ),
    st.builds(
        lambda n, account, percent, since: (
            "update_account_allocation",
            {"goal": n, "account_id": account, "allocation_percent": percent, **since},
        ),
        which,
        accounts,
        percents,
        days,
    ),
    st.builds(
        lambda n, account, since: ("remove_account_from_goal", {"goal": n, "account_id": account, **since}),
        which,
        accounts,
        days,
    ),
    st.builds(
        lambda account, amount: ("event", {"account_id": account, "amount": amount}),
        accounts,
        st.sampled_from(["100.00", "-30.25", "0.01", "250.50"]),
    ),
)
SAVING: Call = ("create_goal", {"user_id": "user_123", "name": "Trip", "type": "savings", "target_amount": 250.25})
BALANCE: Call = (
    "create_goal",
    {"user_id": "u", "name": "Cash", "type": "custom", "target_amount": 100, "tracking": "balance"},
)


@dataclass
class Run:
    """A sequence of calls by one interface, in a tenant of its own, and all outcomes."""

    caller: Caller
    tenant: str
    sessions: Sessions
    goals: list[str] = field(default_factory=list)
    milestones: list[str] = field(default_factory=list)
    outcomes: list[Any] = field(default_factory=list)

    async def make(self, number: int, call: Call, is_repeated: bool) -> None:
        """Make one call; one that is repeated under its key is carried out once, and has the same outcome."""
        operation, arguments = call[0], self._named(call[1])
        if operation == "event":
            self._apply_event(number, arguments)
            return
        once = await self._outcome(operation, arguments, f"key-{number}")
        if is_repeated and not isinstance(once, Exception):
            again = await self._outcome(operation, arguments, f"key-{number}")
            assert again == once
        if operation == "create_goal" and not isinstance(once, Exception):
            self.goals.append(once["id"])
        if operation == "add_milestone" and not isinstance(once, Exception):
            self.milestones.append(once["id"])
        self.outcomes.append(comparable(once))

    async def read_all(self) -> None:
        """Read everything of each goal that was ever created, and the list."""
        for goal_id in self.goals:
            for reading in READINGS:
                self.outcomes.append(comparable(await self._outcome(reading, {"goal_id": goal_id}, "")))
        for filters in ({}, {"user_id": "user_123", "type": "savings"}, {"status": "paused"}):
            self.outcomes.append(comparable(await self._outcome("list_goals", filters, "")))

    async def _outcome(self, operation: str, arguments: Mapping[str, Any], key: str) -> Any:
        try:
            return await self.caller.call(operation, arguments, key)
        except (ValueError, KeyError) as refused:
            return refused

    def _named(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        named = dict(arguments)
        if "goal" in named:
            number = named.pop("goal")
            named = {"goal_id": self.goals[number] if number < len(self.goals) else "goal_0", **named}
        if "milestone" in named:
            number = named.pop("milestone")
            named["milestone_id"] = self.milestones[number] if number < len(self.milestones) else "milestone_0"
        return named

    def _apply_event(self, number: int, arguments: Mapping[str, Any]) -> None:
        now = datetime.now(UTC)
        event = {
            "specversion": "1.0",
            "id": str(number),
            "source": "bank",
            "type": "milepost.transaction.recorded",
            "time": now.isoformat(),
            "data": {**arguments, "transaction_id": f"t{number}", "currency": "USD", "posted_at": now.isoformat()},
        }
        with self.sessions.begin() as session:
            apply_events(session, [StreamEntry(0, f"{number}-0", now, self.tenant, json.dumps(event).encode())], now)


def has_gapless_ledgers(engine: Engine) -> bool:
    """Every ledger begins with no `before`, goes on from entry to entry, and ends at the amount of its goal."""
    statement = text(
        """SELECT count(*) FROM (
            SELECT e.*, lag(after_minor) OVER w AS last, lead(entry) OVER w IS NULL AS is_latest,
                row_number() OVER w AS number, g.amount_minor
            FROM goal_entries e JOIN goals g USING (tenant, goal_id)
            WINDOW w AS (PARTITION BY tenant, goal_id ORDER BY entry)) e
        WHERE entry <> number OR before_minor IS DISTINCT FROM last
            OR (is_latest AND after_minor <> amount_minor)"""
    )
    with engine.connect() as connection:
        return connection.execute(statement).scalar_one() == 0


@settings(max_examples=examples(8))
@given(st.lists(st.tuples(operations, st.booleans()), min_size=3, max_size=14))
def test_every_interface_gives_the_same(
    server: str,
    database_url: str,
    engine: Engine,
    session_factory: Sessions,
    new_tenant: Callable[..., str],
    new_key: Callable[..., str],
    calls: list[tuple[Call, bool]],
) -> None:
    """For any sequence of calls, also refused and repeated ones, with events between them."""
    number = next(_numbers)
    tenants = {interface: new_tenant(f"{interface}-{number}") for interface in INTERFACES}
    keys = {
        interface: new_key("admin", tenant=tenants[interface]) for interface in ("client", "blocking-client", "http")
    }
    story = [(SAVING, False), (BALANCE, True), *calls]

    async def play(interface: str) -> list[Any]:
        async with AsyncExitStack() as open_ones:
            if interface == "client":
                caller: Caller = ByMethods(await open_ones.enter_async_context(Client(server, keys[interface])))
            elif interface == "blocking-client":
                caller = ByBlockingMethods(open_ones.enter_context(sync.Client(server, keys[interface])))
            elif interface == "blocking-manager":
                blocking = sync.easy_goals(database_url=database_url, tenant=tenants[interface])
                caller = ByBlockingMethods(open_ones.enter_context(blocking))
            elif interface == "http":
                headers = {"Authorization": f"Bearer {keys[interface]}"}
                http = httpx2.AsyncClient(base_url=server, headers=headers)
                caller = ByHttp(await open_ones.enter_async_context(http))
            else:
                manager = easy_goals(database_url=database_url, tenant=tenants[interface])
                await open_ones.enter_async_context(manager)
                caller = ByMethods(manager) if interface == "manager" else ByFunctions()
            run = Run(caller, tenants[interface], session_factory)
            for step, (operation, is_repeated) in enumerate(story):
                await run.make(step, operation, is_repeated)
            await run.read_all()
        return run.outcomes

    outcomes = {interface: asyncio.run(play(interface)) for interface in INTERFACES}
    for interface in INTERFACES:
        assert outcomes[interface] == outcomes["manager"], interface
    assert has_gapless_ledgers(engine)
    for tenant in tenants.values():
        assert verify(session_factory, datetime.now(UTC) + timedelta(seconds=1), tenant=tenant).first == ()
