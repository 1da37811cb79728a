"""`milepost bench`: how fast events are applied, on servers of its own."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from core.settings import load_settings
from milepost.bench.beside import Beside, BesidePlan, run_beside
from milepost.bench.place import Place, bench_servers
from milepost.bench.rest import RestPlan
from milepost.bench.run import Figures, Plan, run_plan
from milepost.bench.watch import Watch
from milepost.bench.workload import Workload
from milepost.cli.bench_output import as_plain, beside_as_plain, beside_tables, table
from milepost.cli.connection import JsonOption
from milepost.cli.output import print_json
from milepost.embedded.interrupts import StopAsked, stop_requests

_INTERRUPTED = 130
# The usual way is slow, and its rate does not change with the number.
_USUAL_EVENTS = 5_000
_PROBE_SECONDS, _WARM_UP_SECONDS = 40.0, 3.0
_REST = RestPlan(connections=50, seconds=8.0, warm_up_seconds=1.0)


class Choice(StrEnum):
    """Which workloads to run."""

    SCATTERED = "scattered"
    PAGES = "pages"
    BOTH = "both"

    @property
    def workloads(self) -> list[Workload]:
        """The workloads in the order in which they run."""
        return list(Workload) if self is Choice.BOTH else [Workload(self.value)]


def bench(
    events: Annotated[int, typer.Option(help="Transactions to apply.", min=1)] = 200_000,
    accounts: Annotated[int, typer.Option(help="Accounts, each funding two goals.", min=1, max=9_999_999)] = 100_000,
    workers: Annotated[int, typer.Option(help="Drain processes, a shard each.", min=1, max=64)] = 2,
    workload: Annotated[
        Choice, typer.Option(help="scattered: each event another account; pages: 20 of one account in a row.")
    ] = Choice.BOTH,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out what is measured beside the scattered workload.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure how fast events are applied, beside bare writes of the same rows; exit status 1 if a result is wrong.

    Beside the scattered workload also: the same by one task an event, latency at a tenth of the rate, requests over
    REST. Starts a durable Postgres and Valkey of its own in the temporary folder (TMPDIR) and removes them afterwards.
    """
    plan = Plan(events, accounts, workers, load_settings().batch_events, workload.workloads)
    try:
        with stop_requests(), Watch.on(Console(stderr=True)) as watch, bench_servers() as place:
            figures = list(run_plan(plan, place, watch))
            beside = None if quick else _beside(plan, figures[0], place, watch)
    except StopAsked:
        raise typer.Exit(_INTERRUPTED) from None
    if as_json:
        print_json([as_plain(figures[0]) | beside_as_plain(figures[0], beside), *map(as_plain, figures[1:])])
        return
    console = Console(highlight=False)
    console.print(table(figures))
    for other in beside_tables(figures[0], beside):
        console.print("", other)


def _beside(plan: Plan, figures: Figures, place: Place, watch: Watch) -> Beside | None:
    if figures.workload != Workload.SCATTERED:
        return None
    beside = BesidePlan(min(plan.events, _USUAL_EVENTS), _PROBE_SECONDS, _WARM_UP_SECONDS, _REST)
    return run_beside(plan, beside, figures.pipeline_events_per_s, place, watch)
