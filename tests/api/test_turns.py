"""Requests of one tenant that wait for a lock keep no other tenant out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import anyio
import httpx2
import pytest
from sqlalchemy import Engine, text

from api.app import make_app
from api.context import THREADS
from api.turns import OF_ONE_TENANT, TooManyRequests, Turns
from core.services.keys import key_hash
from core.settings import Settings
from core.store.tenants import DEFAULT
from tests.serving import serving

GOAL = {"user_id": "u", "name": "n", "type": "savings", "target_amount": 10}
PATIENCE_S = 60


@contextmanager
def locked(engine: Engine, *goals: str) -> Iterator[None]:
    """Hold the locks of goals."""
    with engine.begin() as connection:
        connection.execute(text("SELECT FROM goals WHERE goal_id = ANY(:ids) FOR UPDATE"), {"ids": list(goals)})
        yield


def until_changes_wait(engine: Engine, number: int) -> None:
    """Wait until so many requests wait for a lock."""
    deadline = time.monotonic() + PATIENCE_S
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    while True:
        with engine.connect() as connection:
            if connection.execute(waiting).scalar_one() == number:
                return
        assert time.monotonic() < deadline, "the changes do not wait"
        time.sleep(0.01)


def test_sixty_changes_that_wait_leave_another_tenants_reads_as_they_were(
    settings: Settings, engine: Engine, new_key: Callable[..., str]
) -> None:
    """Also if they are of three tenants, and so have all the threads; and all are answered once the goals are free."""
    stuck = [new_key("goals:write", "goals:read", tenant=name) for name in ("first", "second", "third")]
    other = new_key("goals:read", "goals:write", tenant="other")
    with serving(make_app(settings)) as url, httpx2.Client(base_url=url, timeout=PATIENCE_S) as client:

        def headers(key: str) -> dict[str, str]:
            return {"Authorization": f"Bearer {key}"}

        def change(number: int) -> int:
            body, which = {"name": f"n{number}"}, number % len(stuck)
            return client.patch(f"/goals/{goals[which]}", json=body, headers=headers(stuck[which])).status_code

        goals = [client.post("/goals", json=GOAL, headers=headers(key)).json()["id"] for key in stuck]
        seen = client.post("/goals", json=GOAL, headers=headers(other)).json()["id"]
        with ThreadPoolExecutor(60) as pool:
            with locked(engine, *goals):
                changes = [pool.submit(change, number) for number in range(60)]
                until_changes_wait(engine, THREADS)
                for path in ("/goals", f"/goals/{seen}", f"/goals/{seen}/progress", f"/goals/{seen}/history"):
                    assert client.get(path, headers=headers(other)).status_code == 200
                # A change gives up after seconds. None has yet.
                assert not any(each.done() for each in changes)
            assert {each.result() for each in changes} <= {200, 503}


def test_a_key_that_is_revoked_while_its_request_waits_acts_no_more(
    settings: Settings,
    engine: Engine,
    new_key: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[[Callable[[], object], float], bool],
) -> None:
    """The request that waited for its turn is refused, and changes nothing."""
    monkeypatch.setattr("api.auth.KEYS_KNOWN_S", 0)
    first, second = ({"Authorization": f"Bearer {new_key('goals:write', 'goals:read')}"} for _ in range(2))
    app = make_app(settings)

    def is_waiting() -> bool:
        return bool(app.state.turns._limiters[DEFAULT].statistics().tasks_waiting)

    with serving(app) as url, httpx2.Client(base_url=url, timeout=PATIENCE_S) as client:
        goal_id = client.post("/goals", json=GOAL, headers=first).json()["id"]
        others = client.post("/goals", json=GOAL, headers=first).json()["id"]
        with ThreadPoolExecutor(OF_ONE_TENANT + 1) as pool:
            with locked(engine, goal_id):
                for number in range(OF_ONE_TENANT):
                    pool.submit(client.patch, f"/goals/{goal_id}", json={"name": f"n{number}"}, headers=first)
                until_changes_wait(engine, OF_ONE_TENANT)
                late = pool.submit(client.patch, f"/goals/{others}", json={"name": "late"}, headers=second)
                assert eventually(is_waiting, PATIENCE_S)
                with engine.begin() as connection:
                    connection.execute(
                        text("UPDATE api_keys SET revoked_at = now() WHERE key_hash = :hash"),
                        {"hash": key_hash(second["Authorization"].removeprefix("Bearer "))},
                    )
            assert late.result().status_code == 401
        assert client.get(f"/goals/{others}", headers=first).json()["name"] == GOAL["name"]


def test_so_many_wait_and_one_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this tenant; of another one none waits. What is over leaves nothing behind."""
    monkeypatch.setattr("api.turns.OF_ONE_TENANT", 2)
    monkeypatch.setattr("api.turns.WAITING_MOST", 3)
    turns, order, is_over = Turns(), list[int](), anyio.Event()

    async def hold(tenant: str, number: int) -> None:
        async with turns.turn(tenant):
            order.append(number)
            await is_over.wait()

    async def run() -> None:
        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(hold, "a", number)
                # Those that come later wait behind it.
                await anyio.wait_all_tasks_blocked()
            with pytest.raises(TooManyRequests):
                await hold("a", 9)
            group.start_soon(hold, "b", 10)
            await anyio.wait_all_tasks_blocked()
            assert order == [0, 1, 10]
            is_over.set()
        await hold("a", 11)

    anyio.run(run)
    assert order == [0, 1, 10, 2, 3, 4, 11]
    assert not turns._limiters
