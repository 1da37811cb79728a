"""`milepost bench`: how fast events are applied, on servers of its own."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from core.settings import load_settings
from milepost.bench.place import bench_servers
from milepost.bench.run import Figures, Plan, run_plan
from milepost.bench.watch import Watch
from milepost.bench.workload import Workload
from milepost.cli.connection import JsonOption
from milepost.cli.output import print_json
from milepost.embedded.interrupts import StopAsked, stop_requests

_INTERRUPTED = 130
_DERIVED = (
    "pipeline_events_per_s",
    "end_to_end_events_per_s",
    "copy_events_per_s",
    "bare_writes_events_per_s",
    "pipeline_to_copy",
    "pipeline_to_bare_writes",
)


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
    as_json: JsonOption = False,
) -> None:
    """Measure how fast events are applied, beside bare writes of the same rows; exit status 1 if the result is wrong.

    Starts a durable Postgres and Valkey of its own in the temporary folder (TMPDIR) and removes them afterwards.
    """
    plan = Plan(events, accounts, workers, load_settings().batch_events, workload.workloads)
    try:
        with stop_requests(), Watch.on(Console(stderr=True)) as watch, bench_servers() as place:
            figures = list(run_plan(plan, place, watch))
    except StopAsked:
        raise typer.Exit(_INTERRUPTED) from None
    if as_json:
        print_json([as_plain(each) for each in figures])
    else:
        Console(highlight=False).print(_table(figures))


def as_plain(figures: Figures) -> dict[str, object]:
    """Every figure by name, rates and ratios included."""
    plain = asdict(figures) | {name: getattr(figures, name) for name in _DERIVED}
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in plain.items()}


def _table(figures: list[Figures]) -> Table:
    table = Table("", *(each.workload for each in figures), box=None, header_style="bold", pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name in as_plain(figures[0]):
        if name != "workload":
            table.add_row(name.replace("_", " "), *(f"{as_plain(each)[name]:,}" for each in figures))
    return table
