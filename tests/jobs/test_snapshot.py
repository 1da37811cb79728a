"""Days that nobody closed for a while, closed by several at once: none missing, none twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from core.jobs.snapshot import run_snapshot
from core.snapshots.closing import Snapshotted
from core.store.database import Sessions, open_sessions
from core.store.driver import Sql
from core.verify.verify import verify
from milepost.embedded.postgres import EmbeddedPostgres
from milepost.embedded.process import spawn
from tests.jobs.missed_days import ACCOUNTS, MissedDays, closes_of, dump, is_closed, miss_three_days

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 90
ROUNDS = 5
Copy = Callable[[], Sessions]


@pytest.fixture
def world(session_factory: Sessions) -> MissedDays:
    """The tenant with three missed days, in the fresh database."""
    return miss_three_days(session_factory)


@pytest.fixture
def copy(world: MissedDays, session_factory: Sessions, database_url: str, postgres: EmbeddedPostgres) -> Iterator[Copy]:
    """Makes databases that hold the same, row by row."""
    source = str(make_url(database_url).database)
    copies: dict[str, Sessions] = {}
    with psycopg.connect(_address(postgres, "postgres"), autocommit=True) as connection:

        def make() -> Sessions:
            assert world.missed
            session_factory.close()
            name = f"{source}_{len(copies)}"
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {source} STRATEGY FILE_COPY")
            url = database_url.rpartition("/")[0] + f"/{name}"
            copies[name] = open_sessions(url, application_name="tests")
            return copies[name]

        yield make
        for name, each in copies.items():
            each.close()
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_quiet_run_closes_each_missed_day(session_factory: Sessions, world: MissedDays) -> None:
    """After three days without a beat one run closes these days, and anew the older ones that late facts touched."""
    assert closes_of(session_factory, 0, world.missed) == []
    run_snapshot(session_factory, datetime.now(UTC))
    assert is_closed(session_factory, world)
    for account in range(ACCOUNTS):
        assert closes_of(session_factory, account, world.missed) == world.expected(account)
    assert verify(session_factory, datetime.now(UTC)).is_ok
    with session_factory() as session:
        question = "SELECT status, count(*) FROM goals WHERE name LIKE 'soon %' GROUP BY 1"
        assert Sql(question).rows(session, {}) == [("completed", ACCOUNTS)]


def test_two_runs_at_the_same_time_are_one(world: MissedDays, copy: Copy) -> None:
    """Two runs on two connections leave the rows of one, have each account closed by one of them, and claim once."""
    quiet = copy()
    expected = run_snapshot(quiet, datetime.now(UTC))
    for _ in range(ROUNDS):
        both = copy()
        done = _at_once([lambda: run_snapshot(both, datetime.now(UTC))] * 2)  # noqa: B023  # called in this round
        assert is_closed(both, world)
        assert dump(both) == dump(quiet)
        assert sum(did.accounts for did in done) == expected.accounts
        assert verify(both, datetime.now(UTC)).is_ok


def test_two_beats_and_two_workers_close_each_missed_day_once(
    world: MissedDays, copy: Copy, session_factory: Sessions, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """Beats that were away for three days and come back as two, with two workers, leave what one quiet run does."""
    quiet = copy()
    expected = run_snapshot(quiet, datetime.now(UTC))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")},
        "MILEPOST_DATABASE_URL": database_url,
        "MILEPOST_REDIS_URL": redis_url,
        "MILEPOST_DATA_DIR": str(tmp_path),
    }
    workers, beats = [tmp_path / "worker0", tmp_path / "worker1"], [tmp_path / "beat0", tmp_path / "beat1"]
    commands = {log: ["-m", "milepost", "worker", "--queues=jobs"] for log in workers}
    commands |= {log: ["-m", "tests.jobs.quick_beat"] for log in beats}
    with _processes(commands, environment):
        with session_factory.begin() as session:
            # Nobody can write a close yet, so that both workers are seen at it: one waits for the table, and the other
            # as well, or for a goal that both have to close.
            Sql("LOCK TABLE goal_snapshots IN SHARE MODE").run(session, {})
            Sql("SET LOCAL idle_in_transaction_session_timeout = 0").run(session, {})
            _eventually(lambda: _ask(session_factory, _WAITING) == 2, "both workers are at it")
        _eventually(lambda: is_closed(session_factory, world), "all is closed")
        sent = {log: _sent(log) for log in beats}
        _eventually(lambda: all(_sent(log) >= sent[log] + 3 for log in beats), "both beats go on")
    assert dump(session_factory) == dump(quiet)
    assert verify(session_factory, datetime.now(UTC)).is_ok
    did = [_closed_accounts(log) for log in workers]
    assert all(did)
    assert sum(did) == expected.accounts


_WAITING = Sql(
    """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'milepost worker' AND wait_event_type = 'Lock'"""
)


@contextmanager
def _processes(commands: dict[Path, list[str]], environment: dict[str, str]) -> Iterator[None]:
    """Commands that each write to the file that they are named by; ended in order at the end."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        for log, command in commands.items():
            with log.open("wb") as output:
                running.append(
                    spawn(
                        [sys.executable, *command],
                        death_signal=signal.SIGKILL,
                        cwd=ROOT,
                        output=output,
                        environment=environment,
                    )
                )
        yield
        for process in reversed(running):
            process.send_signal(signal.SIGTERM)
        assert [process.wait(PATIENCE_S) for process in running] == [0] * len(running)
    finally:
        for process in running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _ask(sessions: Sessions, question: Sql) -> object:
    """The answer in a transaction of its own: within one, Postgres shows the same activity again."""
    with sessions() as session:
        return question.value(session, {})


def _at_once(runs: Sequence[Callable[[], Snapshotted]]) -> list[Snapshotted]:
    """What runs on threads of their own, which start together, come to."""
    barrier, done = threading.Barrier(len(runs)), []

    def start(run: Callable[[], Snapshotted]) -> None:
        barrier.wait(PATIENCE_S)
        done.append(run())

    threads = [threading.Thread(target=start, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(done) == len(runs)
    return done


def _eventually(question: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not question():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)


def _sent(log: Path) -> int:
    """How many triggers a beat has sent."""
    return log.read_text("utf-8").count("Sending due task snapshot")


def _closed_accounts(log: Path) -> int:
    """How many of the tenant's accounts a worker has closed, from what it logs."""
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines() if line.startswith("{")]
    return sum(line["accounts"] for line in lines if line["event"] == "closed" and line["tenant"] == "away")


def _address(postgres: EmbeddedPostgres, database: str) -> str:
    return postgres.url.rpartition("/")[0].replace("postgresql+psycopg://", "postgresql://") + f"/{database}"
