"""The feed of messages from Python: the same over both transports, async and sync."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from core.jobs.relay import relay
from core.jobs.retain import run_retain
from core.store.database import Sessions
from core.store.driver import Sql
from milepost import Exact, Forgotten, InvalidField
from tests.client.callers import AnyInterface, ask

pytestmark = pytest.mark.anyio


async def first(interface: AnyInterface, count: int, **named: Any) -> list[Any]:
    """The first messages of a feed that has no end."""
    found: list[Any] = []
    feed = interface.messages(**named, poll_s=0.01)
    if isinstance(feed, AsyncIterator):
        async for message in feed:
            found.append(message)
            if len(found) == count:
                break
        return found
    for message in feed:
        found.append(message)
        if len(found) == count:
            break
    return found


async def test_pages_and_the_endless_feed(interfaces: dict[str, AnyInterface], session_factory: Sessions) -> None:
    """Records with moments and exact amounts, from where the caller left off, of the types that it chooses."""
    goals: dict[str, str] = {}
    for name, interface in interfaces.items():
        goals[name] = (await ask(interface, "create_goal", "user_1", "Trip", "savings", 5000.50)).id
        await ask(interface, "update_goal", goals[name], status="paused")
    relay(session_factory, datetime.now(UTC))
    for name, interface in interfaces.items():
        page = await ask(interface, "list_messages")
        created, changed = page.messages
        assert (created.type, changed.type, page.has_more) == ("goal.created", "goal.changed", False), name
        assert created.data["goal_id"] == goals[name]
        assert created.data["target_amount"] == Exact("5000.50")
        assert isinstance(created.timestamp, datetime)
        assert (await ask(interface, "list_messages", page.next)).messages == []
        (only,) = (await ask(interface, "list_messages", types=["goal.changed"], goal_id=goals[name])).messages
        assert only == changed
        assert await first(interface, 2) == [created, changed]
        assert await first(interface, 1, after=created.cursor) == [changed]
        with pytest.raises(InvalidField) as refused:
            await ask(interface, "list_messages", types=["goal.chnged"])
        assert refused.value.field == "types"


async def test_the_feed_waits_for_the_next_message(
    interfaces: dict[str, AnyInterface], session_factory: Sessions
) -> None:
    """An empty page is no end of it."""
    interface = interfaces["manager"]
    feed = interface.messages(poll_s=0.01)
    assert isinstance(feed, AsyncIterator)
    waiting = anext(feed)
    goal = await ask(interface, "create_goal", "user_1", "Trip", "savings", 5)
    relay(session_factory, datetime.now(UTC))
    assert (await waiting).data["goal_id"] == goal.id


async def test_what_is_forgotten_is_told(interfaces: dict[str, AnyInterface], session_factory: Sessions) -> None:
    """The error has the cursor from which on there are all."""
    for interface in interfaces.values():
        for name in ("a", "b", "c"):
            await ask(interface, "create_goal", "user_1", name, "savings", 5)
    relay(session_factory, datetime.now(UTC))
    with session_factory.begin() as session:
        ages = Sql("""UPDATE outbox SET position = position - CAST(91 AS bigint) * 86400 * 1000000
            WHERE (tenant, position) NOT IN (SELECT tenant, max(position) FROM outbox GROUP BY tenant)""")
        ages.run(session, {})
    before = {name: (await ask(each, "list_messages")).messages for name, each in interfaces.items()}
    assert run_retain(session_factory, datetime.now(UTC)).messages == 8
    for name, interface in interfaces.items():
        with pytest.raises(Forgotten) as late:
            await ask(interface, "list_messages", before[name][0].cursor)
        assert (await ask(interface, "list_messages", late.value.oldest)).messages == before[name][2:]
