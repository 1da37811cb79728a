"""If nobody knows whether a call was carried out, it is carried out once, or its caller has the key to ensure that."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, text
from starlette.types import Receive, Scope, Send

import milepost
from milepost import Client, GoalManager, Goals, Unavailable, easy_goals, sync
from milepost.client import local, transport
from milepost.client.transport import Patience, encode
from tests.client.proxy import Proxy, proxy_to
from tests.conftest import KEY, NOW
from tests.serving import serving

FUND = {"user_id": "user_123", "name": "Emergency Fund", "type": "savings", "target_amount": 10000.00}
PATIENCE_S = 20


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    """A proxy in front of the database."""
    with proxy_to(database_url) as proxy:
        yield proxy


@pytest.fixture
def proxied(proxy: Proxy) -> Iterator[sync.GoalManager]:
    """A manager that connects through the proxy."""
    with sync.easy_goals(database_url=proxy.url) as manager:
        yield manager


@pytest.mark.parametrize("lost", ["lose_answers", "lose_commits"])
def test_a_commit_that_breaks_off_is_resolved(
    proxy: Proxy, proxied: sync.GoalManager, sync_manager: sync.GoalManager, lost: str
) -> None:
    """Whether or not the commit was done when the connection ended, each operation is done once and has its answer."""
    goal = proxied.create_goal(**FUND)
    operations: list[Callable[[], object]] = [
        lambda: proxied.create_goal(**FUND),
        lambda: proxied.add_milestone(goal.id, 5000),
        lambda: proxied.update_goal(goal.id, current_amount=6000),
        lambda: proxied.check_milestones(goal.id)[0].amount,
        lambda: proxied.link_account_to_goal(goal.id, "a/1", allocation_percent=60),
        lambda: proxied.remove_account_from_goal(goal.id, "a/1"),
    ]
    for operation in operations:
        setattr(proxy, lost, 1)
        operation()
        assert getattr(proxy, lost) == 0
    assert len(sync_manager.list_goals()) == 2
    found = sync_manager.get_goal(goal.id)
    assert (found.current_amount, len(found.milestones)) == (6000, 1)
    assert sync_manager.check_milestones(goal.id) == []


def test_while_the_database_stays_away_the_error_has_the_key(
    proxy: Proxy, proxied: sync.GoalManager, sync_manager: sync.GoalManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that nobody knows; the same call under its key, by another connection, is done once in all."""
    monkeypatch.setattr(transport, "_LONGEST_PAUSE_S", 0.1)
    for lost in ("lose_answers", "lose_commits"):
        before = len(sync_manager.list_goals())
        proxied.list_goals()
        setattr(proxy, lost, 1)
        proxy.goes_down = True
        with pytest.raises(Unavailable, match="it may have been done") as trouble:
            proxied.create_goal(**FUND)
        assert proxy.is_down
        proxy.goes_down = proxy.is_down = False
        assert trouble.value.idempotency_key is not None
        sync_manager.create_goal(**FUND, idempotency_key=trouble.value.idempotency_key)
        assert len(sync_manager.list_goals()) == before + 1


@pytest.mark.anyio
@pytest.mark.parametrize("status", [502, 503, 504, 500])
async def test_the_last_answer_of_a_server_that_is_away_comes_with_the_key(manager: GoalManager, status: int) -> None:
    """A gateway that answers instead of Milepost does not know what was done, so the error has the key."""
    keys = []

    async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            keys.append(dict(scope["headers"])[b"idempotency-key"].decode())
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b"<html>"})
        else:
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})

    with serving(gateway) as url:
        async with Client(url, KEY, attempts=3, first_pause_s=0) as client:
            with pytest.raises(milepost.MilepostError, match="it may have been done") as trouble:
                await client.create_goal(**FUND)
    assert set(keys) == {trouble.value.idempotency_key}
    assert len(keys) == (1 if status == 500 else 3)
    assert (await manager.create_goal(**FUND, idempotency_key=keys[0])).name == "Emergency Fund"


@pytest.mark.anyio
@pytest.mark.parametrize("interface", ["manager", "client"])
async def test_a_call_that_is_still_in_work_is_not_refused(
    manager: GoalManager, client: Client, database_url: str, interface: str
) -> None:
    """Another process works under the same key for longer than a call can wait: Unavailable, with key and pause."""
    goals: Goals = manager if interface == "manager" else client
    body = {**FUND, "type": "savings", "current_amount": None, "deadline": None, "description": None}
    body |= {"status": "active", "currency": "USD", "tracking": None, "start_date": None, "auto_complete": False}
    row = ["default", "busy", "POST /goals", hashlib.sha256(encode(body)).digest(), NOW]
    with psycopg.connect(database_url.replace("+psycopg", "")) as other:
        other.execute(
            """INSERT INTO idempotency_keys (tenant, idempotency_key, route, body_hash, created_at, status, body)
            VALUES (%s, %s, %s, %s, %s, 0, '')""",
            row,
        )
        goals._transport._patience = Patience(attempts=1)
        with pytest.raises(Unavailable, match="still being worked on") as trouble:
            await goals.create_goal(**FUND, idempotency_key="busy")
        other.rollback()
    assert trouble.value.idempotency_key == "busy"
    assert trouble.value.retry_after_s is not None


def test_a_cancelled_call_comes_to_its_end(database_url: str, engine: Engine) -> None:
    """Cancelled while it waits for a lock, it goes on, and its task ends when it is done; not before."""

    async def story() -> None:
        async with easy_goals(database_url=database_url) as manager:
            goal = await manager.create_goal(**FUND)
            with engine.connect() as holder:
                holder.execute(text("SELECT 1 FROM goals FOR UPDATE"))
                task = asyncio.create_task(manager.update_goal(goal.id, current_amount=5))
                while not holder.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one():
                    await asyncio.sleep(0.01)
                for _ in range(3):
                    task.cancel()
                    for _turn in range(20):
                        await asyncio.sleep(0)
                assert not task.done()
                holder.rollback()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert (await manager.get_goal(goal.id)).current_amount == 5

    asyncio.run(asyncio.wait_for(story(), PATIENCE_S))


def test_a_fork_while_another_thread_opens_does_not_hang(proxy: Proxy, proxied: sync.GoalManager) -> None:
    """The child has none of the parent's threads, and so none of the locks that they hold."""
    proxy.let_in.clear()
    opening = threading.Thread(target=proxied.list_goals)
    opening.start()
    assert proxy.waiting.acquire(timeout=PATIENCE_S)
    pid = os.fork()
    if pid == 0:  # pragma: no cover
        signal.alarm(PATIENCE_S)
        os._exit(len(proxied.list_goals()))
    assert proxy.waiting.acquire(timeout=PATIENCE_S), "the child does not come so far as to connect"
    proxy.let_in.set()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    opening.join(PATIENCE_S)


def test_a_function_outlives_no_manager(database_url: str) -> None:
    """One that was begun while a manager was open, and goes on after that, is refused and opens nothing again."""

    async def story() -> None:
        async with easy_goals(database_url=database_url) as manager:
            goal = await manager.create_goal(**FUND)
            late = asyncio.ensure_future(milepost.get_goal(goal.id))
        with pytest.raises(RuntimeError, match="this manager is closed"):
            await late

    asyncio.run(story())
    assert local.server_configs() == []


def test_a_forgotten_manager_in_a_cycle_is_closed_by_the_collector(
    database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the collector runs while the same server config is being opened for another manager."""
    forgotten = sync.easy_goals(database_url=database_url)
    forgotten.__dict__["itself"] = forgotten
    del forgotten
    from milepost.client import in_process

    opened, times = in_process.open_backends, itertools.count()

    def collecting(*args: Any, **kwargs: Any) -> Any:
        next(times)
        gc.collect()
        return opened(*args, **kwargs)

    monkeypatch.setattr(in_process, "open_backends", collecting)
    answered = threading.Event()

    def call() -> None:
        sync.list_goals()
        answered.set()

    threading.Thread(target=call, daemon=True).start()
    assert answered.wait(PATIENCE_S), "it hangs"
    assert next(times) > 0
    gc.collect()
    assert local.server_configs() == []
    left = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'milepost-python'")
    with engine.connect() as connection:
        assert connection.execute(left).scalar_one() == 0
