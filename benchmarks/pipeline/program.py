"""The command of `make bench`: how fast events are applied, on servers of its own."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.command import measuring, run
from benchmarks.pipeline.comparison import Comparison, ComparisonPlan, run_comparison
from benchmarks.pipeline.output import Report, as_plain, tables
from benchmarks.pipeline.rest import RestPlan
from benchmarks.pipeline.run import Plan, WorkloadStats, run_plan
from benchmarks.pipeline.scale import SIZES, run_scale
from benchmarks.pipeline.soak import require_disk, run_soak
from benchmarks.servers import ServerUrls
from benchmarks.workload import Workload
from core.errors import MilepostError
from core.settings import load_settings
from milepost.cli.connection import JsonOption
from milepost.cli.output import print_json
from milepost.ops.latency import StepProgress

# The usual way is slow, and its rate does not depend on the number of events.
_USUAL_EVENTS = 5_000
_PROBE_SECONDS, _WARM_UP_SECONDS = 40.0, 3.0
_REST = RestPlan(connections=50, seconds=8.0, warm_up_seconds=1.0)


class NothingToMeasure(MilepostError):
    """The options leave nothing to measure."""

    def __init__(self) -> None:
        super().__init__("--workload none leaves nothing to measure: add --scale, --soak or both")


class Choice(StrEnum):
    """Which workloads to run."""

    SCATTERED = "scattered"
    PAGES = "pages"
    BOTH = "both"
    NONE = "none"

    @property
    def workloads(self) -> list[Workload]:
        """The workloads in the order in which they run."""
        return [each for each in Workload if self in (Choice.BOTH, each.value)]


def bench(
    events: Annotated[int, typer.Option(help="Transactions to apply.", min=1)] = 200_000,
    accounts: Annotated[int, typer.Option(help="Accounts, each funding two goals.", min=1, max=9_999_999)] = 100_000,
    workers: Annotated[int, typer.Option(help="Drain processes, a shard each.", min=1, max=64)] = 2,
    workload: Annotated[
        Choice,
        typer.Option(
            help="scattered: each event another account; pages: 20 of one account in a row; "
            "none: only --scale and --soak."
        ),
    ] = Choice.BOTH,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the comparison of the scattered workload.")] = False,
    scale: Annotated[
        bool, typer.Option("--scale", help="Also the scattered rate at 10,000, 100,000 and 1,000,000 accounts.")
    ] = False,
    soak: Annotated[
        int | None,
        typer.Option(help="Also record the memory of the drains over so many events, as 10000000.", min=1_000),
    ] = None,
    requests: Annotated[
        int | None,
        typer.Option(help="Also record the memory of the API over so many mixed requests, as 1000000.", min=1_000),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how fast events are applied, compared with baseline writes of the same rows.

    With the scattered workload also: one task for each event, latency at a tenth of the rate, and requests over REST.
    Starts a durable Postgres and Valkey of its own in the temporary folder (TMPDIR) and removes them afterwards.
    Exit status 1 if a result does not fit the events, or if the memory of a soak grew by more than a tenth.
    """
    from worker.app import log_as_json

    # Logs go to standard output by default, and would be printed between the results.
    log_as_json("WARNING")
    plan = Plan(events, accounts, workers, load_settings().batch_events, workload.workloads)
    if not (plan.workloads or scale or soak):
        raise NothingToMeasure
    if soak is not None:
        require_disk(soak)
    with measuring() as (servers, progress):
        report = _run(plan, servers, progress, is_quick=quick, is_scaled=scale, soaked=soak, requests=requests)
    if as_json:
        print_json(as_plain(report))
    else:
        console = Console(highlight=False)
        for table in tables(report):
            console.print(table, "")
    if report.soak is not None and not report.soak.is_flat:
        raise typer.Exit(1)


def _run(
    plan: Plan,
    servers: ServerUrls,
    progress: StepProgress,
    *,
    is_quick: bool,
    is_scaled: bool,
    soaked: int | None,
    requests: int | None,
) -> Report:
    stats = list(run_plan(plan, servers, progress)) if plan.workloads else []
    comparison = None if is_quick else _compare(plan, stats, requests, servers, progress)
    scale = list(run_scale(plan, SIZES, servers, progress)) if is_scaled else []
    soak = None if soaked is None else run_soak(replace(plan, events=soaked), _soaked(plan), servers, progress)
    return Report(stats, comparison, scale, soak)


def _compare(
    plan: Plan, stats: list[WorkloadStats], requests: int | None, servers: ServerUrls, progress: StepProgress
) -> Comparison | None:
    scattered = [each for each in stats if each.workload == Workload.SCATTERED]
    if not scattered:
        return None
    comparison = ComparisonPlan(min(plan.events, _USUAL_EVENTS), _PROBE_SECONDS, _WARM_UP_SECONDS, _REST, requests)
    return run_comparison(plan, comparison, scattered[0].pipeline_events_per_s, servers, progress)


def _soaked(plan: Plan) -> Workload:
    """The workload of the soak: the only one of the plan, else the one that touches more accounts."""
    return plan.workloads[0] if len(plan.workloads) == 1 else Workload.SCATTERED


def main() -> None:
    """Run the command line."""
    run(bench)
