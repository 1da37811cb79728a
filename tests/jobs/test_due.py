"""The job due: what has become due counts within a minute, whoever runs it and however often."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
import redis
from celery import Celery

from core.jobs import due as module
from core.jobs.due import DueCounted, run_due
from core.jobs.job import DRAIN_QUEUE
from core.settings import load_settings
from core.store.database import Sessions
from core.store.driver import Sql
from schedules.table import JOB_ROWS
from tests.acts import amount, event, goal, link
from tests.conftest import Apply, Run
from worker.app import make_worker_app

DAY = timedelta(days=1)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
DUE = datetime(2026, 3, 12, tzinfo=UTC)


def ahead(account: str, name: str = "t", posted_at: str = "2026-03-12") -> bytes:
    """A transaction of 5.00 that is dated ahead."""
    data = {"account_id": account, "transaction_id": name, "amount": "5.00", "currency": "USD", "posted_at": posted_at}
    return event("transaction.recorded", NOON, f"{account} {name}", data)


def test_it_runs_every_minute() -> None:
    """So that what is due counts within a minute, without anybody's doing."""
    (row,) = [row for row in JOB_ROWS if row.name == "due"]
    assert row.when == 60.0


def test_the_worker_counts_by_the_clock_of_the_database(
    apply: Apply, session_factory: Sessions, database_url: str, redis_url: str
) -> None:
    """Its task lets count what is due now, in reality, and nothing else."""
    in_ten_years = datetime.now(UTC).replace(year=datetime.now(UTC).year + 10, day=1)
    apply([ahead("a"), ahead("b")])
    with session_factory.begin() as session:
        Sql("UPDATE transactions SET due_at = :later WHERE account_id = 'b'").run(session, {"later": in_ten_years})
    app: Celery = make_worker_app(load_settings(database_url=database_url, redis_url=redis_url))
    assert app.tasks["milepost.due"].apply(throw=True).get(disable_sync_subtasks=False) == 1
    with session_factory() as session:
        worths = Sql("SELECT account_id, worth_minor FROM accounts ORDER BY 1").rows(session, {})
    assert worths == [("a", 500), ("b", 0)]


def test_a_person_can_run_it(apply: Apply, run: Run) -> None:
    """`milepost run due` says how many facts count from now on."""
    apply([ahead("a"), ahead("b"), ahead("b", "u")])
    status, out, errors = run("run", "due", "--json")
    assert (status, errors) == (0, "")
    assert '"facts": 3' in out


def test_two_at_once_count_once(apply: Apply, session_factory: Sessions) -> None:
    """Each account's lock is taken first, and what was counted meanwhile waits no more."""
    goal_id = goal(session_factory, NOON - DAY)
    for number in range(20):
        link(session_factory, NOON - DAY, goal_id, f"a{number}", "5")
        apply([ahead(f"a{number}", name) for name in ("t", "u", "v")])
    counted: list[DueCounted] = []
    runs = [threading.Thread(target=lambda: counted.append(run_due(session_factory, DUE))) for _ in range(4)]
    for each in runs:
        each.start()
    for each in runs:
        each.join()
    assert sum(each.facts for each in counted) == 60
    assert amount(session_factory, goal_id) == 20 * 75
    with session_factory() as session:
        assert Sql("SELECT count(*) FROM transactions WHERE due_at IS NOT NULL").value(session, {}) == 0


def test_a_run_stops_after_its_time_slice_and_goes_on_in_the_queue(
    apply: Apply, database_url: str, redis_url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drains share its queue, so what is left after some accounts waits behind them; nothing counts twice."""
    apply([ahead(f"a{number:02}") for number in range(25)])
    monkeypatch.setattr(module, "ACCOUNTS_AT_ONCE", 10)
    monkeypatch.setattr(module, "run_due", lambda sessions, now: run_due(sessions, now, time_slice_s=0.0))
    app: Celery = make_worker_app(load_settings(database_url=database_url, redis_url=redis_url))
    counts, sent = [], []
    for _ in range(4):
        counts.append(app.tasks["milepost.due"].apply(throw=True).get(disable_sync_subtasks=False))
        sent.append(redis_client.llen(f"milepost:celery:{DRAIN_QUEUE}"))
    assert (counts, sent) == ([10, 10, 5, 0], [1, 2, 2, 2])
