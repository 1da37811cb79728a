"""easy_goals() on a machine without servers: it starts them, shares them with other processes, and leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from core.stream.stream import EventStream, connect
from milepost import Unavailable, sync
from milepost.embedded import autostart
from milepost.embedded.datadir import DataDir, RunningServers

Eventually = Callable[[Callable[[], object], float], bool]
Processes = Callable[[Path], list[int]]
ENDS_WITHIN_S = 60
APPLIED_WITHIN_S = 60

# Another process: shows the goals of the directory, waits for a line, and sets an amount.
OTHER = """
import asyncio, sys
from milepost import easy_goals, list_goals
async def main():
    async with easy_goals(data_dir=sys.argv[1]) as manager:
        (goal,) = await list_goals(user_id="user_123")
        print(goal.name, goal.current_amount, flush=True)
        sys.stdin.readline()
        print((await manager.update_goal(goal.id, current_amount=goal.current_amount + 0.5)).current_amount, flush=True)
asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def no_servers_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other servers of this machine must not be used, and the test's own end soon after it."""
    monkeypatch.setattr(autostart, "LINGER_S", 1.0)
    for name in list(os.environ):
        if name.startswith("MILEPOST_"):
            monkeypatch.delenv(name)


@pytest.fixture
def manager(place: Path) -> Iterator[sync.GoalManager]:
    """A manager of an empty data directory."""
    with sync.easy_goals(data_dir=place) as manager:
        yield manager


def running(place: Path) -> RunningServers:
    """The servers that run in a data directory."""
    found = DataDir(place).servers()
    assert found is not None
    return found


def transaction(amount: str) -> bytes:
    """A transaction of the account `savings`, dated now."""
    now = datetime.now(UTC).isoformat()
    data = {"account_id": "savings", "transaction_id": "t1", "amount": amount, "currency": "USD", "posted_at": now}
    event = {"specversion": "1.0", "id": "1", "source": "bank", "type": "milepost.transaction.recorded", "time": now}
    return json.dumps({**event, "data": data}).encode()


def test_a_manager_needs_nothing_installed_or_started(
    place: Path, manager: sync.GoalManager, eventually: Eventually, processes_in: Processes
) -> None:
    """Goals are stored, events change them, a second process shares the servers and goes on after the first ends."""
    assert DataDir(place).servers() is None
    goal = manager.create_goal("user_123", "Emergency Fund", "savings", 10000.00, current_amount=2500.00)
    manager.link_account_to_goal(goal.id, "savings", allocation_percent=60)
    servers = running(place)
    with connect(servers.redis_url) as client:
        EventStream(client, 2).append("default", [("savings", transaction("1000.00"))])
    assert eventually(lambda: manager.get_goal(goal.id).current_amount == 3100, APPLIED_WITHIN_S)
    command = [sys.executable, "-W", "error", "-c", OTHER, str(place)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "Emergency Fund 3100.00\n"
        assert running(place).supervisor_pid == servers.supervisor_pid
        manager.close()
        assert other.communicate("go on\n", timeout=ENDS_WITHIN_S)[0] == "3100.50\n"
    assert other.returncode == 0
    assert eventually(lambda: not processes_in(place), ENDS_WITHIN_S)


def test_servers_that_a_person_stopped_are_started_again_in_a_safe_directory(
    place: Path, manager: sync.GoalManager, eventually: Eventually, processes_in: Processes
) -> None:
    """When the servers have ended, the next call starts none in a directory that others may write by then.

    Once it is private again, the next call starts new ones, and reads what was written.
    """
    goal = manager.create_goal("user_123", "Emergency Fund", "savings", 10000.00)
    before = running(place).supervisor_pid
    os.kill(before, signal.SIGTERM)
    assert eventually(lambda: not processes_in(place), ENDS_WITHIN_S)
    place.chmod(0o777)
    with pytest.raises(Unavailable, match=rf"{place} can be written by every user \(mode 777\); "):
        manager.list_goals(user_id="u1")
    assert processes_in(place) == []
    place.chmod(0o700)
    assert manager.get_goal(goal.id).id == goal.id
    assert running(place).supervisor_pid != before


def test_a_database_without_free_connections_is_reported_and_still_used(place: Path, manager: sync.GoalManager) -> None:
    """If others use all connections, a call fails soon; the servers and the pool stay, and work again later."""
    goal = manager.create_goal("user_123", "Emergency Fund", "savings", 10000.00)
    servers = running(place)
    with ExitStack() as others:
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            take_all(others, servers.database_url.replace("+psycopg", ""))
        with ThreadPoolExecutor(5) as threads:
            calls = [threads.submit(manager.get_goal, goal.id) for _ in range(5)]
            errors = [call.exception(timeout=ENDS_WITHIN_S) for call in calls]
    assert {type(each) for each in errors} <= {Unavailable, type(None)}
    assert running(place).supervisor_pid == servers.supervisor_pid
    assert manager.get_goal(goal.id).id == goal.id


def take_all(others: ExitStack, url: str) -> None:
    """Connect until the database refuses."""
    while True:
        others.enter_context(psycopg.connect(url))
