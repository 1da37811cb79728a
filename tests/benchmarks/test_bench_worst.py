"""The worst cases: each is run and compared, and what it leaves is what the facts give."""

from __future__ import annotations

from datetime import datetime, timedelta

from rich.console import Console

from benchmarks.seed import seed
from benchmarks.worst import Bench, as_plain, as_table
from core.jobs.verify import run_verify
from core.store.database import Sessions
from core.store.driver import Sql
from milepost.ops.latency import StepProgress


def test_each_case_is_measured_beside_one_with_little_history(
    database_url: str, session_factory: Sessions, now: datetime
) -> None:
    """All events are applied, the repeated page changes nothing, and the amounts are right."""
    began = now - timedelta(days=3)
    seed(database_url, 22, began - timedelta(days=1))
    with StepProgress.on(Console(quiet=True)) as progress:
        costs = list(Bench(session_factory, progress, 22, began, 500).measure(30, 100, 2))
    assert [cost.events for cost in costs] == [3, 2_000, 18, 20, 120, 120]
    assert all(plain["ratio"] for plain in map(as_plain, costs))
    assert as_table(costs).row_count == 6
    assert run_verify(session_factory, now).rows == ()
    with session_factory() as session:
        counts = Sql("SELECT count(*), count(*) FILTER (WHERE counts) FROM transactions").one(session, {})
        reports = Sql("SELECT count(*) FROM reports").value(session, {})
    assert counts == (30 + 2_000 + 18 * 20 + 110 + 40 + 4 * 2 * 50,) * 2
    assert reports == 22 + 20 + 4 * 2 * 10
