"""The benchmark of the Python interface: every mode is measured, and its goals are what was set."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from benchmarks.check import WrongResult
from benchmarks.manager.__main__ import as_plain, as_table
from benchmarks.manager.modes import ManagerPlan, ModeStats, _require, run_modes
from benchmarks.servers import database
from milepost.embedded.postgres import EmbeddedPostgres
from milepost.ops.latency import StepProgress

PLAN = ManagerPlan(rounds=32, callers=2)


@pytest.fixture
def measured(postgres: EmbeddedPostgres, redis_url: str) -> list[ModeStats]:
    """A small run on a database of its own."""
    with database(postgres.url, "bench_manager") as url, StepProgress.on(Console(file=StringIO())) as progress:
        return list(run_modes(PLAN, url, redis_url, progress))


def test_every_mode_is_measured(measured: list[ModeStats]) -> None:
    """A dictionary, both kinds of manager and a client: each did all its rounds, and has its figures."""
    modes = [(stats.mode, stats.callers) for stats in measured]
    assert modes == [
        ("dictionary", 1),
        ("milepost.sync manager", 1),
        ("milepost manager", 1),
        ("milepost manager", 2),
        ("Client over REST", 1),
        ("Client over REST", 2),
    ]
    for stats in measured:
        assert stats.rounds == 32
        assert 0 < stats.p50_ms <= stats.p99_ms
        assert as_plain(stats)["rounds_per_s"] == round(stats.rounds / stats.seconds, 1)
    assert measured[0].rounds_per_s > measured[1].rounds_per_s
    output = StringIO()
    Console(file=output, width=120).print(as_table(measured))
    assert output.getvalue().count("Client over REST") == 2


@pytest.mark.parametrize(("amount", "checked"), [(31, 3), (32, 2), (32, 4)])
def test_a_wrong_result_is_reported(amount: int, checked: int) -> None:
    """An amount that is not the last one set, or a milestone lost or found twice, ends the run."""
    with pytest.raises(WrongResult, match="a goal has"):
        _require(amount, checked, 32)
    _require(32, 3, 32)
