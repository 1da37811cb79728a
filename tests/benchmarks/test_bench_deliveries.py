"""The benchmark of deliveries: everything arrives, beside endpoints that hang too, and each figure is measured."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from benchmarks.deliveries import as_table, measure
from benchmarks.servers import ServerUrls
from milepost.embedded.postgres import EmbeddedPostgres
from milepost.ops.latency import StepProgress


def test_all_figures_are_measured(postgres: EmbeddedPostgres, redis_url: str) -> None:
    """A small run, with a worker and a beat of its own; it raises if a message does not arrive."""
    servers = ServerUrls(postgres.url, redis_url)
    with StepProgress.on(Console(file=StringIO())) as progress:
        stats = measure(servers, progress, messages=200, each=3, rate=20, for_s=3, healthy=9, hanging=1)
    assert stats.ratio > 0
    assert 0 < stats.p50_ms <= stats.p99_ms
    assert min(stats.alone_s, stats.healthy_s) > 0
    assert stats.latencies == 60
    printed = StringIO()
    Console(file=printed, width=120).print(as_table(stats))
    assert "commit to receiver, 20 a second" in printed.getvalue()
