"""A drain that dies at each of its steps, as by kill -9, and one that dies of an event."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis

from core.goals.goal import GoalType
from core.store.database import Sessions
from core.store.driver import Sql
from core.stream.stream import EventStream
from tests.acts import amount, goal, link, paid
from tests.chaos.crash_points import AFTER_COMMIT, ON_EVENT, POINTS, VARIABLE
from tests.ingestion.positions import is_settled, position, status

POSTED = datetime.now(UTC) - timedelta(hours=1)
ROOT = Path(__file__).parents[2]
Drain = Callable[[], int]


@pytest.fixture
def crash_points(tmp_path: Path) -> Path:
    """The folder in which crash points are named."""
    folder = tmp_path / "crash_points"
    folder.mkdir()
    return folder


@pytest.fixture
def drain(database_url: str, redis_url: str, crash_points: Path) -> Drain:
    """Drains shard 0 in a process of its own; returns how it ended."""
    settings = {
        "MILEPOST_DATABASE_URL": database_url,
        "MILEPOST_REDIS_URL": redis_url,
        VARIABLE: str(crash_points),
        "MILEPOST_SHARDS": "1",
    }

    def run() -> int:
        command = [sys.executable, "-m", "tests.faults.drain_once"]
        return subprocess.run(command, cwd=ROOT, env=os.environ | settings, timeout=60).returncode

    return run


@pytest.fixture
def one_shard(redis_client: redis.Redis) -> EventStream:
    """A stream of one shard."""
    return EventStream(redis_client, 1)


def funded(sessions: Sessions) -> str:
    """A goal that all of account `a` funds since two hours ago."""
    goal_id = goal(sessions, datetime.now(UTC), type=GoalType.CUSTOM)
    link(sessions, datetime.now(UTC), goal_id, "a", "100", POSTED - timedelta(hours=1))
    return goal_id


def rows(sessions: Sessions, query: str) -> list[tuple[object, ...]]:
    """What a query finds."""
    with sessions() as session:
        return Sql(query).rows(session, {})


@pytest.mark.parametrize("point", POINTS)
def test_an_event_is_applied_once_wherever_the_drain_dies(
    drain: Drain, crash_points: Path, one_shard: EventStream, session_factory: Sessions, point: str
) -> None:
    """Killed at a point, the next drain leaves the event applied once, one ledger entry for it, and nothing noted."""
    goal_id = funded(session_factory)
    one_shard.append("default", [("a", paid("t1", 1_250, POSTED))])
    (crash_points / point).touch()
    assert drain() == -signal.SIGKILL
    assert not (crash_points / point).exists()
    is_committed = point == AFTER_COMMIT
    assert amount(session_factory, goal_id) == (1_250 if is_committed else 0)
    assert status(session_factory, one_shard).unapplied == (0 if is_committed else 1)
    assert (position(session_factory).begun_at is None) == is_committed
    assert drain() == 0
    assert amount(session_factory, goal_id) == 1_250
    assert rows(session_factory, "SELECT after_minor FROM goal_entries WHERE cause = 'events'") == [(1_250,)]
    assert is_settled(session_factory, one_shard)


def test_an_event_that_kills_its_worker_is_set_aside_and_holds_up_no_other(
    drain: Drain, crash_points: Path, one_shard: EventStream, session_factory: Sessions
) -> None:
    """However often the process dies of it, the event ends in the dead letters and the events around it are applied."""
    goal_id = funded(session_factory)
    one_shard.append("default", [("a", paid(name, 100, POSTED)) for name in ("t1", "killer", "t3")])
    (crash_points / ON_EVENT).write_text('"id": "killer"')
    deaths = 0
    while drain() == -signal.SIGKILL:
        deaths += 1
        assert deaths < 20
    assert 2 < deaths <= 8
    assert amount(session_factory, goal_id) == 200
    assert rows(session_factory, "SELECT code FROM dead_letters") == [("poison",)]
    assert is_settled(session_factory, one_shard)
