"""The manager's transport: Milepost's own application, on a loop of the process's own, for callers of every kind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from milepost import Unavailable, easy_goals, sync
from milepost.client.background import THREADS, DaemonThreads
from milepost.client.in_process import InProcess
from milepost.client.local import server_config_of
from milepost.client.transport import Message
from milepost.embedded.users import IdleTimer, UsersLock
from tests.conftest import KEY

FUND = {"user_id": "user_123", "name": "Emergency Fund", "type": "savings", "target_amount": 10000.00}
PATIENCE_S = 60

LIGHT = """
import sys
import milepost
from milepost import sync
manager = sync.easy_goals(database_url=sys.argv[1])
print([name for name in ("fastapi", "sqlalchemy", "starlette", "psycopg", "alembic") if name in sys.modules])
print(len(manager.list_goals()))
print([name for name in ("sqlalchemy", "alembic", "celery", "structlog") if name in sys.modules])
manager.close()
"""

# The main thread ends first; the other one goes on to use the manager.
LATE = """
import sys, threading
from milepost import sync
manager = sync.easy_goals(database_url=sys.argv[1])
def work():
    threading.main_thread().join()
    goal = manager.create_goal("user_123", "Trip", "savings", 100)
    print(manager.update_goal(goal.id, current_amount=5).current_amount, flush=True)
    manager.close()
threading.Thread(target=work).start()
"""


def test_one_manager_serves_many_loops_and_threads(database_url: str) -> None:
    """Six event loops in threads of their own, and six blocking threads, set amounts of one goal: none is lost."""
    blocking = sync.easy_goals(database_url=database_url)
    manager = easy_goals(database_url=database_url)
    goal = blocking.create_goal(**FUND)

    async def set_amounts(first: int) -> None:
        for amount in range(first, first + 5):
            await manager.update_goal(goal.id, current_amount=amount)

    def on_a_loop(first: int) -> None:
        asyncio.run(set_amounts(first))

    def in_a_thread(first: int) -> None:
        for amount in range(first, first + 5):
            blocking.update_goal(goal.id, current_amount=amount)

    with ThreadPoolExecutor(12) as threads:
        calls = [threads.submit(on_a_loop, 100 * n) for n in range(1, 7)]
        calls += [threads.submit(in_a_thread, 100 * n) for n in range(7, 13)]
        for call in calls:
            call.result(PATIENCE_S)
    entries = blocking.get_goal_history(goal.id)
    blocking.close()
    asyncio.run(manager.close())
    assert sorted(entry.after for entry in entries) == sorted(
        [0, *(100 * n + k for n in range(1, 13) for k in range(5))]
    )


def test_what_it_imports_is_little_before_the_first_call(database_url: str) -> None:
    """An application that never asks for a goal pays for neither the framework nor the database."""
    command = [sys.executable, "-c", LIGHT, database_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.stdout, done.stderr) == ("[]\n0\n[]\n", "")


def test_a_thread_that_outlives_the_main_one_is_served(database_url: str) -> None:
    """Python's own pools of threads refuse all work by then."""
    command = [sys.executable, "-W", "error", "-c", LATE, database_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.stdout, done.stderr) == ("5.00\n", "")


@pytest.mark.parametrize("header", [{"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}, {"X-Tenant": "default"}])
def test_no_header_chooses_another_tenant(
    database_url: str, new_tenant: Callable[..., str], header: dict[str, str]
) -> None:
    """The tenant is that of the manager, also with a key of another one."""
    with sync.easy_goals(database_url=database_url) as first:
        first.create_goal(**FUND)
    process = InProcess(server_config_of(database_url, None, new_tenant("other"), None), None)
    answer = asyncio.run(process.answer(Message("GET", "/goals", header, b"")))
    process.close()
    assert (answer.status, answer.content) == (200, b"[]")


def test_a_message_after_the_end_is_refused(database_url: str, tmp_path: Path) -> None:
    """Nothing is opened for it, since nobody would close it again, and idle servers are not held for it."""
    idle_lock = UsersLock.try_share(tmp_path)
    assert idle_lock is not None
    process = InProcess(server_config_of(database_url, None, None, None), idle_lock)
    process.close()
    with pytest.raises(Unavailable, match="closed before the call had begun"):
        asyncio.run(process.answer(Message("GET", "/goals", {}, b"")))
    timer = IdleTimer(tmp_path, 0)
    assert timer.has_expired()
    timer.close()


def test_events_say_what_is_missing_without_a_stream_server(database_url: str) -> None:
    """At once, and all else works."""
    with sync.easy_goals(database_url=database_url) as manager:
        manager.create_goal(**FUND)
        with pytest.raises(Unavailable, match="set MILEPOST_REDIS_URL, or give redis_url") as refused:
            manager.send_event({"specversion": "1.0"})
        assert not refused.value.may_pass
        assert len(manager.list_goals()) == 1


def test_its_threads_are_few_and_keep_nothing_alive() -> None:
    """More work than threads waits for its turn, an error goes to whoever waits, and all threads are daemons."""
    threads, begun, go_on = DaemonThreads(3), threading.Semaphore(0), threading.Event()

    def work(number: int) -> int:
        begun.release()
        assert go_on.wait(PATIENCE_S)
        return 10 // number

    futures = [threads.submit(work, number) for number in (1, 2, 5, 10, 0)]
    for _ in range(3):
        assert begun.acquire(timeout=PATIENCE_S)
    assert not begun.acquire(blocking=False)
    own = [each for each in threading.enumerate() if each.name in ("milepost-1", "milepost-2", "milepost-3")]
    assert len(own) >= 3
    assert all(each.daemon for each in own)
    go_on.set()
    assert [future.result(PATIENCE_S) for future in futures[:4]] == [10, 5, 2, 1]
    with pytest.raises(ZeroDivisionError):
        futures[4].result(PATIENCE_S)
    assert THREADS == 16
