"""The results of `python -m benchmarks` as JSON and as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from rich.table import Table

from benchmarks.pipeline.comparison import Comparison
from benchmarks.pipeline.neighbours import NeighbourStats
from benchmarks.pipeline.rest import RestMemory, RestStats
from benchmarks.pipeline.run import WorkloadStats
from benchmarks.pipeline.scale import ScaleStats
from benchmarks.pipeline.soak import SoakStats
from benchmarks.pipeline.under_load import LoadedLatency

_DERIVED = (
    "pipeline_events_per_s",
    "end_to_end_events_per_s",
    "copy_events_per_s",
    "bare_writes_events_per_s",
    "pipeline_to_copy",
    "pipeline_to_bare_writes",
)
_MB = 2**20


@dataclass(frozen=True, slots=True)
class Report:
    """The results of one run: each workload, the comparison with the scattered one, and --scale and --soak if asked."""

    workloads: Sequence[WorkloadStats]
    comparison: Comparison | None
    scale: Sequence[ScaleStats]
    soak: SoakStats | None


def as_plain(report: Report) -> list[dict[str, object]]:
    """An object for each workload; the comparison is in the first, which is the scattered one."""
    first, *others = [workload_as_plain(each) for each in report.workloads] or [{}]
    return [first | _comparison_as_plain(report) | _scale_as_plain(report) | _soak_as_plain(report), *others]


def workload_as_plain(stats: WorkloadStats) -> dict[str, object]:
    """All results of a workload by name, rates and ratios included."""
    plain = asdict(stats) | {name: getattr(stats, name) for name in _DERIVED}
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in plain.items()}


def _comparison_as_plain(report: Report) -> dict[str, object]:
    comparison = report.comparison
    if comparison is None:
        return {}
    plain: dict[str, object] = {
        "usual_way_events": comparison.usual_way.events,
        "usual_way_events_per_s": comparison.usual_way.events_per_s,
        "pipeline_to_usual_way": _to_usual_way(report),
    }
    plain |= {"latency": asdict(comparison.latency), "rest": [asdict(each) for each in comparison.rest]}
    plain["neighbours"] = asdict(comparison.neighbours)
    if comparison.rest_memory is not None:
        plain["rest_memory"] = asdict(comparison.rest_memory)
    return plain


def _to_usual_way(report: Report) -> float:
    """How many times faster than the usual way the pipeline applies the scattered workload."""
    assert report.comparison is not None, "the caller has checked"
    return round(report.workloads[0].pipeline_events_per_s / report.comparison.usual_way.events_per_s, 1)


def _scale_as_plain(report: Report) -> dict[str, object]:
    if not report.scale:
        return {}
    sizes = [asdict(each) | {"pipeline_events_per_s": each.pipeline_events_per_s} for each in report.scale]
    return {"scale": sizes, "scale_last_to_previous": _last_to_previous(report.scale)}


def _last_to_previous(scale: Sequence[ScaleStats]) -> float:
    """The rate with the most accounts, as a share of the rate with the next smaller number."""
    *_, previous, last = scale
    return round(last.pipeline_events_per_s / previous.pipeline_events_per_s, 3)


def _soak_as_plain(report: Report) -> dict[str, object]:
    soak = report.soak
    if soak is None:
        return {}
    return {"soak": asdict(soak) | {"growth_after_first_tenth": soak.growth, "is_flat": soak.is_flat}}


def tables(report: Report) -> Iterator[Table]:
    """Yield a table for each measurement."""
    if report.workloads:
        yield _workloads(report.workloads)
    if report.comparison is not None:
        yield _usual_way(report, report.comparison)
        yield _latency(report.comparison.latency)
        yield _rest(report.comparison.rest)
        yield _neighbours(report.comparison.neighbours)
        if report.comparison.rest_memory is not None:
            yield _rest_memory(report.comparison.rest_memory)
    if report.scale:
        yield _scale(report.scale)
    if report.soak is not None:
        yield _soak(report.soak)


def _workloads(stats: Sequence[WorkloadStats]) -> Table:
    plain = [workload_as_plain(each) for each in stats]
    shown = _table("", *(each.workload for each in stats))
    for name in plain[0]:
        if name != "workload":
            label = name.replace("_", " ").replace("bare writes", "baseline writes")
            shown.add_row(label, *(f"{each[name]:,}" for each in plain))
    return shown


def _usual_way(report: Report, comparison: Comparison) -> Table:
    shown = _table("the scattered work", "events", "events/s", "the pipeline is faster by")
    usual_way = comparison.usual_way
    rates = f"{usual_way.events:,}", f"{usual_way.events_per_s:,}", f"{_to_usual_way(report):,}"
    shown.add_row(f"the usual way, {usual_way.processes} processes", *rates)
    return shown


def _latency(latency: LoadedLatency) -> Table:
    shown = _table("XADD to REST", "events/s", "probes", "median", "99% within", "max")
    milliseconds = (f"{each:,} ms" for each in (latency.p50_ms, latency.p99_ms, latency.max_ms))
    shown.add_row("at a tenth of full load", f"{latency.events_per_s:,}", f"{latency.probes:,}", *milliseconds)
    return shown


def _rest(stats: Sequence[RestStats]) -> Table:
    columns = "requests/s", "compared", "median", "99% within", "server", "core of the sender"
    shown = _table(f"REST, {stats[0].connections} connections", *columns)
    for each in stats:
        compared = "" if each.compared is None else f"{each.compared:.2f}"
        times = f"{each.p50_ms:,} ms", f"{each.p99_ms:,} ms", f"{each.server_us:,.0f} us"
        shown.add_row(each.endpoint, f"{each.requests_per_s:,}", compared, *times, f"{each.generator_core_share:.0%}")
    return shown


def _neighbours(stats: NeighbourStats) -> Table:
    shown = _table("a tenant's reads, 99% within", "alone", "beside sixty stuck changes of another tenant")
    shown.add_row("GET /goals/{id}, 50 a second", f"{stats.alone_p99_ms:,} ms", f"{stats.beside_stuck_p99_ms:,} ms")
    return shown


def _rest_memory(memory: RestMemory) -> Table:
    shown = _table("memory of the API after mixed requests", "a tenth", "all")
    sizes = (f"{size / _MB:,.1f} MB" for size in (memory.tenth_rss_bytes, memory.rss_bytes))
    shown.add_row(f"{memory.requests:,}", *sizes)
    return shown


def _scale(stats: Sequence[ScaleStats]) -> Table:
    shown = _table("scattered, accounts", "events", "events/s", "database before")
    for each in stats:
        size = f"{each.database_bytes // _MB:,} MB"
        shown.add_row(f"{each.accounts:,}", f"{each.events:,}", f"{each.pipeline_events_per_s:,}", size)
    shown.add_row("the last to the one before", "", f"{_last_to_previous(stats):,}", "")
    return shown


def _soak(soak: SoakStats) -> Table:
    shown = _table(f"soak, {soak.workload}: events", "seconds", "largest drain", "stream server", "database")
    for point in soak.points:
        sizes = (point.drain_rss_bytes, point.stream_bytes, point.database_bytes)
        shown.add_row(f"{point.events:,}", f"{point.seconds:,}", *(f"{size / _MB:,.0f} MB" for size in sizes))
    verdict = "flat" if soak.is_flat else "not flat"
    shown.add_row(f"growth after the first tenth: {verdict}", "", f"{soak.growth:.1%}", "", "")
    return shown


def _table(first: str, *columns: str) -> Table:
    """A table with a column of labels and columns of numbers."""
    shown = Table(first, *columns, box=None, header_style="bold", pad_edge=False)
    shown.columns[0].no_wrap = True
    for column in shown.columns[1:]:
        column.justify = "right"
    return shown
