"""How the figures of `milepost bench` are shown: as JSON, and as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from rich.table import Table

from milepost.bench.beside import Beside
from milepost.bench.rest import RestFigures
from milepost.bench.run import Figures
from milepost.bench.under_load import LoadedLatency

_DERIVED = (
    "pipeline_events_per_s",
    "end_to_end_events_per_s",
    "copy_events_per_s",
    "bare_writes_events_per_s",
    "pipeline_to_copy",
    "pipeline_to_bare_writes",
)


def as_plain(figures: Figures) -> dict[str, object]:
    """Every figure of a workload by name, rates and ratios included."""
    plain = asdict(figures) | {name: getattr(figures, name) for name in _DERIVED}
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in plain.items()}


def beside_as_plain(figures: Figures, beside: Beside | None) -> dict[str, object]:
    """What was measured beside a workload, by name; nothing where nothing was."""
    if beside is None:
        return {}
    usual_way = {}
    if beside.usual_way is not None:
        usual_way = {
            "usual_way_events": beside.usual_way.events,
            "usual_way_events_per_s": beside.usual_way.events_per_s,
            "pipeline_to_usual_way": round(figures.pipeline_events_per_s / beside.usual_way.events_per_s, 1),
        }
    return usual_way | {"latency": asdict(beside.latency), "rest": [asdict(each) for each in beside.rest]}


def table(figures: Sequence[Figures]) -> Table:
    """The workloads side by side."""
    plain = [as_plain(each) for each in figures]
    shown = _table("", *(each.workload for each in figures))
    for name in plain[0]:
        if name != "workload":
            shown.add_row(name.replace("_", " "), *(f"{each[name]:,}" for each in plain))
    return shown


def beside_tables(figures: Figures, beside: Beside | None) -> Iterator[Table]:
    """A table for each thing that was measured beside a workload."""
    if beside is not None:
        yield _usual_way(figures, beside)
        yield _latency(beside.latency)
        yield _rest(beside.rest)


def _usual_way(figures: Figures, beside: Beside) -> Table:
    shown = _table("the scattered work", "events", "events/s", "the pipeline to it")
    plain = beside_as_plain(figures, beside)
    if beside.usual_way is None:
        shown.add_row("the usual way: not measured, since benchmarks/ is not installed", "", "", "")
    else:
        name = f"the usual way: a Celery task an event, {beside.usual_way.processes} processes"
        rate, ratio = f"{beside.usual_way.events_per_s:,}", f"{plain['pipeline_to_usual_way']:,}"
        shown.add_row(name, f"{beside.usual_way.events:,}", rate, ratio)
    return shown


def _latency(latency: LoadedLatency) -> Table:
    shown = _table("XADD to REST", "events/s", "probes", "median", "99% within", "max")
    milliseconds = (f"{each:,} ms" for each in (latency.p50_ms, latency.p99_ms, latency.max_ms))
    shown.add_row("at a tenth of the rate above", f"{latency.events_per_s:,}", f"{latency.probes:,}", *milliseconds)
    return shown


def _rest(figures: Sequence[RestFigures]) -> Table:
    shown = _table(
        f"REST, {figures[0].connections} connections", "requests/s", "median", "99% within", "the asking's core"
    )
    for each in figures:
        milliseconds = f"{each.p50_ms:,} ms", f"{each.p99_ms:,} ms"
        shown.add_row(each.endpoint, f"{each.requests_per_s:,}", *milliseconds, f"{each.generator_core_share:.0%}")
    return shown


def _table(first: str, *columns: str) -> Table:
    """A table whose columns but the first hold figures."""
    shown = Table(first, *columns, box=None, header_style="bold", pad_edge=False)
    for column in shown.columns[1:]:
        column.justify = "right"
    return shown
