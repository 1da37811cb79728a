"""`python -m benchmarks.days`: what closing days costs, on a server of its own. `make bench-days` runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.command import measuring, run
from benchmarks.days.cases import DaysPlan, Measured, run_days
from benchmarks.days.measure import Step
from core.settings import load_settings
from milepost.cli.connection import JsonOption
from milepost.cli.output import print_json


def bench_days(
    goals: Annotated[int, typer.Option(help="Goals, two for each account.", min=2, max=9_999_999)] = 1_000_000,
    moved_percent: Annotated[float, typer.Option(help="How many of them moved yesterday.", min=0.01, max=100)] = 5.0,
    late: Annotated[int, typer.Option(help="Late facts in each case, one an account.", min=1)] = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Measure what closing a day costs, and what late facts cost, compared with a baseline COPY of as many snapshots.

    Starts a durable Postgres of its own in the temporary folder (TMPDIR) and removes it afterwards. Exit status 1 if
    the snapshots are not those of the formula.
    """
    plan = DaysPlan.of(goals, moved_percent, late, load_settings().batch_events)
    with measuring() as (servers, progress):
        measured = list(run_days(plan, servers.postgres_url, progress))
    if as_json:
        print_json([as_plain(plan, each) for each in measured])
    else:
        Console(highlight=False).print(*as_tables(plan, measured), sep="\n\n")


def as_plain(plan: DaysPlan, measured: Measured) -> dict[str, object]:
    """All results of one case by name."""
    case = measured.case
    steps = {
        "apply": measured.applied,
        "close": measured.closed,
        "close_again": measured.again,
        "project": measured.projected,
    }
    return {
        "case": case.name,
        "age_days": case.age,
        "goals": plan.goals,
        "accounts_concerned": len(case.numbers),
        "closes_written": measured.closes,
        "copy_seconds": round(measured.copy_seconds, 3),
        "close_to_copy": round(measured.closed.seconds / measured.copy_seconds, 1),
        "steps": {name: _plain_step(step) for name, step in steps.items() if step is not None},
    }


def as_tables(plan: DaysPlan, measured: Sequence[Measured]) -> list[Table]:
    """The printed tables: time and memory, and the rows that closing read and wrote."""
    return [_seconds(plan, measured), _rows(measured)]


def _plain_step(step: Step) -> dict[str, object]:
    plain = asdict(step)
    rows = {table: asdict(each) for table, each in sorted(step.rows.items()) if each.read or each.written}
    return plain | {"seconds": round(step.seconds, 3), "rows": rows}


def _seconds(plan: DaysPlan, measured: Sequence[Measured]) -> Table:
    table = _table(
        f"seconds, {plan.goals:,} goals", "apply", "close", "again", "baseline COPY", "ratio", "memory", "of Postgres"
    )
    for each in measured:
        closed = each.closed
        table.add_row(
            _name(each),
            f"{each.applied.seconds:,.1f}",
            f"{closed.seconds:,.1f}",
            f"{each.again.seconds:,.3f}",
            f"{each.copy_seconds:,.2f}",
            f"{closed.seconds / each.copy_seconds:,.1f}",
            _megabytes(closed.peak_rss_bytes),
            _megabytes(closed.postgres_peak_rss_bytes),
        )
        if each.projected is not None:
            step = each.projected
            memory = _megabytes(step.peak_rss_bytes), _megabytes(step.postgres_peak_rss_bytes)
            table.add_row("project all goals", "", f"{step.seconds:,.1f}", "", "", "", *memory)
    return table


def _rows(measured: Sequence[Measured]) -> Table:
    table = _table("rows that closing touched", "new", "altered", "dropped", "accounts", "goals", "read", "an account")
    for each in measured:
        closed, closes = each.closed, each.closed.of("goal_snapshots")
        read = sum(rows.read for rows in closed.rows.values())
        stats = (
            closes.inserted,
            closes.updated,
            closes.deleted,
            closed.of("accounts").written,
            closed.of("goals").written,
            read,
        )
        table.add_row(_name(each), *(f"{figure:,}" for figure in stats), f"{read / len(each.case.numbers):,.1f}")
    return table


def _table(head: str, *columns: str) -> Table:
    table = Table(head, *columns, box=None, header_style="bold", pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _name(measured: Measured) -> str:
    case = measured.case
    return case.name if case.age == 1 else f"{case.age:,} days late, {case.name}"


def _megabytes(size: int | None) -> str:
    return "?" if size is None else f"{size / 1_000_000:,.0f} MB"


if __name__ == "__main__":
    run(bench_days)
