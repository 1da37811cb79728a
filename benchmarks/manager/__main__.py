"""`python -m benchmarks.manager`: how fast the Python interface is. `make bench-manager` runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.command import measuring, run
from benchmarks.manager.modes import FaceFigures, FacePlan, run_faces
from benchmarks.servers import database
from milepost.cli.connection import JsonOption
from milepost.cli.output import print_json


def bench_manager(
    rounds: Annotated[int, typer.Option(help="Amounts typed and checked, a way.", min=100)] = 4_000,
    callers: Annotated[int, typer.Option(help="How many call at once, where several do.", min=2, max=100)] = 20,
    as_json: JsonOption = False,
) -> None:
    """Measure how often a second an amount is typed and the milestones are checked, beside a plain dictionary.

    Starts a durable Postgres and Valkey of its own in the temporary folder (TMPDIR) and removes them afterwards.
    Exit status 1 if a goal is not what was typed.
    """
    plan = FacePlan(rounds, callers)
    with measuring() as (place, watch), database(place.postgres_url, "bench_manager") as url:
        figures = list(run_faces(plan, url, place.redis_url, watch))
    if as_json:
        print_json([as_plain(each) for each in figures])
    else:
        Console(highlight=False).print(as_table(figures))


def as_plain(figures: FaceFigures) -> dict[str, object]:
    """Every figure of one way by name."""
    return asdict(figures) | {"rounds_per_s": round(figures.rounds_per_s, 1)}


def as_table(figures: Sequence[FaceFigures]) -> Table:
    """What a person sees."""
    table = Table("update + check", "at once", "a second", "median", "99% within", box=None, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for each in figures:
        milliseconds = f"{each.p50_ms:,.3f} ms", f"{each.p99_ms:,.3f} ms"
        table.add_row(each.way, str(each.callers), f"{each.rounds_per_s:,.0f}", *milliseconds)
    return table


if __name__ == "__main__":
    run(bench_manager)
