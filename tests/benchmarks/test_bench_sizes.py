"""The bench at several sizes, and over many events: every size is checked, and growing memory is reported."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.memory import rss_bytes_of
from benchmarks.pipeline.run import Plan
from benchmarks.pipeline.scale import run_scale
from benchmarks.pipeline.soak import INTERVALS, DiskTooSmall, SoakPoint, SoakStats, require_disk
from benchmarks.servers import ServerUrls
from milepost.embedded.postgres import EmbeddedPostgres
from milepost.ops.latency import StepProgress

ROOT = Path(__file__).parents[2]


@pytest.fixture
def servers(postgres: EmbeddedPostgres, redis_url: str) -> ServerUrls:
    return ServerUrls(postgres.url, redis_url)


def test_each_size_is_measured_in_a_world_of_its_own(servers: ServerUrls) -> None:
    """The same events go into fewer and more accounts; the database is larger where there are more."""
    plan = Plan(events=100, accounts=1, workers=1, batch_events=50, workloads=[])
    with StepProgress.on(Console(file=StringIO())) as progress:
        small, large = run_scale(plan, [20, 2_000], servers, progress)
    assert [(each.accounts, each.events) for each in (small, large)] == [(20, 100), (2_000, 100)]
    assert 0 < small.database_bytes < large.database_bytes
    assert small.pipeline_events_per_s > 0
    assert large.pipeline_events_per_s > 0


def soaked(*sizes: int) -> SoakStats:
    return SoakStats("scattered", [SoakPoint(n, float(n), size, 1, 1) for n, size in enumerate(sizes)])


def test_memory_may_grow_in_the_first_tenth_alone() -> None:
    """What grows by more than a tenth after the first tenth of the events is not flat."""
    warming = soaked(50, 100, *[105] * 17, 110)
    assert (warming.growth, warming.is_flat) == (0.1, True)
    leaking = soaked(100, 100, *range(100, 117), 111)
    assert (leaking.growth, leaking.is_flat) == (0.16, False)
    assert soaked(100, 120, *[90] * 18).growth == -0.25


def test_a_soak_that_the_disk_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten million events are refused on a small disk, with how much they need, before anything starts."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage(10 * 2**30, 0, 10 * 2**30))
    require_disk(1_000)
    with pytest.raises(DiskTooSmall, match=r"need some 18 GB in .*, which has 10 GB: soak with fewer"):
        require_disk(10_000_000)


def test_memory_is_read_of_processes_that_run() -> None:
    """A process has memory while it runs, and none afterwards."""
    command = [sys.executable, "-c", "print('up', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        assert (rss_bytes_of(child.pid) or 0) > 2**20
        child.communicate(b"\n")
    assert rss_bytes_of(child.pid) is None


def bench(*options: str, folder: Path) -> list[dict[str, Any]]:
    """What the command prints as JSON; its temporary folder is empty afterwards."""
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks", *options, "--accounts", "100", "--workers", "1", "--json"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(folder)},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert list(folder.iterdir()) == []
    printed: list[dict[str, Any]] = json.loads(found.stdout)
    # So short a soak may be over before the drains have warmed up, and then the command must say so.
    assert found.returncode == any("soak" in each and not each["soak"]["is_flat"] for each in printed)
    return printed


def test_the_command_prints_an_object_for_each_workload(tmp_path: Path) -> None:
    """`python -m benchmarks --json` has both baselines in each workload, and leaves nothing behind."""
    scattered, pages = bench("--events", "400", "--quick", folder=tmp_path)
    assert (scattered["workload"], pages["workload"]) == ("scattered", "pages")
    for each in (scattered, pages):
        rates = [each[f"{name}_events_per_s"] for name in ("pipeline", "copy", "bare_writes")]
        assert all(rate > 0 for rate in rates)
        assert (each["events"], each["accounts"], each["workers"]) == (400, 100, 1)


def test_a_soak_watches_the_drains_over_all_events(tmp_path: Path) -> None:
    """Twenty points in order, the last with all events applied, each with the memory of a drain that runs."""
    (only,) = bench("--workload", "none", "--soak", "3000", folder=tmp_path)
    points = only["soak"]["points"]
    assert len(points) == INTERVALS
    applied = [point["events"] for point in points]
    assert applied == sorted(applied)
    assert applied[-1] >= 3_000
    assert all(point["drain_rss_bytes"] > 20 * 2**20 for point in points)
    assert all(point["database_bytes"] > 0 and point["stream_bytes"] > 0 for point in points)


def test_a_bench_of_nothing_is_refused() -> None:
    """Without any workload, size or soak the command says what to add, and starts nothing."""
    command = [sys.executable, "-m", "benchmarks", "--workload", "none"]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1
    assert "leaves nothing to measure: add --scale, --soak or both" in refused.stderr
