"""The bench: its world is the product's own, its result is checked, and it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from psycopg.rows import dict_row
from rich.console import Console
from sqlalchemy import Engine

from benchmarks.check import WrongResult, check_result
from benchmarks.pipeline.output import workload_as_plain
from benchmarks.pipeline.run import Plan, run_plan
from benchmarks.seed import HAS_BEGUN, make_account, seed
from benchmarks.servers import ServerUrls
from benchmarks.workload import PAGE, SPAN, Workload, account_id, make_events, mark
from core.jobs.snapshot import run_snapshot
from core.store.database import Sessions
from core.store.driver import Session, Sql
from milepost.embedded.postgres import EmbeddedPostgres
from milepost.ops.latency import StepProgress

ROOT = Path(__file__).parents[2]
OF_ACCOUNT = ("accounts", "reports", "links")
OF_GOAL = ("goals", "milestones", "goal_entries")


def rows_of(session: Session, number: int) -> dict[str, list[dict[str, Any]]]:
    """All rows of one account and its goals; ids without the account's number, goals by their tracking.

    Ids of milestones are left out; each is there once.
    """
    key = {"account": account_id(number)}
    goals: dict[str, str] = dict(
        Sql("SELECT goal_id, tracking FROM goals JOIN links USING (tenant, goal_id) WHERE account_id = :account").rows(
            session, key
        )
    )
    named = session.cursor(row_factory=dict_row)
    found = {
        table: named.execute(f"SELECT * FROM {table} WHERE account_id = %(account)s", key).fetchall()
        for table in OF_ACCOUNT
    } | {
        table: named.execute(f"SELECT * FROM {table} WHERE goal_id = ANY(%s)", [list(goals)]).fetchall()
        for table in OF_GOAL
    }

    def plain(value: Any) -> Any:
        return goals.get(value, value.replace(mark(number), "n")) if isinstance(value, str) else value

    return {
        table: sorted(
            ({name: plain(value) for name, value in row.items() if name != "milestone_id"} for row in rows), key=repr
        )
        for table, rows in found.items()
    }


def test_multiplied_accounts_are_the_products_own(database_url: str, session_factory: Sessions, now: datetime) -> None:
    """An account of the seed has row for row what producers and callers would have made of it."""
    seed(database_url, 3, now)
    with session_factory.begin() as session:
        make_account(session, 3, now)
        made = rows_of(session, 3)
        assert {table: len(rows) for table, rows in made.items()} == {
            "accounts": 1,
            "reports": 1,
            "links": 2,
            "goals": 2,
            "milestones": 6,
            "goal_entries": 2,
        }
        assert [rows_of(session, number) for number in (0, 1, 2)] == [made] * 3
        assert Sql("SELECT count(DISTINCT goal_id) FROM goals").value(session, {}) == 8
        assert Sql("SELECT count(DISTINCT milestone_id) FROM milestones").value(session, {}) == 24
        begun: datetime = Sql("SELECT max(begin_at) FROM links").value(session, {})
        assert begun < now + HAS_BEGUN


def test_a_closed_world_has_nothing_to_close(database_url: str, session_factory: Sessions, now: datetime) -> None:
    """Where the days before are closed, a snapshot on the same day finds no account and no goal to look at."""
    seed(database_url, 3, now, is_closed=True)
    with session_factory() as session:
        assert Sql("SELECT closed_through FROM tenants").one(session, {}) == (now.date() - timedelta(days=1),)
        assert Sql("SELECT count(*) FROM accounts").value(session, {}) == 3
    done = run_snapshot(session_factory, now)
    assert (done.accounts, done.goals) == (0, 0)


def test_a_bench_applies_every_event_and_gives_its_figures(postgres: EmbeddedPostgres, redis_url: str) -> None:
    """A tiny bench ends with a checked result, with all figures above zero, and without its database."""
    plan = Plan(events=400, accounts=200, workers=2, batch_events=60, workloads=[Workload.PAGES])
    with StepProgress.on(Console(file=StringIO())) as progress:
        (stats,) = run_plan(plan, ServerUrls(postgres.url, redis_url), progress)
    plain = workload_as_plain(stats)
    assert plain["workload"] == "pages"
    assert [name for name, value in plain.items() if name != "workload" and not value] == []
    assert stats.pipeline_events_per_s > stats.end_to_end_events_per_s


def test_a_wrong_result_is_reported(
    engine: Engine, database_url: str, session_factory: Sessions, now: datetime
) -> None:
    """A worth, a goal or a transaction that is not what the events say ends a bench, and each is named."""
    seed(database_url, 2, now)
    check_result(engine, "scattered", {}, events=0, accounts=2)
    with session_factory.begin() as session:
        Sql("UPDATE goals SET amount_minor = 20000 WHERE tracking = 'change'").run(session, {})
    with pytest.raises(WrongResult, match="is wrong in 7 places") as caught:
        check_result(engine, "scattered", {account_id(1): 100}, events=1, accounts=2)
    faults = caught.value.faults
    assert faults[:2] == ["there are 0 transactions, not 1", "account-n0000001 is worth 0, not 100"]
    assert sum("has 20000, not" in fault for fault in faults) == 2
    assert sum("is past 15000, which is not marked as reached" in fault for fault in faults) == 2


def test_scattered_events_come_to_every_account_in_turn(now: datetime) -> None:
    """Each event is another account's: none has two before all have one."""
    events = make_events(Workload.SCATTERED, 250, 100, now)
    assert set(Counter(event.account for event in events[:100]).values()) == {1}
    assert set(Counter(event.account for event in events[100:200]).values()) == {1}
    assert all(now < event.posted_at <= now + SPAN for event in events)


def test_pages_hold_one_account_each(now: datetime) -> None:
    """Twenty transactions of one account come in a row, oldest first, and the last page may be short."""
    events = make_events(Workload.PAGES, 2 * PAGE + 3, 100, now)
    pages = [events[start : start + PAGE] for start in range(0, len(events), PAGE)]
    assert [len(page) for page in pages] == [PAGE, PAGE, 3]
    assert len({event.account for page in pages for event in page}) == 3
    for page in pages:
        moments = [event.posted_at for event in page]
        assert len({event.account for event in page}) == 1
        assert moments == sorted(moments)
        assert now <= moments[0]
        assert moments[-1] <= now + SPAN


def test_an_interrupted_bench_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C ends a bench's servers and removes its folder."""
    bench = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "--accounts", "200000", "--json"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = monotonic() + 30
    while not list(tmp_path.glob("milepost-bench-*/valkey/appendonlydir/*")) and monotonic() < deadline:
        sleep(0.02)
    servers = [int(path.read_text().split()[0]) for path in tmp_path.glob("*/postgres/data/postmaster.pid")]
    bench.send_signal(signal.SIGINT)
    output, _ = bench.communicate(timeout=30)
    assert (bench.returncode, output) == (130, b"")
    assert list(tmp_path.iterdir()) == []
    assert len(servers) == 1
    assert not Path(f"/proc/{servers[0]}").exists()
