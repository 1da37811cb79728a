"""The client: the same interface over REST; each call is carried out once, whatever happens to its request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.app import make_app
from core.ingestion.apply import apply_events
from core.ingestion.decode import StreamEntry
from core.settings import Settings
from core.store.database import Sessions
from core.stream.entries import stream_key
from core.stream.stream import EventStream
from milepost import Client, GoalManager, GoalProgress, Goals, InvalidField, NotAllowed, ServerFault, Unavailable, sync
from tests.conftest import KEY, NOW
from tests.serving import serving

pytestmark = pytest.mark.anyio

FUND = {"user_id": "user_123", "name": "Emergency Fund", "type": "savings", "target_amount": 10000.00}


class LosesAnswers:
    """An app whose first answers to requests that change something get lost, after the change was made."""

    def __init__(self, app: ASGIApp, times: int, between: Callable[[], None] = lambda: None) -> None:
        self.app = app
        self.times = times
        self.between = between
        self.asked: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "GET":
            await self.app(scope, receive, send)
            return
        key = dict(scope["headers"])[b"idempotency-key"].decode()
        self.asked[key] = self.asked.get(key, 0) + 1
        if self.asked[key] > self.times:
            await self.app(scope, receive, send)
            return

        async def nowhere(_message: Message) -> None:
            return

        await self.app(scope, receive, nowhere)
        await asyncio.to_thread(self.between)
        # The connection ends within an answer, so that nobody can tell what it was.
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})
        raise ConnectionResetError


async def every_operation(goals: Goals) -> list[Any]:
    """One of each, with what each gave."""
    goal = await goals.create_goal(**FUND)
    milestone = await goals.add_milestone(goal.id, 5000)
    return [
        goal.name,
        milestone.amount,
        (await goals.update_goal(goal.id, current_amount=6000)).current_amount,
        (await goals.update_milestone(goal.id, milestone.id, amount=6000)).reached,
        [milestone.amount for milestone in await goals.check_milestones(goal.id)],
        (await goals.link_account_to_goal(goal.id, "DE/12 ü", allocation_percent=60)).account_id,
        (await goals.update_account_allocation(goal.id, "DE/12 ü", 70)).allocation_percent,
        await goals.remove_account_from_goal(goal.id, "DE/12 ü"),
        await goals.delete_milestone(goal.id, milestone.id),
        (await goals.update_goal(goal.id, status="completed")).status,
        (await goals.reopen_goal(goal.id)).status,
        len(await goals.list_goals()),
        await goals.delete_goal(goal.id),
        len(await goals.list_goals()),
    ]


async def test_an_answer_that_is_lost_is_asked_for_again(settings: Settings, manager: GoalManager) -> None:
    """Whichever operation loses its answer, even twice, is done once, and its caller gets that answer."""
    app = LosesAnswers(make_app(settings), times=2)
    with serving(app) as url:
        async with Client(url, KEY, attempts=4, first_pause_s=0) as client:
            assert await every_operation(client) == await every_operation(manager)
    assert set(app.asked.values()) == {3}
    assert len(app.asked) == 12


async def test_events_whose_answer_is_lost_are_accepted_once(settings: Settings, stream: EventStream) -> None:
    """Sent again under the key of the error, a request that was accepted is not accepted once more."""
    event = {"specversion": "1.0", "source": "bank", "type": "milepost.transaction.removed", "time": NOW}
    event |= {"data": {"account_id": "a", "transaction_id": "t"}}
    events = [{**event, "id": str(number)} for number in range(1_001)]
    with serving(LosesAnswers(make_app(settings), times=2)) as url:
        async with Client(url, KEY, attempts=2, first_pause_s=0) as client:
            with pytest.raises(Unavailable, match="events 0 to 999 may not have been accepted") as trouble:
                await client.send_events(events)
            with pytest.raises(Unavailable, match="event 1000 may not have been accepted"):
                await client.send_events(events, idempotency_key=trouble.value.idempotency_key)
            assert await client.send_events(events, idempotency_key=trouble.value.idempotency_key) == 1_001
    assert sum(stream.client.xlen(stream_key(shard)) for shard in range(2)) == 1_001


async def test_an_amount_is_not_set_twice(settings: Settings, manager: GoalManager, session_factory: Sessions) -> None:
    """Money that comes between a lost answer and the next try stays counted: the amount was set before it."""
    goal = await manager.create_goal(**FUND)
    await manager.link_account_to_goal(goal.id, "savings", allocation_percent=100)

    def money_comes() -> None:
        now = datetime.now(UTC)
        event = (
            '{"specversion": "1.0", "id": "1", "source": "bank", "type": "milepost.transaction.recorded", '
            f'"time": "{now.isoformat()}", "data": {{"account_id": "savings", "transaction_id": "t1", '
            f'"amount": 100.00, "currency": "USD", "posted_at": "{now.isoformat()}"}}}}'
        )
        with session_factory.begin() as session:
            apply_events(session, [StreamEntry(0, "1-0", now, "default", event.encode())], now)

    with serving(LosesAnswers(make_app(settings), times=1, between=money_comes)) as url:
        async with Client(url, KEY, attempts=4, first_pause_s=0) as client:
            manual = await client.update_goal(goal.id, current_amount=3500)
    assert manual.current_amount == 3500
    assert (await manager.get_goal(goal.id)).current_amount == 3600


async def test_a_server_that_is_never_reached_is_reported(settings: Settings, manager: GoalManager) -> None:
    """After all tries the error has the key under which the call can be made again, which then does it once."""
    app = LosesAnswers(make_app(settings), times=4)
    with serving(app) as url:
        async with Client(url, KEY, attempts=4, first_pause_s=0) as client:
            with pytest.raises(Unavailable, match="does not answer") as trouble:
                await client.create_goal(**FUND)
            key = trouble.value.idempotency_key
            assert len(await client.list_goals()) == 1
            goal = await client.create_goal(**FUND, idempotency_key=key)
    assert [each.id for each in await manager.list_goals()] == [goal.id]
    async with Client(url, KEY, attempts=4, first_pause_s=0) as client:
        with pytest.raises(ConnectionError, match="does not answer") as trouble:
            await client.list_goals()
        assert trouble.value.idempotency_key is None


@pytest.mark.parametrize("status", [429, 502, 503])
async def test_a_server_that_is_away_for_a_while_is_waited_for(settings: Settings, status: int) -> None:
    """Three refusals of a kind that passes, and the fourth try gets its answer."""
    app, refused = make_app(settings), []

    async def at_first(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or len(refused) == 3:
            await app(scope, receive, send)
            return
        refused.append(scope["path"])
        headers = [(b"retry-after", b"0")] if status == 503 else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"<html>gateway</html>"})

    with serving(at_first) as url:
        async with Client(url, KEY, attempts=4, first_pause_s=0) as client:
            assert await client.list_goals() == []


async def test_patience_has_an_end() -> None:
    """A server that says to come back later than the client would wait is not asked again."""
    asked = []

    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        asked.append(scope["path"])
        await send({"type": "http.response.start", "status": 503, "headers": [(b"retry-after", b"20")]})
        await send({"type": "http.response.body", "body": b""})

    with serving(busy) as url:
        async with Client(url, KEY, patience_s=10) as client:
            with pytest.raises(Unavailable) as trouble:
                await client.list_goals()
    assert (asked, trouble.value.retry_after_s) == (["/goals"], 20)


async def test_a_key_that_may_not_is_reported(server: str, manager: GoalManager, new_key: Callable[..., str]) -> None:
    """An unknown key, and one that lacks the scope, are PermissionErrors; neither is tried again."""
    goal = await manager.create_goal(**FUND)
    async with Client(server, "mp_unknown_key_of_nobody") as stranger:
        with pytest.raises(PermissionError, match="A valid API key is needed"):
            await stranger.list_goals()
    async with Client(server) as nobody:
        with pytest.raises(NotAllowed):
            await nobody.list_goals()
    async with Client(server, new_key("goals:read")) as reader:
        assert (await reader.get_goal(goal.id)).id == goal.id
        with pytest.raises(NotAllowed, match="goals:write"):
            await reader.delete_goal(goal.id)
        assert "mp_" not in repr(reader)


async def test_what_is_no_milepost_is_reported(server: str) -> None:
    """Another address of the same server, and one that leads elsewhere, become errors of ours."""
    async with Client(server, KEY, prefix="/openapi.json") as elsewhere:
        with pytest.raises(ServerFault):
            await elsewhere.create_goal(**FUND)
    with pytest.raises(InvalidField, match="base_url"):
        Client("milepost.example", KEY)


async def test_a_list_of_goals_has_their_progress_if_asked(manager: GoalManager) -> None:
    """`include_progress` gives each goal its progress, typed as get_goal_progress gives it; else it has no such key."""
    goal = await manager.create_goal(**FUND)
    (plain,) = await manager.list_goals()
    assert "progress" not in plain
    (listed,) = await manager.list_goals(include_progress=True)
    progress = await manager.get_goal_progress(goal.id)
    moments = {"calculated_at": None, "projected_at": None}
    assert listed.progress | moments == progress | moments
    assert type(listed.progress) is GoalProgress
    with pytest.raises(ValueError, match="include_progress"):
        await manager.list_goals(include_progress="yes")  # type: ignore[arg-type]


async def test_a_long_list_comes_in_pages(client: Client, manager: GoalManager) -> None:
    """Goals and accounts beyond a page, and as many milestones as a goal may have, are all there, in order."""
    made = [(await manager.create_goal("user_1", f"Goal {n}", "savings", 200)).id for n in range(102)]
    assert [goal.id for goal in await client.list_goals(user_id="user_1", status="active")] == made
    for n in range(100):
        await manager.add_milestone(made[0], n + 1)
    for n in range(102):
        await manager.link_account_to_goal(made[0], f"account/{n}", allocation_percent="0.5")
    assert [milestone.amount for milestone in await client.list_milestones(made[0])] == list(range(1, 101))
    funding = await client.get_goal_funding(made[0])
    assert [source.account_id for source in funding] == [f"account/{n}" for n in range(102)]
    assert funding == await manager.get_goal_funding(made[0])


async def test_amounts_keep_their_digits_on_the_wire(client: Client) -> None:
    """The largest amounts, yen and dinars come back as they were sent."""
    for currency, amount in (("USD", "9999999999999.99"), ("JPY", "999999999999999"), ("KWD", "999999999999.999")):
        goal = await client.create_goal("user_1", "Much", "savings", Decimal(amount), currency=currency)
        assert str(goal.target_amount) == amount
        assert str(
            (await client.create_goal("u", "Much", "savings", float(amount), currency=currency)).target_amount
        ) == (amount)


def test_a_client_works_in_one_event_loop_after_the_other(server: str) -> None:
    """Made once, it is used by asyncio.run twice, and closed in each."""
    client = Client(server, KEY)

    async def create() -> str:
        async with client:
            return (await client.create_goal(**FUND)).id

    assert asyncio.run(create()) != asyncio.run(create())


def test_the_sync_client_serves_many_threads(server: str) -> None:
    """Ten threads share one client; each gets a goal of its own."""
    made: list[str] = []
    with sync.Client(server, KEY) as client:
        threads = [threading.Thread(target=lambda: made.append(client.create_goal(**FUND).id)) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(made) == [goal.id for goal in client.list_goals()]


def test_a_header_of_the_host_goes_with_every_request() -> None:
    """Headers that the hosting application asks for are sent, with the key or instead of it."""
    seen: list[dict[bytes, bytes]] = []

    async def host(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        seen.append(dict(scope["headers"]) | {b"path": scope["raw_path"]})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"[]"})

    with serving(host) as url, sync.Client(f"{url}/outer/", prefix="/v1/goals/", headers={"X-Session": "s1"}) as client:
        assert client.list_goals() == []
    assert seen[0][b"x-session"] == b"s1"
    assert seen[0][b"path"] == b"/outer/v1/goals"
    assert b"authorization" not in seen[0]


def test_a_transport_error_is_httpx2s_own_no_more() -> None:
    """Callers of the Python interface need not know the HTTP library behind it."""
    with sync.Client("http://127.0.0.1:1", KEY, attempts=2) as client, pytest.raises(Unavailable) as trouble:
        client.list_goals()
    assert isinstance(trouble.value.__cause__, httpx2.ConnectError)
