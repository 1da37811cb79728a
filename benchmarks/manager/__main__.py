"""`python -m benchmarks.manager`: how fast the Python interface is. `make bench-manager` runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.command import measuring, run
from benchmarks.manager.modes import ManagerPlan, ModeStats, run_modes
from benchmarks.servers import database
from milepost.cli.connection import JsonOption
from milepost.cli.output import print_json


def bench_manager(
    rounds: Annotated[int, typer.Option(help="Amounts set and checked, in each mode.", min=100)] = 4_000,
    callers: Annotated[
        int, typer.Option(help="Callers at the same time, in the modes with several.", min=2, max=100)
    ] = 20,
    as_json: JsonOption = False,
) -> None:
    """Measure how often a second an amount is set and the milestones are checked, compared with a plain dictionary.

    Starts a durable Postgres and Valkey of its own in the temporary folder (TMPDIR) and removes them afterwards.
    Exit status 1 if a goal is not what was set.
    """
    plan = ManagerPlan(rounds, callers)
    with measuring() as (servers, progress), database(servers.postgres_url, "bench_manager") as url:
        stats = list(run_modes(plan, url, servers.redis_url, progress))
    if as_json:
        print_json([as_plain(each) for each in stats])
    else:
        Console(highlight=False).print(as_table(stats))


def as_plain(stats: ModeStats) -> dict[str, object]:
    """All results of one mode by name."""
    plain = {"way" if name == "mode" else name: value for name, value in asdict(stats).items()}
    return plain | {"rounds_per_s": round(stats.rounds_per_s, 1)}


def as_table(stats: Sequence[ModeStats]) -> Table:
    """The printed table."""
    table = Table("update + check", "at once", "a second", "median", "99% within", box=None, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for each in stats:
        milliseconds = f"{each.p50_ms:,.3f} ms", f"{each.p99_ms:,.3f} ms"
        table.add_row(each.mode, str(each.callers), f"{each.rounds_per_s:,.0f}", *milliseconds)
    return table


if __name__ == "__main__":
    run(bench_manager)
