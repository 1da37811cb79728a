"""Whatever is done, by manager, functions, client or plain HTTP: the same comes of it, and the ledger has no gap."""

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
from sqlalchemy.orm import Session, sessionmaker

from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.verify.verify import verify
from milepost import Client, easy_goals, sync
from tests.budget import examples
from tests.client.tellers import ByBlockingMethods, ByFunctions, ByHttp, ByMethods, Said, Teller, heard

READINGS = (
    "get_goal",
    "get_goal_progress",
    "list_milestones",
    "get_milestone_progress",
    "get_next_milestone",
    "get_goal_funding",
)
WAYS = ("manager", "blocking-manager", "functions", "client", "blocking-client", "http")
_numbers = itertools.count(1)

which = st.integers(0, 2)
amounts = st.sampled_from([0, 0.1, 10.55, 50, 100.0, 250.25, 1000, -5, 10.005])
percents = st.sampled_from([10, 33.3333, 60.0, 100, 0, 100.5])
accounts = st.sampled_from(["a", "b/1"])
operations = st.one_of(
    st.builds(
        lambda type, target, current, tracking: (
            "create_goal",
            {
                "user_id": "user_123",
                "name": f"A {type}",
                "type": type,
                "target_amount": target,
                **({} if current is None else {"current_amount": current}),
                **({} if tracking is None else {"tracking": tracking}),
            },
        ),
        st.sampled_from(["savings", "debt", "income", "net_worth", "custom"]),
        amounts,
        st.none() | amounts,
        st.none() | st.sampled_from(["change", "balance", "inflow"]),
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
    st.builds(lambda n, amount: ("add_milestone", {"goal": n, "amount": amount}), which, amounts),
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
        lambda n, account, percent: (
            "update_account_allocation",
            {"goal": n, "account_id": account, "allocation_percent": percent},
        ),
        which,
        accounts,
        percents,
    ),
    st.builds(lambda n, account: ("remove_account_from_goal", {"goal": n, "account_id": account}), which, accounts),
    st.builds(
        lambda account, amount: ("event", {"account_id": account, "amount": amount}),
        accounts,
        st.sampled_from(["100.00", "-30.25", "0.01", "250.50"]),
    ),
)
SAVING: Said = ("create_goal", {"user_id": "user_123", "name": "Trip", "type": "savings", "target_amount": 250.25})
BALANCE: Said = (
    "create_goal",
    {"user_id": "u", "name": "Cash", "type": "custom", "target_amount": 100, "tracking": "balance"},
)


@dataclass
class Telling:
    """One way of saying a sequence of acts, in a tenant of its own, and all that was heard."""

    teller: Teller
    tenant: str
    sessions: sessionmaker[Session]
    goals: list[str] = field(default_factory=list)
    heard: list[Any] = field(default_factory=list)

    async def say(self, number: int, said: Said, is_said_twice: bool) -> None:
        """Say one act; one that is said twice under its key is done once, and heard twice."""
        operation, arguments = said[0], self._named(said[1])
        if operation == "event":
            self._tell(number, arguments)
            return
        once = await self._hear(operation, arguments, f"key-{number}")
        if is_said_twice and not isinstance(once, Exception):
            again = await self._hear(operation, arguments, f"key-{number}")
            assert again == once
        if operation == "create_goal" and not isinstance(once, Exception):
            self.goals.append(once["id"])
        self.heard.append(heard(once))

    async def read_all(self) -> None:
        """Everything that can be read of every goal that ever was, and the list."""
        for goal_id in self.goals:
            for reading in READINGS:
                self.heard.append(heard(await self._hear(reading, {"goal_id": goal_id}, "")))
        for filters in ({}, {"user_id": "user_123", "type": "savings"}, {"status": "paused"}):
            self.heard.append(heard(await self._hear("list_goals", filters, "")))

    async def _hear(self, operation: str, arguments: Mapping[str, Any], key: str) -> Any:
        try:
            return await self.teller.say(operation, arguments, key)
        except (ValueError, KeyError) as refused:
            return refused

    def _named(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        named = dict(arguments)
        if "goal" in named:
            number = named.pop("goal")
            named = {"goal_id": self.goals[number] if number < len(self.goals) else "goal_0", **named}
        return named

    def _tell(self, number: int, arguments: Mapping[str, Any]) -> None:
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
    """Every ledger begins with nothing before it, goes on where it was, and ends where its goal stands."""
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
def test_every_way_comes_to_the_same(
    server: str,
    database_url: str,
    engine: Engine,
    session_factory: sessionmaker[Session],
    new_tenant: Callable[..., str],
    new_key: Callable[..., str],
    said: list[tuple[Said, bool]],
) -> None:
    """Any sequence of acts, refused ones and repeated ones among them, and of events between them."""
    number = next(_numbers)
    tenants = {way: new_tenant(f"{way}-{number}") for way in WAYS}
    keys = {way: new_key("admin", tenant=tenants[way]) for way in ("client", "blocking-client", "http")}
    story = [(SAVING, False), (BALANCE, True), *said]

    async def tell(way: str) -> list[Any]:
        async with AsyncExitStack() as open_ones:
            if way == "client":
                teller: Teller = ByMethods(await open_ones.enter_async_context(Client(server, keys[way])))
            elif way == "blocking-client":
                teller = ByBlockingMethods(open_ones.enter_context(sync.Client(server, keys[way])))
            elif way == "blocking-manager":
                blocking = sync.easy_goals(database_url=database_url, tenant=tenants[way])
                teller = ByBlockingMethods(open_ones.enter_context(blocking))
            elif way == "http":
                headers = {"Authorization": f"Bearer {keys[way]}"}
                http = httpx2.AsyncClient(base_url=server, headers=headers)
                teller = ByHttp(await open_ones.enter_async_context(http))
            else:
                manager = easy_goals(database_url=database_url, tenant=tenants[way])
                await open_ones.enter_async_context(manager)
                teller = ByMethods(manager) if way == "manager" else ByFunctions()
            telling = Telling(teller, tenants[way], session_factory)
            for step, (operation, is_said_twice) in enumerate(story):
                await telling.say(step, operation, is_said_twice)
            await telling.read_all()
        return telling.heard

    told = {way: asyncio.run(tell(way)) for way in WAYS}
    for way in WAYS:
        assert told[way] == told["manager"], way
    assert has_gapless_ledgers(engine)
    for tenant in tenants.values():
        assert verify(session_factory, datetime.now(UTC) + timedelta(seconds=1), tenant=tenant).first == ()
